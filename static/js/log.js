// The log pane: some hundreds of lines of a log of any length. Older lines come from the server as one scrolls up, newer
// ones by the socket; while somebody reads, nothing moves under them.
import { signedOut, topic } from "./live.js";
import { adopt, dress, fold, gap, raw, row, unfold } from "./rows.js";
import { count } from "./words.js";

const NEAR_PX = 400;
const AGAIN_MS = 3000;
const list = document.querySelector("[data-log]");
const words = list.dataset;
const tail = Number(words.tail);
const most = 3 * tail;
const state = document.querySelector("[data-log-state]");
const button = document.querySelector("[data-log-follow]");
const found = document.querySelector("[data-log-found]");
const filter = Object.fromEntries(new URLSearchParams(words.filter ?? ""));

let first = words.first; // the places before and after what is shown
let last = words.last;
let older = "more" in words;
let whole = "newest" in words || !first; // what is shown goes on to the log's end
let told = last; // how far the socket is
let unseen = 0;
let skipped = 0;
let loading = false;
let nth = 0; // of our wishes to the socket
let subscription = null;

const kept = (name) => { try { return localStorage.getItem(`log-${name}`) !== "false"; } catch { return true; } };
const keep = (name, on) => { try { localStorage.setItem(`log-${name}`, on); } catch { /* private mode: lasts as long as the page */ } };
const looks = { wrap: kept("wrap"), times: kept("times"), fields: kept("fields") };
const unfolds = () => looks.fields && Boolean(words.lines);

function show() {
  list.classList.toggle("nowrap", !looks.wrap);
  list.classList.toggle("notimes", !looks.times);
  for (const toggle of document.querySelectorAll("[data-log-toggle]")) toggle.ariaPressed = String(looks[toggle.dataset.logToggle]);
  for (const file of document.querySelectorAll("[data-log-file]")) { // as it is shown
    const address = new URL(file.href);
    looks.times ? address.searchParams.set("times", "1") : address.searchParams.delete("times");
    file.href = address;
  }
}

function tally() {
  if (!found || !filter.q) return;
  const all = whole && !older; // else the rest is found when one scrolls there
  const told = (all ? found.dataset.all : found.dataset.some).replace("%(count)s", count(list.querySelectorAll("li[id]").length));
  if (found.textContent !== told) found.textContent = told;
}

const atEnd = () => list.scrollHeight - list.scrollTop - list.clientHeight < 24;
const scroll = () => { list.scrollTop = list.scrollHeight; };

function say(look, text) {
  state.className = `state ${look}`;
  if (state.textContent !== text) state.textContent = text;
}

function offer() {
  const end = whole && atEnd();
  if (end) unseen = 0;
  button.hidden = end || !subscription;
  if (!older) words.empty = words.wordsEmpty; // it has all been looked through
  tally();
  button.lastElementChild.textContent = unseen ? words.new.replace("%(count)s", count(unseen)) : words.follow;
}

function missing(lines) {
  return gap(lines < 0 ? words.unknown : words.gap.replace("%(count)s", count(lines)));
}

function draw(rows, lost) {
  const drawn = document.createDocumentFragment();
  if (lost) drawn.append(missing(lost));
  for (const line of rows) drawn.append(row(line, unfolds()));
  return drawn;
}

// Rows that go from above what is seen must not make the text jump: only so many, and the place is kept.
function trimAbove() {
  const surplus = list.childElementCount - most;
  if (surplus <= 0) return;
  const before = list.scrollHeight;
  const range = document.createRange();
  range.setStartBefore(list.firstElementChild);
  range.setEndAfter(list.children[surplus - 1]);
  range.deleteContents();
  older = true;
  first = list.querySelector("li[id]")?.id ?? first;
  list.scrollTop -= before - list.scrollHeight;
}

function receive(frame) {
  if (frame.nth !== nth) return; // on its way when we asked to go on from elsewhere
  if (frame.error) return say("bad", frame.error);
  const follow = whole && atEnd();
  told = frame.last;
  skipped += Math.max(0, frame.gap);
  if (!first) { // the first lines of a page that came without any
    list.replaceChildren();
    first = frame.rows[0]?.[0] ?? frame.last;
    older = frame.rows.length >= tail; // as many as were asked for: there may be more
  }
  if (whole && (follow || list.childElementCount < 2 * most)) {
    // More than anybody sees go by: what is not drawn is above, and comes when one scrolls there.
    const drawn = follow ? frame.rows.slice(-tail) : frame.rows;
    if (drawn.length < frame.rows.length) {
      list.replaceChildren();
      [first, older] = [drawn[0][0], true];
    }
    list.append(draw(drawn, drawn.length < frame.rows.length ? 0 : frame.gap));
    last = frame.last;
    if (follow) {
      trimAbove();
      scroll();
    }
  } else {
    whole = false; // what comes now is fetched when it is looked at
  }
  if (!follow) unseen += frame.rows.length + Math.max(0, frame.gap);
  const left = (told) => told.replace("%(count)s", count(skipped));
  if (!frame.end) say("ok", skipped ? left(words.skipped) : words.following);
  else if (skipped) say("idle", left(words.endedSkipped));
  else say("idle", list.childElementCount ? words.ended : filter.q ? words.none : words.nothing);
  offer();
}

