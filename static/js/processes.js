// The processes of a container: rows are kept by what they are, so that a choice and the reader's place stay.
import { topic } from "./live.js";
import { tick } from "./page.js";
import { size } from "./words.js";

const table = document.querySelector("[data-processes]");
const body = table?.tBodies[0];
const template = document.querySelector("template[data-process]");
const rows = new Map();

function put(row, name, value) {
  const place = row.querySelector(`[data-p="${name}"]`);
  if (place.textContent !== String(value)) place.textContent = value;
}

function made(key, inside, start) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.dataset.key = key;
  const choice = row.querySelector("input");
  choice.value = key;
  choice.setAttribute("aria-label", table.dataset.choose.replace("%s", inside));
  const time = row.querySelector("time");
  time.dateTime = new Date(start).toISOString();
  time.title = new Date(start).toISOString().replace("T", " ").slice(0, 19) + " UTC";
  tick(time); // it may be gone before the next second
  return row;
}

const word = (state) => (state === "t" ? table.dataset.stateTraced : table.dataset[`state${state}`]) ?? state;

// Nobody's row moves away under the pointer or the keyboard.
const read = () => table.matches(":hover") || (table.contains(document.activeElement) && document.activeElement.type !== "radio");

function receive(frame) {
  if (frame.id !== table.dataset.processes) return;
  document.querySelector("[data-processes-total]").textContent = frame.total;
  const most = document.querySelector("[data-processes-most]");
  most.hidden = frame.total <= Number(most.dataset.processesMost);
  document.querySelector("[data-processes-none]").hidden = frame.rows.length > 0;
  const now = new Set(frame.rows.map(([key]) => key));
  for (const [key, row] of rows) {
    if (now.has(key)) continue;
    row.remove();
    rows.delete(key);
  }
  const order = [];
  for (const [key, inside, pid, uid, command, cpu, memory, state, threads, start] of frame.rows) {
    if (!rows.has(key)) {
      rows.set(key, made(key, inside, start));
      body.append(rows.get(key));
    }
    const row = rows.get(key);
    order.push(row);
    put(row, "command", command);
    put(row, "inside", inside);
    put(row, "pid", template.content.querySelector('[data-p="pid"]').dataset.words.replace("%s", pid));
    put(row, "uid", uid);
    put(row, "cpu", cpu === null ? "–" : cpu.toFixed(1));
    put(row, "mem", size(memory));
    put(row, "state", word(state));
    put(row, "threads", threads);
  }
  if (read() || order.every((row, at) => body.rows[at] === row)) return;
  const focused = document.activeElement;
  order.forEach((row) => body.append(row));
  if (focused !== document.activeElement) focused.focus({ preventScroll: true });
}

if (table) {
  for (const row of body.rows) rows.set(row.dataset.key, row);
  topic("processes", {
    wish: () => ({ id: table.dataset.processes }),
    receive,
    lost: () => body.querySelectorAll('[data-p="cpu"]').forEach((place) => { place.textContent = "–"; }),
  });
}
