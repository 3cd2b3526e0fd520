"""What a person at the browser waits for, in headless Chromium."""

from __future__ import annotations

from benchmarks import dock
from benchmarks.rows import Row, of_times
from engine import ContainerSpec, ExecSpec

OPEN = 50
KEYS = 100
BROWSER = "/usr/bin/chromium"
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


def echo() -> list[Row]:
    """A key pressed in a terminal of the console until its letter is drawn, with fifty terminals that write open."""
    from playwright.sync_api import sync_playwright  # only here: the other rows run without it

    with dock.engine() as engine, dock.console(engine) as (_serve, link), sync_playwright() as playwright:
        container = engine.start(engine.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
        for _ in range(OPEN - 1):
            engine.terminal(container.id, ExecSpec(("sh", "-c", "while :; do echo tick; sleep 0.2; done"))).close()
        session = engine.terminal(container.id, ExecSpec(("cat",)))
        session.close()
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(link)
        page.get_by_label("User name").fill("captain")
        for field in page.locator("input[type=password]").all():
            field.fill("a long and quiet harbour")
        page.get_by_role("button", name="Create the account").click()
        page.wait_for_load_state()
        top = link.partition("/setup/")[0]
        page.goto(f"{top}/containers/{container.id}/terminals/{session.info.session}/")
        page.locator("[data-terminal-state]", has_text="Connected").wait_for()
        page.evaluate(LISTEN)
        for number in range(KEYS):
            page.keyboard.press("x")
            page.wait_for_function("n => window.echoes.length > n", arg=number)
        times: list[float] = page.evaluate("() => window.echoes")
        browser.close()
    return [of_times("echo", [time / 1000 for time in times])]