class Refused extends Error {} // with words of the server's; else there was no answer, or none of ours

// It is tried again: nobody has looked through what did not come.
function failed(error, retry) {
  say("bad", error instanceof Refused ? error.message : words.failed);
  if (!(error instanceof Refused)) setTimeout(retry, AGAIN_MS);
}

async function fetchRows(query) {
  const answer = await fetch(`${words.lines}?${new URLSearchParams({ ...filter, ...query })}`, { headers: { Accept: "application/json" } });
  if (answer.status === 401) signedOut();
  const found = await answer.json();
  if (!answer.ok) throw new Refused(found.error);
  return found;
}

async function loadOlder() {
  if (loading || !older || !words.lines) return;
  loading = true;
  try {
    const asked = first;
    const page = await fetchRows({ before: asked });
    if (first !== asked) return; // somebody went to the end meanwhile
    const before = list.scrollHeight;
    list.prepend(draw(page.rows));
    list.scrollTop += list.scrollHeight - before;
    [first, older] = [page.first, page.more];
    if (list.childElementCount > 2 * most) {
      while (list.childElementCount > most) list.lastElementChild.remove();
      last = list.lastElementChild.id || last;
      whole = false;
    }
  } catch (error) {
    failed(error, loadOlder);
    if (error instanceof Refused) older = false;
    return;
  } finally {
    loading = false;
  }
  offer();
  // A search looks at a part of the log at a time; it goes on until the pane is full.
  if (older && list.scrollTop < NEAR_PX) setTimeout(loadOlder, 0);
}

async function loadNewer() {
  if (loading || whole || !words.lines) return;
  loading = true;
  try {
    const asked = last;
    const page = await fetchRows({ after: asked });
    if (last !== asked) return;
    list.append(draw(page.rows));
    last = page.last;
    trimAbove();
    if (!page.more && subscription) {
      whole = true;
      subscription.renew(); // from here on
    }
    if (!page.more && !subscription) whole = true;
  } catch (error) {
    failed(error, loadNewer);
  } finally {
    loading = false;
  }
  offer();
}

async function toEnd() {
  if (!whole) {
    try {
      const page = await fetchRows({});
      list.replaceChildren(draw(page.rows));
      ({ first, last } = page);
      [older, whole] = [page.more, true];
      subscription?.renew();
    } catch (error) {
      return failed(error, toEnd);
    }
  }
  unseen = 0;
  scroll();
  offer();
}

button.addEventListener("click", toEnd);
list.addEventListener("scroll", () => {
  if (list.scrollTop < NEAR_PX) loadOlder();
  if (list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_PX) loadNewer();
  offer();
}, { passive: true });
for (const kind of ["pointerover", "focusin"]) list.addEventListener(kind, ({ target }) => dress(target.closest("li[id]")));
list.addEventListener("click", (event) => {
  const copy = event.target.closest(".copy");
  if (!copy) return;
  const text = raw(copy.closest("li"));
  // Without a secure context there is no clipboard: the line is selected instead.
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => { copy.title = words.copied; });
  else getSelection().selectAllChildren(copy.parentElement.querySelector("span"));
});
for (const toggle of document.querySelectorAll("[data-log-toggle]")) {
  toggle.addEventListener("click", () => {
    const name = toggle.dataset.logToggle;
    keep(name, (looks[name] = !looks[name]));
    const follow = atEnd();
    if (name === "fields") list.querySelectorAll("li[id]").forEach(looks.fields ? unfold : fold);
    show();
    if (follow) scroll();
  });
}
// A form speaks local time here, and milliseconds to the server.
for (const input of document.querySelectorAll(".logbar [type=datetime-local]")) {
  if (input.defaultValue) {
    const date = new Date(`${input.defaultValue}Z`);
    input.value = new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
  }
}
document.querySelector(".logbar")?.addEventListener("formdata", (event) => {
  for (const name of ["since", "until"]) {
    const value = event.formData.get(name);
    if (value) event.formData.set(name, new Date(value).getTime() + (name === "until" ? 999 : 0));
    else event.formData.delete(name);
  }
});

document.querySelectorAll("[data-utc], [data-log-older]").forEach((it) => it.remove());
show();
for (const item of list.children) adopt(item, unfolds());
const chosen = location.hash && document.getElementById(location.hash.slice(1));
if (chosen) chosen.scrollIntoView({ block: "center" });
else scroll();
if (whole) {
  subscription = topic("logs", {
    wish: () => ({ ...filter, nth: ++nth, id: words.log, tail, after: (whole ? last : told) ?? "" }),
    receive,
    lost: () => say("warn", words.lost),
  });
}
if (list.scrollTop < NEAR_PX) loadOlder();
