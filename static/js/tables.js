// A table that is fetched again gets only those rows anew that have changed: hx-ext="rows" hx-swap="rows" around it, and
// a data-id on each row. The others stay what they are, with what scripts have filled in, what is chosen and the focus:
// for twenty-five rows the browser else makes a thousand elements anew, and htmx says farewell to each of the old ones.
const sent = new WeakMap(); // what the server had sent of a row, before anything was filled in
const TICKING = /(<time [^>]*data-tick[^>]*>)[^<]*/g; // goes on by itself
const read = (row) => (sent.has(row) ? sent : sent.set(row, row.outerHTML.replace(TICKING, "$1"))).get(row);
document.querySelectorAll('[hx-swap="rows"] tr').forEach((row) => read(row));

// The rows of `fresh` in place of those of `body`, in their order; returns those that are new.
function rows(body, fresh) {
  const before = new Map([...body.rows].map((row) => [row.dataset.id, row]));
  const added = [];
  let next = body.firstElementChild;
  for (const row of [...fresh.rows]) {
    const old = before.get(row.dataset.id);
    before.delete(row.dataset.id);
    const same = old && read(old) === read(row);
    if (old === next && old) next = next.nextElementSibling;
    else if (same) body.insertBefore(old, next);
    if (same) continue;
    old?.remove();
    body.insertBefore(row, next);
    added.push(row);
  }
  before.forEach((row) => row.remove());
  return added;
}

htmx.defineExtension("rows", {
  handleSwap(style, target, fragment) {
    const [body, fresh] = [target, fragment].map((root) => root.querySelector("tbody"));
    if (style === "rows" && fresh) [...fresh.rows].forEach((row) => read(row));
    if (style !== "rows" || !body || !fresh) return false; // there is no table, or was none: then all of it
    const focus = document.activeElement;
    const added = rows(body, fresh);
    const [head, heads] = [body, fresh].map(({ parentElement }) => parentElement.tHead);
    if (head && head.outerHTML !== heads.outerHTML) head.replaceWith(heads);
    const [pages, others] = [target, fragment].map((root) => root.querySelector(".pages"));
    if (pages?.outerHTML !== others?.outerHTML) {
      pages?.remove();
      if (others) added.push(target.appendChild(others));
    }
    if (focus?.isConnected) focus.focus({ preventScroll: true }); // a row that was moved has lost it
    return added;
  },
});
