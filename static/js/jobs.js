// Jobs on an open page: progress as it comes, the log's new lines, and a hint to fetch again what has another status.
import { topic } from "./live.js";
import { clock, moment } from "./words.js";

const list = document.querySelector("[data-job-log]");
const MOST_ROWS = 5000;

function progress(root, { step, done, total, words }) {
  const place = root.querySelector("[data-job-step]");
  if (!place) return;
  place.textContent = step || "…";
  root.querySelector("[data-job-figures]").textContent = words;
  const meter = root.querySelector("meter");
  meter.hidden = !total;
  if (total) meter.value = Math.min(1, done / total);
}

function row([time, text]) {
  const item = document.createElement("li");
  const when = document.createElement("time");
  const date = new Date(time);
  when.dateTime = date.toISOString();
  when.title = moment(date);
  when.textContent = clock(date);
  const message = document.createElement("span");
  message.textContent = text;
  item.append(when, message);
  return item;
}

// The log is read from where it was left: no line is lost or shown twice, however often the connection breaks.
let reading = false;
let more = false;
async function read() {
  if (!list || reading) { more = true; return; }
  reading = true;
  try {
    do {
      more = false;
      const answer = await fetch(`${list.dataset.jobLog}?after=${list.dataset.after}`, { headers: { Accept: "application/json" } });
      if (!answer.ok) return;
      const { lines, next } = await answer.json();
      const follow = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
      list.append(...lines.map(row));
      while (list.childElementCount > MOST_ROWS) list.firstElementChild.remove();
      list.dataset.after = next;
      if (follow) list.scrollTop = list.scrollHeight;
      more ||= lines.length > 0;
    } while (more);
  } finally {
    reading = false;
  }
}

// Every page watches them: the frame says how many run, and what came of one's own.
let version = 0;
topic("jobs", {
  wish: () => ({}),
  receive: (frame) => {
    for (const [id, of] of Object.entries(frame.of)) {
      for (const root of document.querySelectorAll(`[data-job="${id}"]`)) progress(root, of);
    }
    const changed = frame.version !== version;
    version = frame.version;
    if (list && (changed || frame.of[list.dataset.of])) read().catch(() => {}); // the next frame asks again
    if (changed) htmx.trigger(document.body, "wharfie:jobs");
  },
});
