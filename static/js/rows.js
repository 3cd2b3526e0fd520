// One line of a log as the page shows it: text only, whatever it holds.
import { moment } from "./words.js";

const template = document.querySelector("template[data-log-row]");
const copier = document.querySelector("template[data-log-copy]");

const { page } = document.querySelector("[data-log]").dataset;

const pad = (number, length) => String(number).padStart(length, "0");

function stamp(when, milliseconds) {
  const date = new Date(milliseconds);
  when.dateTime = date.toISOString();
  when.textContent = `${pad(date.getHours(), 2)}:${pad(date.getMinutes(), 2)}:${pad(date.getSeconds(), 2)}.${pad(date.getMilliseconds(), 3)}`;
}

export function row([place, time, stream, parts], fields) {
  const item = template.content.firstElementChild.cloneNode(true);
  item.id = place;
  if (stream === "e") item.className = "err";
  const [link, source, message] = item.children;
  link.href = `${page}?line=${place}#${place}`;
  stamp(link.firstElementChild, time);
  source.textContent = stream === "e" ? "err" : "out";
  if (typeof parts === "string") message.textContent = parts;
  else message.append(...parts.map(([text, classes]) => span(text, classes)));
  if (fields) unfold(item);
  return item;
}

// What the server has drawn gets the same: the reader's own time, and fields.
export function adopt(item, fields) {
  const when = item.querySelector("time");
  stamp(when, Date.parse(when.dateTime));
  if (fields) unfold(item);
}

// What only the line that is pointed at needs: thousands a second are drawn that nobody points at.
export function dress(item) {
  if (!item || item.querySelector(".copy")) return;
  const when = item.querySelector("time");
  when.title = moment(new Date(when.dateTime));
  item.append(copier.content.firstElementChild.cloneNode(true));
}

export const raw = (item) => item.dataset.raw ?? item.querySelector("span").textContent;

function span(text, classes) {
  const part = document.createElement("i");
  part.className = classes;
  part.textContent = text;
  return part;
}

const LEVEL = ["level", "lvl", "severity", "levelname"];
const MESSAGE = ["message", "msg", "event"];
const TIME = ["time", "ts", "timestamp", "@timestamp"]; // the line has its own

// A JSON object as level, message and what else it says.
export function unfold(item) {
  const text = raw(item);
  if (!text.startsWith("{") || !text.endsWith("}")) return;
  let object;
  try { object = JSON.parse(text); } catch { return; }
  const keys = Object.keys(object);
  const find = (names) => keys.find((key) => names.includes(key.toLowerCase()) && typeof object[key] !== "object");
  const [level, message] = [find(LEVEL), find(MESSAGE)];
  const parts = [];
  if (level) {
    const word = String(object[level]);
    const grave = /^(err|fatal|crit|panic|alert|emerg)/i.test(word) ? " error" : /^warn/i.test(word) ? " warn" : "";
    parts.push(span(word, `level${grave}`), " ");
  }
  if (message) parts.push(String(object[message]), " ");
  for (const key of keys) {
    if (key === level || key === message || TIME.includes(key.toLowerCase())) continue;
    const value = object[key];
    parts.push(span(`${key}=`, "key"), typeof value === "object" ? JSON.stringify(value) : String(value), " ");
  }
  item.dataset.raw = text;
  item.querySelector("span").replaceChildren(...parts);
}

export function fold(item) {
  if (item.dataset.raw === undefined) return;
  item.querySelector("span").textContent = item.dataset.raw;
  delete item.dataset.raw;
}

export function gap(words) {
  const item = document.createElement("li");
  item.className = "gap";
  item.textContent = words;
  return item;
}
