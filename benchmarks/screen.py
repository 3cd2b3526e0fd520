"""What a person at the browser waits for, in headless Chromium."""

from __future__ import annotations

import time
from typing import Any

from playwright.sync_api import Page

from benchmarks import dock, fleet, lines
from benchmarks.chromium import Person, person
from benchmarks.rows import Row, of_times
from engine import ContainerSpec, ExecSpec

OPEN = 50
KEYS = 100
LOADS = 10
LOOKED_MS = 20_000
# Lines of an access log, somewhat more than the five thousand a second that are asked for.
FLOOD = """
text="GET /of/a/flood HTTP/1.1 200, as long as a line of an access log"
while :; do busybox yes "$text" | busybox head -n 320; busybox usleep 50000; done
"""
# From the key to the frame after the one in which its letter stands on the screen.
LISTEN = """() => {
  const screen = document.querySelector(".xterm-rows");
  window.echoes = [];
  addEventListener("keydown", () => {
    const began = performance.now();
    const seen = new MutationObserver(() => {
      seen.disconnect();
      requestAnimationFrame(() => window.echoes.push(performance.now() - began));
    });
    seen.observe(screen, {childList: true, subtree: true, characterData: true});
  }, true);
}"""
# Before any script of the page: what the browser itself measures, and what comes by the page's socket.
WATCH = """
window.seen = { paint: 0, tasks: [], ages: [], lines: 0, skipped: 0, frames: [] };
const watch = (type, each) =>
  new PerformanceObserver((list) => list.getEntries().forEach(each)).observe({ type, buffered: true });
watch("largest-contentful-paint", (entry) => { seen.paint = entry.startTime; });
watch("longtask", (entry) => seen.tasks.push(entry.duration));
const Plain = WebSocket;
window.WebSocket = class extends Plain {
  constructor(...of) {
    super(...of);
    this.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") return;
      for (const frame of JSON.parse(data).frames ?? []) {
        if (frame.at) requestAnimationFrame(() => setTimeout(() => seen.ages.push(Date.now() - frame.at), 0)); // drawn
        if (frame.topic !== "logs" || !frame.rows) continue;
        seen.lines += frame.rows.length;
        seen.skipped += Math.max(0, frame.gap);
      }
    });
  }
};
let last = 0;
const beat = (now) => { if (last) seen.frames.push(now - last); last = now; requestAnimationFrame(beat); };
requestAnimationFrame(beat);
"""


