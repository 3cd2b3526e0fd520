// Toasts, dialogs, and what the htmx fragments need around them.
const STAYS_MS = 6000;

// A toast about a failure stays until it is closed; others go, but not while somebody reads them.
function settle(toast) {
  if (toast.classList.contains("error")) return;
  setTimeout(() => (toast.matches(":hover, :focus-within") ? settle(toast) : toast.remove()), STAYS_MS);
}

document.querySelectorAll("#toasts .toast").forEach(settle);
new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => node.matches?.(".toast") && settle(node))))
  .observe(document.getElementById("toasts"), { childList: true });

// Times go on. By the server's clock: the browser's may be wrong.
const AHEAD_MS = Date.now() - Number(document.body.dataset.now);
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const ago = new Intl.RelativeTimeFormat(document.documentElement.lang);
const lasting = Object.fromEntries(UNITS.map(([unit]) => [unit, new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" })]));
setInterval(() => {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[data-tick]")) {
    const seconds = Math.max(0, (Date.now() - AHEAD_MS - Date.parse(time.dateTime)) / 1000);
    const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? UNITS.at(-1);
    const count = Math.floor(seconds / length);
    const words = time.dataset.tick === "for" ? lasting[unit].format(count) : ago.format(-count, unit);
    if (time.textContent !== words) time.textContent = words;
  }
}, 1000);

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-close]")) event.target.closest(".toast").remove();
  const cancel = event.target.closest("dialog [data-cancel]");
  if (cancel) {
    event.preventDefault();
    cancel.closest("dialog").close();
  }
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "dialog") return;
  const dialog = event.target.querySelector("dialog");
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
});

// Without an answer there is no fragment that could say so. Once is enough: what polls fails each second.
// And who leaves the page ends its requests: that is no silence.
const LEAVING_MS = 10000;
let left = -Infinity;
addEventListener("beforeunload", () => { left = performance.now(); });
document.addEventListener("htmx:sendError", () => {
  if (performance.now() - left < LEAVING_MS || document.querySelector("#toasts .silence")) return;
  const toast = document.getElementById("silence").content.cloneNode(true);
  toast.firstElementChild.classList.add("silence");
  document.getElementById("toasts").append(toast);
});

// Copies, and says so for a moment. Over plain http browsers offer no clipboard: then the text is selected.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(button.dataset.copy || text.textContent);
  } catch {
    return getSelection().selectAllChildren(text);
  }
  button.classList.add("copied");
  button.querySelector("[role=status]").textContent = button.dataset.copied;
  setTimeout(() => { button.classList.remove("copied"); button.querySelector("[role=status]").textContent = ""; }, 2000);
});
