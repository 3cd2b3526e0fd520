// Figures and times in words, in the page's language whatever the browser's is; and the server's clock.
const language = document.documentElement.lang;
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
// The browser's clock may be wrong: it is ahead by what had gone by when this page was made.
const AHEAD_MS = Date.now() - Number(document.body.dataset.now);

export const count = (number) => number.toLocaleString(language);
export const moment = (date) => date.toLocaleString(language);
const two = (number) => String(number).padStart(2, "0");
export const day = (date) => [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(two).join("-");
export const clock = (date) => [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":"); // as in logs
export const now = () => Date.now() - AHEAD_MS;

// As console/text.py writes them.
export function size(bytes) {
  let power = 0;
  while (bytes >= 1024 && power < UNITS.length - 1) { bytes /= 1024; power++; }
  return `${bytes >= 10 || power === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${UNITS[power]}`;
}
