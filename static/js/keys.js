// The keyboard. Ctrl+K opens the palette; single keys work outside of fields and dialogs, unless they are switched off:
//   /        the list's filter, or the palette     g, then the data-go of a place     ?   the list of keys
//   j k      rows; Enter opens, x selects          any other: what has it as data-key, in the row or on the page
const palette = document.getElementById("palette");
const keys = document.getElementById("keys");
const wish = palette.querySelector("[type=search]");
const ROW = "main tbody tr";
const AFTER_G_MS = 1500;

export function open(dialog) {
  document.querySelectorAll("[popover]:popover-open").forEach((each) => each.hidePopover());
  if (!dialog.open) dialog.showModal();
}

function seek() {
  open(palette);
  wish.select();
  shown = null; // what was found when it was open last may have changed
  htmx.trigger(wish, "seek");
}

// What is shown lags behind what is typed. Who presses a key for a result means one of the words that stand there, so
// it waits for these.
let shown = null; // the words that the results are of
let meant = null; // what to do with them when they come
let lost = false; // they will not, unless they are asked for again
const found = () => [...palette.querySelectorAll(".found :is(a, button)")];
function mean(act) {
  if (shown === wish.value) return act();
  meant = act;
  if (lost) htmx.trigger(wish, "seek");
  lost = false;
}
for (const kind of ["htmx:sendError", "htmx:responseError"]) wish.addEventListener(kind, () => { [meant, lost] = [null, true]; });
wish.addEventListener("input", () => { meant = null; });
palette.addEventListener("close", () => { meant = null; });
palette.addEventListener("htmx:afterSettle", (event) => { // from here on their forms are htmx's
  shown = event.detail.requestConfig.parameters.q;
  if (shown !== wish.value || !meant) return;
  const act = meant;
  meant = null;
  act();
});

const choice = keys.querySelector("[data-keys-on]");
try { choice.checked = localStorage.getItem("keys") !== "off"; } catch { /* private mode: on */ }
choice.addEventListener("change", () => {
  try { localStorage.setItem("keys", choice.checked ? "on" : "off"); } catch { /* lasts as long as the page */ }
});

// In the palette the arrows go through what was found; Enter in the field takes the first.
palette.addEventListener("keydown", (event) => {
  if (event.isComposing) return; // the keys choose characters
  if (event.key === "Escape") { // else the first one only empties the field
    event.preventDefault();
    palette.close();
  }
  if (event.key === "Enter" && event.target === wish) {
    event.preventDefault();
    // What nobody has named is shown only: a verb alone must not stop the newest container.
    mean(() => { const first = found()[0]; first?.matches("[data-offered]") ? first.focus() : first?.click(); });
  }
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  event.preventDefault();
  const step = event.key === "ArrowDown" ? 1 : -1;
  mean(() => {
    const at = found().indexOf(document.activeElement) + step;
    (at < 0 ? wish : found()[Math.min(at, found().length - 1)])?.focus();
  });
});
palette.addEventListener("click", (event) => event.target.closest("[data-theme-set], [data-opens]") && palette.close());
// What was begun here shows on the page, and a failure among the toasts.
palette.addEventListener("htmx:afterRequest", (event) => event.detail.elt !== wish && palette.close());

let row = null; // the id of the row that has the focus, over fetches of its table
function move(by) {
  const rows = [...document.querySelectorAll(ROW)];
  const at = rows.indexOf(document.activeElement.closest(ROW));
  focus(rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)]);
}

function focus(next) {
  if (!next) return;
  next.tabIndex = -1;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  row = next.dataset.id ?? null;
}

document.addEventListener("htmx:afterSwap", () => {
  if (row && document.activeElement === document.body) focus(document.querySelector(`${ROW}[data-id="${CSS.escape(row)}"]`));
});
document.addEventListener("focusin", (event) => { if (!event.target.matches(ROW)) row = null; });

let after = -Infinity; // when g was pressed
function single(key, target) {
  const here = target.closest(ROW);
  if (performance.now() - after < AFTER_G_MS) {
    after = -Infinity;
    return document.querySelector(`[data-go="${CSS.escape(key)}"]`);
  }
  if (key === "g") after = performance.now();
  else if (key === "/") (document.querySelector("main [type=search]") ?? { focus: seek }).focus();
  else if (key === "?") open(keys);
  else if (key === "j" || key === "k") move(key === "j" ? 1 : -1);
  else if (key === "Enter") return target === here && here.querySelector("a[href]");
  else if (key === "x") return here?.querySelector("[type=checkbox]");
  else return (here ?? document.querySelector("main")).querySelector(`[data-key="${CSS.escape(key)}"]`);
  return key === "/" || key === "?";
}

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
    // A terminal's programs have their own Ctrl+K.
    if (event.target.closest(".tty")) return;
    event.preventDefault();
    return seek();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !choice.checked) return;
  if (event.target.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]") || document.querySelector("dialog[open]")) return;
  const found = single(event.key, event.target);
  if (found) event.preventDefault();
  if (found instanceof HTMLElement) found.click();
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (!opener || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  opener.dataset.opens === "palette" ? seek() : open(document.getElementById(opener.dataset.opens));
});
