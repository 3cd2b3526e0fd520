"""A log that is written faster than anybody reads: the page stays awake, keeps up, and says what it left out."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from engine import ContainerSpec, Engine, ExecSpec
from tests.browser.conftest import Console, picture, sign_up

pytestmark = pytest.mark.browser

PER_SECOND = 5000
# As many lines in each twentieth of a second; it pauses while the file is there, and says so.
FLOOD = f"""
import os, sys, time
began, number = time.monotonic(), 0
while True:
    due = number + int((time.monotonic() - began) * {PER_SECOND})
    began = time.monotonic()
    for number in range(number + 1, due + 1):
        print(f"line {{number}} of a flood, as long as one of an access log")
    if os.path.exists("/tmp/enough"):
        number += 1
        print(f"line {{number}}, and a pause")
        sys.stdout.flush()
        while os.path.exists("/tmp/enough"):
            time.sleep(0.05)
        began = time.monotonic()
    sys.stdout.flush()
    time.sleep(0.05)
"""
MOST_ROWS = 1400
LONG_MS = 60_000
LONGEST_TASK_MS = 3000  # on a machine that does much else
# The line at which somebody looks.
READ = """(list) => {
  const { left, top } = list.getBoundingClientRect();
  return document.elementFromPoint(left + 300, top + 60).closest("li").textContent;
}"""
TASKS = """() => {
  window.tasks = [];
  const seen = new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((it) => it.duration)));
  seen.observe({ type: "longtask" });
}"""
# From the press to the frame in which its answer is drawn.
PRESS = """(button) => new Promise((done) => {
  const began = performance.now();
  setTimeout(() => {
    const was = button.ariaPressed;
    button.click();
    requestAnimationFrame(() => setTimeout(() => done([button.ariaPressed !== was, performance.now() - began]), 0));
  }, 0);
})"""


class Heard:
    """What the page's socket brought of the log: the numbers of the lines, and how many were left out."""

    def __init__(self, page: Page) -> None:
        self.frames: list[tuple[list[int], int]] = []
        page.on("websocket", lambda socket: socket.on("framereceived", self._hear))

    def _hear(self, data: str | bytes) -> None:
        for frame in json.loads(data).get("frames", []):
            if frame["topic"] == "logs":
                self.frames.append(([int(row[3].split()[1].rstrip(",")) for row in frame["rows"]], frame["gap"]))


def touch(engine: Engine, *command: str) -> None:
    with engine.exec("flood", ExecSpec((*command, "/tmp/enough"), stdin=False)) as execution:
        execution.wait()


def test_a_flood_is_followed_without_a_freeze_and_what_is_left_out_is_said(
    page: Page, console: Console, elsewhere: Engine
) -> None:
    elsewhere.make_starter_image()  # for its Python
    container = elsewhere.create(ContainerSpec(image="wharfie/starter", name="flood", command=("python3", "-c", FLOOD)))
    sign_up(page, console)
    heard = Heard(page)
    page.goto(f"{console.address}/containers/flood/logs/")
    page.evaluate(TASKS)
    log, state = page.locator("ol.log"), page.locator("[data-log-state]")
    elsewhere.start(container.id)
    expect(state).to_contain_text("came too fast to show", timeout=LONG_MS)

    # It answers while it flows, and never holds more than the pane needs.
    presses = []
    for _ in range(10):
        page.wait_for_timeout(100)
        turned, took_ms = page.get_by_role("button", name="Show times").evaluate(PRESS)
        assert turned
        presses.append(took_ms)
        assert log.evaluate("list => list.childElementCount") <= MOST_ROWS
    picture(page, "log-flood")
    assert sorted(presses)[5] < 1000, presses
    assert max(page.evaluate("window.tasks"), default=0) < LONGEST_TASK_MS

    # Every line was shown, or is in what is said to be missing.
    touch(elsewhere, "touch")
    expect(log.locator("li").last).to_contain_text("and a pause", timeout=LONG_MS)
    skipped, before = 0, 0
    for numbers, gap in heard.frames:
        skipped += gap
        if numbers:
            assert numbers == list(range(before + gap + 1, before + gap + 1 + len(numbers)))
            before = numbers[-1]
    assert skipped
    expect(state).to_contain_text(f"{skipped:,}")

    # Who scrolls up reads in peace.
    log.evaluate("list => { list.scrollTop -= 2000; }")
    read = log.evaluate(READ)
    touch(elsewhere, "rm")
    follow = page.get_by_role("button", name=re.compile("new lines"))
    expect(follow).to_be_visible()
    page.wait_for_timeout(2000)
    assert log.evaluate(READ) == read
    picture(page, "log-flood-read")
    assert int(re.sub(r"\D", "", follow.inner_text())) > PER_SECOND / 2
    follow.click()
    expect(follow).to_be_hidden()
    touch(elsewhere, "touch")
    expect(log.locator("li").last).to_contain_text("and a pause", timeout=LONG_MS)
    # Nothing stands there twice, and where something is missing it says how much.
    before = 0
    for item in log.locator("li").all_inner_texts():
        if found := re.search(r"line (\d+)", item):
            assert not before or int(found[1]) == before + 1
            before = int(found[1])
        else:
            before += int(re.sub(r"\D", "", item))
