// Times, dialogs, copies, and what the htmx fragments need around them.
import { now } from "./words.js";

// Times go on.
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const ago = new Intl.RelativeTimeFormat(document.documentElement.lang);
const lasting = Object.fromEntries(UNITS.map(([unit]) => [unit, new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" })]));
setInterval(() => {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[data-tick]")) {
    const seconds = Math.max(0, (now() - Date.parse(time.dateTime)) / 1000);
    const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? UNITS.at(-1);
    const count = Math.floor(seconds / length);
    const words = time.dataset.tick === "for" ? lasting[unit].format(count) : ago.format(-count, unit);
    if (time.textContent !== words) time.textContent = words;
  }
}, 1000);

document.addEventListener("click", (event) => {
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
