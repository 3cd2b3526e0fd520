// Times, dialogs, copies, and what the htmx fragments need around them.
import { clock, day, now } from "./words.js";

// Times go on.
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const style = document.documentElement.lang.startsWith("zh") ? "short" : "long"; // as the server writes it
// What writes in a language is made when it is first needed: all of it at once would hold up the page's first paint.
const made = new Map();
const writer = (name, make) => made.get(name) ?? made.set(name, make(document.documentElement.lang)).get(name);
const spaced = (words) => words.replace(/(\d)(?=\p{Script=Han})/u, "$1 "); // as everywhere between a number and a word
const since = (count, unit) => spaced(writer("ago", (language) => new Intl.RelativeTimeFormat(language, { style })).format(-count, unit));
const lasting = (count, unit) =>
  spaced(writer(unit, (language) => new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: style })).format(count));
export function tick(time) {
  const seconds = Math.max(0, (now() - Date.parse(time.dateTime)) / 1000);
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? UNITS.at(-1);
  const count = Math.floor(seconds / length);
  const words = time.dataset.tick === "for" ? lasting(count, unit) : since(count, unit);
  if (time.textContent !== words) time.textContent = words;
}
setInterval(() => document.hidden || document.querySelectorAll("time[data-tick]").forEach(tick), 1000);

// A form that came back: to the first field that is wrong, in a section that was open before.
document.querySelector("main [aria-invalid=true]")?.focus();
document.addEventListener("formdata", (event) => event.target.querySelectorAll("details[open][id]").forEach((details) => event.formData.append("opened", details.id)));

// Where a row of tabs is longer than the screen, the one that is shown is in sight.
for (const tab of document.querySelectorAll(".tabs [aria-current]")) {
  const row = tab.closest("ul");
  const [here, all] = [tab, row].map((part) => part.getBoundingClientRect());
  row.scrollLeft += here.left + here.width / 2 - all.left - all.width / 2;
}

// Dates and times of day are the reader's own.
for (const time of document.querySelectorAll("time[data-local]")) {
  const date = new Date(time.dateTime);
  time.title = date.toISOString();
  const short = time.matches("[data-local=clock]"); // of a log's line
  time.textContent = short ? clock(date) : `${day(date)} ${clock(date).slice(0, 5)}`;
}

// So are those that a form asks for; it is sent UTC, which it asks for without a script.
for (const form of document.querySelectorAll("form[data-utc-times]")) {
  const fields = [...form.querySelectorAll("[type=datetime-local]")];
  for (const field of fields.filter((each) => each.defaultValue)) {
    const date = new Date(`${field.defaultValue}Z`);
    field.value = `${day(date)}T${clock(date).slice(0, 5)}`;
  }
  form.querySelectorAll("[data-utc]").forEach((word) => word.remove());
  form.addEventListener("formdata", ({ formData }) => {
    for (const { name, value } of fields) if (value) formData.set(name, new Date(value).toISOString().slice(0, 16));
  });
}

document.addEventListener("click", (event) => {
  const cancel = event.target.closest("dialog [data-cancel]");
  if (cancel) {
    event.preventDefault();
    cancel.closest("dialog").close();
  }
});

// A dialog that makes room for its answer gives the focus back first: to the button, whatever comes in its place.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { shouldSwap, target } = event.detail; // an error's is another one than was asked for
  if (target.id === "dialog" && shouldSwap) target.querySelector("dialog[open]")?.close();
});
document.addEventListener("htmx:afterSwap", (event) => {
  const dialog = event.target.id === "dialog" && event.target.querySelector("dialog");
  if (!dialog) return;
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
});

// Copies, and says so for a moment. Over plain http browsers offer no clipboard: then the text is selected.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(button.dataset.copy || text.textContent);
  } catch {
    return text.matches("input") ? text.select() : getSelection().selectAllChildren(text);
  }
  button.classList.add("copied");
  button.querySelector("[role=status]").textContent = button.dataset.copied;
  setTimeout(() => { button.classList.remove("copied"); button.querySelector("[role=status]").textContent = ""; }, 2000);
});
