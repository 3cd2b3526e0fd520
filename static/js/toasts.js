// Toasts. One about a failure stays until it is closed, stands there once however often it comes, and is kept under the
// bell: in this tab, over reloads, for this account.
import { sinceLeft } from "./live.js";
import { moment } from "./words.js";

const STAYS_MS = 6000;
const MOST = 20; // failures that are kept, the newest
const toasts = document.getElementById("toasts");
const kept = document.querySelector("[data-failures]");
const KEY = `failures-of-${kept.dataset.failures}`;
const title = kept.querySelector("h2");
let failures = [];
try { failures = JSON.parse(sessionStorage.getItem(KEY)) ?? []; } catch { /* private mode: they last as long as the page */ }

// A success goes by itself, but not while somebody reads it.
function settle(toast) {
  setTimeout(() => (toast.matches(":hover, :focus-within") ? settle(toast) : toast.remove()), STAYS_MS);
}

const repeated = (times) => (times > 1 ? `×${times}` : "");

function show() {
  try { sessionStorage.setItem(KEY, JSON.stringify(failures)); } catch { /* the same */ }
  kept.hidden = !failures.length;
  title.textContent = failures.length ? title.dataset.words.replace("%s", failures.length) : "";
  kept.querySelector("ul").replaceChildren(...failures.toReversed().map(({ text, at, times }) => {
    const item = kept.querySelector("template").content.cloneNode(true);
    item.querySelector("p").textContent = text;
    item.querySelector("b").textContent = repeated(times);
    const when = item.querySelector("time");
    [when.dateTime, when.title] = [new Date(at).toISOString(), moment(new Date(at))];
    return item;
  }));
}

function arrive(toast) {
  if (!toast.classList.contains("error")) return settle(toast);
  const text = toast.querySelector("p").textContent.trim();
  const before = failures.find((each) => each.text === text);
  const failure = { text, at: Date.now(), times: (before?.times ?? 0) + 1 };
  failures = [...failures.filter((each) => each !== before), failure].slice(-MOST);
  show();
  const twin = [...toasts.querySelectorAll(".error")].find((each) => each !== toast && each.querySelector("p").textContent.trim() === text);
  if (!twin) return;
  toast.remove();
  const count = twin.querySelector("[data-times]");
  count.dataset.times = Number(count.dataset.times) + 1;
  count.textContent = repeated(count.dataset.times);
}

show();
[...toasts.querySelectorAll(".toast")].forEach(arrive);
new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => node.matches?.(".toast") && arrive(node))))
  .observe(toasts, { childList: true });

document.addEventListener("click", (event) => {
  event.target.closest("[data-close]")?.closest(".toast").remove();
  if (!event.target.closest("[data-forget]")) return;
  failures = [];
  show();
});
// Whoever signs in next in this tab has nothing to do with them.
document.addEventListener("submit", (event) => { if (event.target.matches("[data-leaves]")) sessionStorage.removeItem(KEY); });

// Without an answer there is no fragment that could say so. Once is enough: what polls fails each second.
// And who leaves the page ends its requests: that is no silence.
const LEAVING_MS = 10000;
function silence() {
  if (sinceLeft() < LEAVING_MS || toasts.querySelector(".silence")) return;
  const toast = document.getElementById("silence").content.cloneNode(true);
  toast.firstElementChild.classList.add("silence");
  toasts.append(toast);
}
document.addEventListener("htmx:sendError", silence);
// What a proxy says of a console that is not there is no part of a page. Ours have a content policy.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.xhr.status < 500 || detail.xhr.getResponseHeader("Content-Security-Policy")) return;
  detail.shouldSwap = false;
  silence();
});