def echo() -> list[Row]:
    """A key pressed in a terminal of the console until its letter is drawn, with fifty terminals that write open."""
    with dock.engine() as engine, dock.console(engine) as (_serve, link), person(link) as captain:
        container = engine.start(engine.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
        for _ in range(OPEN - 1):
            engine.terminal(container.id, ExecSpec(("sh", "-c", "while :; do echo tick; sleep 0.2; done"))).close()
        session = engine.terminal(container.id, ExecSpec(("cat",)))
        session.close()
        page = captain.fresh().new_page()
        page.goto(f"{captain.address}/containers/{container.id}/terminals/{session.info.session}/")
        page.locator("[data-terminal-state]", has_text="Connected").wait_for()
        page.evaluate(LISTEN)
        for number in range(KEYS):
            page.keyboard.press("x")
            page.wait_for_function("n => window.echoes.length > n", arg=number)
        times: list[float] = page.evaluate("() => window.echoes")
    return [of_times("echo", [time / 1000 for time in times], target="p95 < 50")]


def first_screen() -> list[Row]:
    """The list with two hundred that run, by a browser that has seen nothing of the console before; then watched. In
    turn with a page that has next to nothing on it, which shows what this browser takes on this host."""
    with dock.engine() as engine:
        fleet.grow(engine)
        with dock.console(engine) as (_serve, link), person(link) as captain:
            _load(captain, "/jobs/", "h1")  # the first page of a browser that has just been started
            sizes, paints, tasks, least, others = [], [], [0.0], [], [0.0]
            for _ in range(LOADS):
                size, seen = _load(captain, "/containers/?state=running", "tbody [data-f=mem]")
                sizes.append(size)
                paints.append(seen["paint"] / 1000)
                tasks += seen["tasks"]
                _size, seen = _load(captain, "/jobs/", "h1")
                least.append(seen["paint"] / 1000)
                others += seen["tasks"]
            own = [_busiest(captain, "/containers/?state=running", "tbody [data-f=mem]") for _ in range(LOADS)]
            page = _watched(captain)
            page.goto(f"{captain.address}/containers/?order=cpu")
            page.wait_for_timeout(LOOKED_MS)
            watched = page.evaluate("seen")
    return [
        Row("first-load", "KB", max(ours for ours, _other in sizes) / 1000, n=len(sizes), target="< 110"),
        Row("first-load-other-hosts", "KB", max(other for _own, other in sizes) / 1000, n=len(sizes), target="0"),
        of_times("list-lcp", paints, "an empty list", least, target="p95 < 1000"),
        Row("list-longest-task", "ms", max(tasks + watched["tasks"]), "an empty list", max(others) or None,
            n=len(sizes) + 1, target="< 100"),
        Row("list-longest-task-cpu", "ms", max(own) * 1000, n=len(own), target="< 100"),
        of_times("stats-age-drawn", [age / 1000 for age in watched["ages"][1:]], target="p95 < 1000"),
    ]  # fmt: skip


def log_screen() -> list[Row]:
    """The log tab of ten million lines, from the wish to the largest paint, beside a page with next to nothing on it:
    that one shows what this browser takes on this host."""
    with dock.engine() as engine:
        container = lines.written(engine, lines.MANY_LINES)
        with dock.console(engine) as (_serve, link), person(link) as captain:
            page = _watched(captain)
            paints, least = [], []
            for _ in range(LOADS + 1):
                page.goto(f"{captain.address}/containers/{container.id}/logs/")
                page.locator("[data-log-state]", has_text="Ended").wait_for()
                paints.append(page.evaluate("seen.paint") / 1000)
                page.goto(f"{captain.address}/jobs/")
                page.wait_for_function("() => seen.paint > 0")  # a mere expression would need eval
                least.append(page.evaluate("seen.paint") / 1000)
    return [of_times("log-tab-of-10m-screen", paints[1:], "an empty list", least[1:], target="p95 < 200")]


def log_follow() -> list[Row]:
    """A log followed that grows by five thousand lines a second: what comes, what is said to be skipped, and the
    longest time in which the page drew nothing."""
    with dock.engine() as engine, dock.console(engine) as (_serve, link), person(link) as captain:
        container = engine.create(ContainerSpec(image="busybox", command=("sh", "-c", FLOOD)))
        page = _watched(captain)
        page.goto(f"{captain.address}/containers/{container.id}/logs/")
        engine.start(container.id)
        page.locator("ol.log li").nth(lines.SCREEN - 1).wait_for()
        began, written = time.perf_counter(), _written(engine, container.id)
        before = page.evaluate("{ const was = seen; seen = { ...was, frames: [], tasks: [] }; was }")
        page.wait_for_timeout(LOOKED_MS)
        seen = page.evaluate("seen")
        took, written = time.perf_counter() - began, _written(engine, container.id) - written
    frames = [each / 1000 for each in seen["frames"]]
    return [
        Row("log-follow-written", "lines/s", written / took, target="> 5000"),
        Row("log-follow-shown", "lines/s", (seen["lines"] - before["lines"]) / took),
        Row("log-follow-skipped", "lines/s", (seen["skipped"] - before["skipped"]) / took),
        of_times("log-follow-frame", frames),
        Row("log-follow-longest-task", "ms", max(seen["tasks"], default=0.0), n=len(seen["tasks"])),
        Row("log-follow-frozen", "ms", max(frames) * 1000, n=len(frames)),
    ]


def _written(engine: Any, container_id: str) -> int:
    pages = engine.log_pages(container_id)
    return int(pages.lines_before(pages.end()) or 0)


def _watched(captain: Person) -> Page:
    context = captain.fresh()
    context.add_init_script(WATCH)
    return context.new_page()


def _load(captain: Person, path: str, last: str) -> tuple[tuple[int, int], dict[str, Any]]:
    """Bytes over the wire, of the console and of other hosts; and what the browser measured until the page had what
    comes last."""
    context = captain.fresh()
    context.add_init_script(WATCH)
    page = context.new_page()
    session = context.new_cdp_session(page)
    addresses: dict[str, str] = {}
    sizes: dict[bool, int] = {True: 0, False: 0}
    session.on("Network.requestWillBeSent", lambda of: addresses.update({of["requestId"]: of["request"]["url"]}))

    def finished(of: dict[str, Any]) -> None:
        sizes[addresses[of["requestId"]].startswith(captain.address)] += int(of["encodedDataLength"])

    session.on("Network.loadingFinished", finished)
    session.send("Network.enable")
    page.goto(f"{captain.address}{path}")
    page.locator(last).first.wait_for()
    page.wait_for_load_state("networkidle")
    seen = page.evaluate("seen")
    context.close()
    return (sizes[True], sizes[False]), seen


def _busiest(captain: Person, path: str, last: str) -> float:
    """The seconds of CPU of the longest task of the page's main thread, until the page had what comes last.

    How long a task takes is also what others on this host take of the processors meanwhile: here the console, two
    hundred containers, and the browser's other processes. This is the page's own part of it.
    """
    context = captain.fresh()
    page = context.new_page()
    session = context.new_cdp_session(page)
    events: list[dict[str, Any]] = []
    over: list[object] = []
    session.on("Tracing.dataCollected", lambda of: events.extend(of["value"]))
    session.on("Tracing.tracingComplete", lambda of: over.append(of))
    session.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": {"includedCategories": ["toplevel"]}})
    page.goto(f"{captain.address}{path}")
    page.locator(last).first.wait_for()
    page.wait_for_load_state("networkidle")
    session.send("Tracing.end")
    while not over:
        page.wait_for_timeout(50)
    context.close()
    names = ((each, each["args"].get("name")) for each in events if each["name"] == "thread_name")
    mains = {(each["pid"], each["tid"]) for each, name in names if name == "CrRendererMain"}
    return max(each.get("tdur", 0) for each in events if (each["pid"], each["tid"]) in mains) / 1e6
