// The list of containers: what is chosen stays chosen when the list is fetched again.
import "./tables.js";

const list = document.getElementById("list");
const bulk = document.getElementById("bulk");
const said = bulk.querySelector("[data-chosen]");
const every = bulk.querySelector("[name=all]"); // those on other pages too

const boxes = () => [...list.querySelectorAll("tbody input[type=checkbox]")];
let chosen = new Set();

function tell() {
  chosen = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  every.checked &&= chosen.size === boxes().length;
  const many = every.checked ? document.getElementById("matching").dataset.n : chosen.size;
  said.textContent = said.dataset.chosen.replace("%s", many);
  const all = list.querySelector("[data-all]");
  if (all) {
    all.checked = chosen.size > 0 && chosen.size === boxes().length;
    all.indeterminate = chosen.size > 0 && !all.checked;
  }
}

list.addEventListener("change", (event) => {
  if (event.target.matches("[data-all]")) boxes().forEach((box) => { box.checked = event.target.checked; });
  tell();
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "list") return;
  boxes().forEach((box) => { box.checked = every.checked || chosen.has(box.value); });
  tell();
});
every.addEventListener("change", () => {
  if (every.checked) boxes().forEach((box) => { box.checked = true; });
  tell();
});
// A menu has done its work when one of its acts was sent.
document.addEventListener("htmx:afterRequest", (event) => event.target.closest("dialog.menu") && event.target.matches("button") && event.target.closest("dialog").close());

// The list is what the address says, and typing narrows both down: the button is for whoever has no script.
const find = document.querySelector("[data-find]");
let typing;
find.querySelector("button").hidden = true;
document.addEventListener("htmx:configRequest", (event) => { if (event.target === list) event.detail.path = location.pathname + location.search; });
function narrow() {
  clearTimeout(typing);
  const wishes = new URLSearchParams([...new FormData(find)].filter(([, value]) => value));
  history.replaceState(null, "", `?${wishes}`);
  htmx.trigger(list, "moved");
}
find.addEventListener("submit", (event) => { event.preventDefault(); narrow(); });
find.q.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(narrow, 250); });
find.order.addEventListener("change", () => find.submit());
// The browser may bring back ticks of before.
tell();
