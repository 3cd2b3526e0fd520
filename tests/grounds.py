"""On which kernel and which control groups each group of tests ran, told at the end of a run.

A guest of `tests.uml` tells the same of its own run. What it told is taken over from there as it stands, so the table
says what tests have reported, and nothing else.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import pytest

from engine.cgroups.manager import unified_mount

PROPERTY = "grounds"  # of a test's report: the cells of another run
ROWS = "rows"  # of a test's report: how many rows of the isolation list it asserted
PLACES = {
    "tests/engine/cgroups/": "control groups",
    "tests/engine/linux/": "mounts, filters, rules",
    "tests/engine/containers/test_layers.py": "layers",
    "tests/engine/containers/test_lifecycle.py": "starts",
    "tests/engine/containers/test_crash.py": "crashes",
    "tests/engine/containers/test_pausing.py": "pauses",
    "tests/engine/containers/test_limits.py": "limits",
    "tests/engine/containers/test_waiting.py": "waits",
    "tests/engine/containers/test_restarts.py": "restarts and health",
    "tests/engine/containers/test_health.py": "restarts and health",
    "tests/engine/containers/test_adoption.py": "adoption",
    "tests/engine/containers/test_execution.py": "commands",
    "tests/engine/containers/test_first_process.py": "first process",
    "tests/engine/isolation/test_options.py": "options",
    "tests/engine/isolation/": "isolation, from outside",
    "tests/engine/faults/": "faults",
    "tests/engine/files/": "files",
    "tests/console/test_kills.py": "kills under load",
}
WAY_IN = re.compile(r"tests/engine/isolation/test_isolation.py::test_each_way_in_is_held_to_all_of_it\[([a-z ]+)\]")
Cells = dict[str, dict[str, str]]  # group, ground: what is told


def ground() -> str:
    """This kernel and its control groups."""
    return f"Linux {os.uname().release}, cgroup {'v2' if unified_mount() else 'v1'}"


def group(nodeid: str) -> str:
    """What a test is one of."""
    if way := WAY_IN.match(nodeid):
        return f"isolation, {way[1]}"
    for place, name in PLACES.items():
        if nodeid.startswith(place):
            return name
    words = nodeid.partition("::")[0].split("/")
    return "the project" if len(words) < 3 else "/".join(words[1:3] if len(words) > 3 else words[1:2])


class Tally:
    """What the reports of a run say."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.elsewhere: Cells = {}

    @pytest.hookimpl
    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            self.counts[group(item.nodeid)]["left out"] += 1

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when != "call":
            return
        if "::" in report.nodeid:
            self.counts[group(report.nodeid)][report.outcome] += 1
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self.reasons[group(report.nodeid), reason.removeprefix("Skipped: ")] += 1
        for name, told in report.user_properties:
            if name == PROPERTY:
                merge(self.elsewhere, told)  # type: ignore[arg-type]
            elif name == ROWS:
                self.counts[group(report.nodeid)][ROWS] += int(str(told))

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("what ran where")
        for line in (*table(self.cells()), *self.why()):
            terminalreporter.write_line(line)

    def cells(self) -> Cells:
        """All of it."""
        found: Cells = {name: {ground(): cell(counts)} for name, counts in self.counts.items()}
        merge(found, self.elsewhere)
        return found

    def why(self) -> Iterable[str]:
        """What was skipped, and for what reason."""
        for (name, reason), count in sorted(self.reasons.items()):
            yield f"skipped in {name}: {count}, {reason}"


def cell(counts: Counter[str]) -> str:
    """The numbers of a group."""
    rest = [f"{counts[word]} {word}" for word in ("failed", "skipped", "left out") if counts[word]]
    rows = f" with {counts[ROWS]} rows" if counts[ROWS] else ""
    return ", ".join([f"{counts['passed']} passed{rows}", *rest])


def merge(into: Cells, more: Cells) -> None:
    """Add cells; where two runs tell of one group on one ground, both stay to be seen."""
    for name, told in more.items():
        row = into.setdefault(name, {})
        for where, text in told.items():
            row[where] = f"{row[where]}; {text}" if where in row else text


def table(cells: Cells) -> Iterable[str]:
    """As text: a row for each group, a column for each ground."""
    grounds = sorted({where for told in cells.values() for where in told}, reverse=True)
    rows = [
        ["", *grounds],
        *([name, *(told.get(each, "") for each in grounds)] for name, told in sorted(cells.items())),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"


def read(report: str) -> Cells:
    """The table in another run's report. AssertionError when there is none."""
    lines = [line[2:-2].split(" | ") for line in report.splitlines() if line.startswith("| ") and line.endswith(" |")]
    assert lines, "the report tells of no ground"
    (_, *grounds), *rows = ([text.strip() for text in line] for line in lines)
    return {name: dict(zip(grounds, told, strict=True)) for name, *told in rows}


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count, but in a worker, whose reports are another's to count."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Tally(), "grounds")
