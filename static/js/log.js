// The log pane: some hundreds of lines, text only, and no scrolling while somebody reads.
import { topic } from "./live.js";

const MOST_ROWS = 600;

class Log {
  constructor(root) {
    this.list = root.querySelector("[data-log]");
    this.state = root.querySelector("[data-log-state]");
    this.button = root.querySelector("[data-log-follow]");
    const wrap = root.querySelector("[data-log-wrap]");
    this.id = this.list.dataset.log;
    this.button.addEventListener("click", () => this.scroll());
    this.list.addEventListener("scroll", () => { this.button.hidden = this.atEnd(); }, { passive: true });
    wrap.addEventListener("click", () => {
      const on = wrap.ariaPressed !== "true";
      wrap.ariaPressed = String(on);
      this.list.classList.toggle("nowrap", !on);
    });
  }

  // A new subscription repeats the last lines: begin from nothing. Returns how many to ask for.
  begin() {
    this.fresh = true;
    return 200;
  }

  receive(frame) {
    if (frame.error) return this.say("bad", frame.hint ? `${frame.error}: ${frame.hint}` : frame.error);
    const follow = this.fresh || this.atEnd();
    const rows = document.createDocumentFragment();
    if (frame.gap) rows.append(gap(frame.gap));
    for (const line of frame.lines) rows.append(row(line));
    if (this.fresh) this.list.replaceChildren();
    this.fresh = false;
    this.list.append(rows);
    // Only above what is seen: rows that go from under a reader make the text jump.
    while (follow && this.list.childElementCount > MOST_ROWS) this.list.firstElementChild.remove();
    while (this.list.childElementCount > MOST_ROWS * 4) this.list.firstElementChild.remove();
    if (follow) this.scroll();
    else this.button.hidden = false;
    if (frame.end) this.say("idle", this.list.childElementCount ? "Ended" : "Nothing was written");
    else this.say("ok", "Following");
  }

  lost() {
    this.say("warn", "Reconnecting");
  }

  say(look, words) {
    this.state.className = `state ${look}`;
    this.state.textContent = words;
  }

  atEnd() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 24;
  }

  scroll() {
    this.list.scrollTop = this.list.scrollHeight;
    this.button.hidden = true;
  }
}

function row([time, stream, text]) {
  const item = document.createElement("li");
  const when = document.createElement("time");
  const date = new Date(time);
  when.dateTime = date.toISOString();
  when.title = date.toLocaleString();
  when.textContent = `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  const source = document.createElement("b");
  source.textContent = stream === "e" ? "err" : "out";
  const message = document.createElement("span");
  message.textContent = text;
  if (stream === "e") item.className = "err";
  item.append(when, source, message);
  return item;
}

function gap(lines) {
  const item = document.createElement("li");
  item.className = "gap";
  item.textContent = `${lines.toLocaleString()} lines are missing here`;
  return item;
}

const log = new Log(document);
topic("logs", { wish: () => ({ id: log.id, tail: log.begin() }), receive: (frame) => log.receive(frame), lost: () => log.lost() });
