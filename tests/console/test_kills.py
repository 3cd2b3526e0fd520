"""kill -9 at random, of the web process, the launcher, its keeper and shims, of two of them at once too, under load.

Containers write numbered lines, end with codes that their number of runs makes, run again by their policy, and are
stopped and started through pages, the command line and the facade, all at once. Afterwards each run must be told of,
with its code and every line.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import pytest

from console.supervisor import answering
from engine import Config, Container, ContainerSpec, Engine, RestartPolicy, State
from engine.errors import EngineError, WrongState
from engine.events import Event
from engine.linux import pidfds
from tests.conftest import children, eventually, name_of
from tests.console import serving
from tests.console.serving import Serve, Visitor
from tests.images import busybox_rootfs
from tests.soak import amount

TOP = Path(__file__).resolve().parents[2]
KILLS = amount(12, 100)
SEED = int(os.environ.get("SOAK_SEED") or amount(1, time.time_ns() % 100_000))
LEAST_RUNS = int(os.environ.get("SOAK_LEAST_RUNS") or KILLS + 1)  # a slow guest has fewer
PAUSE_S = (0.1, 1.5)  # between two kills
PATIENCE_S = 180.0  # for an act that is tried again whenever who serves it is killed
LAUNCHER_AWAY_S = 15.0  # at most, by the supervisor's pauses
STOPPED = 7
RUNS = 1000  # of one container, at most: each begins a segment of its log, and none may be given up
SCRIPT = """
read n 2>/dev/null < /n || n=0
n=$((n+1)); keep() {{ echo $n > /n.new; busybox mv /n.new /n; }}
trap 'keep; echo bye $n; exit {stopped}' TERM
keep; echo run $n; i=0
while [ $i -lt {lines} ]; do echo $n $i; i=$((i+1)); {between} done
echo end $n; exit $((n % 50 + 10))
"""


class Kill(NamedTuple):
    """One act of the nemesis."""

    time_ns: int
    shims: frozenset[str]  # whose
    keepers: bool  # the launcher or its keeper, who learn of the end of what has lost its shim


class Run(NamedTuple):
    """What a log has of one run."""

    began_ns: int
    lines: list[int]
    closing: str  # "end", "bye" or nothing


NOTHING = Run(0, [], "")


class Crew:
    """Acts on containers as people do, and tries again when who served them was killed."""

    def __init__(self, engine: Engine, captain: Visitor, dice: random.Random) -> None:
        self.engine, self.captain, self.dice = engine, captain, dice
        self.token = captain.token("/containers/")
        self.over = threading.Event()
        self.acts = 0

    def work(self, container: Container, round_: Callable[[Container], None]) -> None:
        """Rounds of starting it and having it end, until it is over; it does not run then."""
        while not self.over.is_set():
            self.start(container)
            round_(container)
        self.stop(container)

    def start(self, container: Container) -> None:
        before = self.engine.inspect(container.id).started_at_ns
        self._until("start", container, lambda found: found.started_at_ns != before)

    def stop(self, container: Container) -> None:
        self._until("stop", container, lambda found: found.state is State.EXITED and found.exit is not None)

    def _until(self, verb: str, container: Container, reached: Callable[[Container], bool]) -> None:
        """Act until it is as it should be: who was killed may have done it, or not."""
        until = time.monotonic() + PATIENCE_S
        while not reached(self.engine.inspect(container.id)):
            assert time.monotonic() < until, f"{verb} of {container.name} did not succeed"
            self.acts += 1
            self.dice.choice((self._press, self._type, self._call, self._call))(verb, container)

    def _press(self, verb: str, container: Container) -> None:
        try:
            status = self.captain.press(f"/containers/{container.id}/{verb}/", self.token)
        except (OSError, HTTPException):  # it was killed
            return
        assert status != 500, f"{verb} of {container.name}: an error of the console's own"

    def _type(self, verb: str, container: Container) -> None:
        config = self.engine.config
        subprocess.run(
            [sys.executable, "manage.py", "wharfie", verb, container.id], cwd=TOP, capture_output=True,
            env=os.environ | {"WHARFIE_ROOT": str(config.root), "WHARFIE_RUN": str(config.run)},
        )  # fmt: skip

    def _call(self, verb: str, container: Container) -> None:
        try:
            getattr(self.engine, verb)(container.id)
        except EngineError:  # unavailable, busy, or somebody was faster
            return

    # What happens to a container between its start and its end

    def until_its_end(self, container: Container) -> None:
        with suppress(WrongState):  # it was on record already, but its start has come to nothing
            self.engine.wait(container.id, timeout_s=PATIENCE_S)

    def until_stopped(self, container: Container) -> None:
        self.over.wait(self.dice.uniform(0.2, 2))
        self.stop(container)


class Nemesis:
    """Kills one or two at a time."""

    def __init__(self, engine: Engine, serve: Serve, dice: random.Random) -> None:
        self.engine, self.serve, self.dice = engine, serve, dice
        self.kills: list[Kill] = []

    def strike(self) -> None:
        """Kill somebody, and somebody else too every third time."""
        wanted = self.dice.choices(
            ("web", "launcher", "keeper", "shim"), weights=(2, 2, 1, 6), k=self.dice.choice((1, 1, 2))
        )
        with ExitStack() as stack:
            victims = {}
            for who in wanted:
                for pid, whose in self._find(who):
                    try:
                        pidfd = pidfds.of(pid)
                    except ProcessLookupError:
                        continue
                    stack.callback(os.close, pidfd)
                    if who != "shim" or name_of(pid).startswith("shim"):
                        victims[pid] = pidfd, who, whose
            now = time.time_ns()
            for pidfd, _who, _whose in victims.values():
                try:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        if victims:
            shims = frozenset(whose for _, who, whose in victims.values() if who == "shim")
            keepers = any(who in ("launcher", "keeper") for _, who, _ in victims.values())
            self.kills.append(Kill(now, shims, keepers))

    def _find(self, who: str) -> list[tuple[int, str]]:
        if who in ("launcher", "keeper"):
            pid = answering(str(self.engine.paths.launcher_socket))
            if who == "launcher" or not pid:
                return [(pid, "")] if pid else []
            return [(child, "") for child in children(pid) if name_of(child) == "wharfie-keeper"]
        if who == "web":
            try:
                return [(self.serve.child("web"), "")]
            except (StopIteration, FileNotFoundError):
                return []
        containers = [each for each in self.engine.containers() if each.state.alive]
        shims = [(self.engine._records.shim(each.id), each.id) for each in containers]
        living = [(pid, whose) for pid, whose in shims if pid is not None]
        return [self.dice.choice(living)] if living else []

    def may_be_unseen(self, container: Container, began_ns: int, ended_ns: int) -> bool:
        """Whether the end of a run may be unknown: its shim was killed in it, and so was, or was not back yet, who
        would have learned of it instead."""
        away_ns = int(LAUNCHER_AWAY_S * 1e9)
        alone = [
            kill.time_ns for kill in self.kills if container.id in kill.shims and began_ns <= kill.time_ns <= ended_ns
        ]
        return any(
            kill.keepers and at_ns - away_ns <= kill.time_ns <= ended_ns for at_ns in alone for kill in self.kills
        )


@pytest.fixture
def captain(serve: Serve) -> Visitor:
    return serving.captain(serve, timeout_s=60)  # it takes half of that in a guest


def test_no_container_no_code_and_no_line_is_lost_to_kills(
    config: Config, serve: Serve, captain: Visitor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(SEED)
    with Engine(config, spawn_launcher=True) as engine:
        engine.load_image(busybox_rootfs(tmp_path / "busybox.tar"), name="busybox")
        crew, nemesis = Crew(engine, captain, dice), Nemesis(engine, serve, dice)
        kinds = [
            *[("writer", "no", 2000, "", crew.until_its_end)] * 3,
            *[("again", "always", 300, "", crew.until_stopped)] * 3,
            *[("steady", "no", 10**9, "sleep 0.05;", crew.until_stopped)] * 2,
        ]
        made = [
            engine.create(
                ContainerSpec(
                    image="busybox", name=f"{kind}-{number}", restart=RestartPolicy.parse(policy), log_segments=RUNS,

                    command=("sh", "-c", SCRIPT.format(lines=lines, between=between, stopped=STOPPED)),
                )
            )
            for number, (kind, policy, lines, between, _round) in enumerate(kinds)
        ]  # fmt: skip
        with ThreadPoolExecutor(len(made)) as threads:
            jobs = [threads.submit(crew.work, container, kind[4]) for container, kind in zip(made, kinds, strict=True)]
            try:
                while len(nemesis.kills) < KILLS and not any(job.done() for job in jobs):
                    crew.over.wait(dice.uniform(*PAUSE_S))
                    nemesis.strike()
            finally:
                crew.over.set()
            for job in jobs:
                job.result()
        assert eventually(lambda: answering(str(engine.paths.launcher_socket)), LAUNCHER_AWAY_S)
        wrong, runs, unseen, lines = [], 0, 0, 0
        for container, (_kind, _policy, length, _between, _round) in zip(made, kinds, strict=True):
            found = check(engine, nemesis, container, length)
            wrong += found[0]
            runs, unseen, lines = runs + found[1], unseen + found[2], lines + found[3]
        with capsys.disabled():
            print(
                f"\nseed {SEED}: {len(nemesis.kills)} kills, {crew.acts} acts, {runs} runs, {lines} lines, "
                f"{unseen} ends unseen, {len(wrong)} wrong"
            )
        assert not wrong, f"seed {SEED}:\n" + "\n".join(wrong)
        assert runs >= LEAST_RUNS
        for container in made:
            engine.remove(container.id, force=True)
        assert eventually(lambda: not list(engine.paths.shims.iterdir()), 30), list(engine.paths.shims.iterdir())


def check(engine: Engine, nemesis: Nemesis, container: Container, length: int) -> tuple[list[str], int, int, int]:
    """(what is wrong, runs, ends that nobody saw, lines) of a container that has ended."""
    wrong = []
    lives = [event for event in told(engine) if event.object_id == container.id and event.action in ("start", "die")]
    if [event.action for event in lives] != ["start", "die"] * (len(lives) // 2):
        wrong.append(f"{container.name}: starts and ends do not alternate: {[event.action for event in lives]}")
    ends = [event for event in lives if event.action == "die"]
    runs, garbled = logged(engine, container)
    wrong += [f"{container.name}: {line}" for line in garbled]
    unseen = number = before_ns = 0
    for end in ends:
        code = end.detail["code"]
        next_ = runs.get(number + 1, NOTHING)
        early = code == 137 and end.detail["asked_signal"] == signal.SIGKILL  # before it could heed a SIGTERM
        if (code is None or early) and next_.began_ns > end.detail["finished_at_ns"]:
            run = NOTHING  # killed on its way to its first line, which took the number of no run
        else:
            number += 1
            run = runs.pop(number, NOTHING)
        how = f"code {code}, asked {end.detail['asked_signal']}, {end.detail['reason'] or 'no reason'}"
        which = f"{container.name}, run {number}, {how}: {len(run.lines)} {run.closing}"
        if run.lines != list(range(len(run.lines))):
            wrong.append(f"{which}: lines are missing, doubled or garbled")
        if code is None:
            unseen += 1
            if not end.detail["reason"]:
                wrong.append(f"{which}: nothing is said")
            if not nemesis.may_be_unseen(container, before_ns, end.time_ns):
                wrong.append(f"{which}: somebody should have seen that")
        before_ns = end.detail["finished_at_ns"]
        if code is None or (early and run is NOTHING):
            continue
        right = {"end": number % 50 + 10, "bye": STOPPED}.get(run.closing)
        if code != right:
            wrong.append(f"{which}: it should be {right}")
        if run.closing == "end" and len(run.lines) != length:
            wrong.append(f"{which}: {length} lines were written")
    wrong += [f"{container.name}: run {number} has no end: {run.closing}" for number, run in runs.items()]
    return wrong, len(ends), unseen, sum(1 for _ in engine.logs(container.id))


def told(engine: Engine) -> Iterator[Event]:
    """All events; they are given out in pieces."""
    seen = 0
    while events := engine.events(after=seen):
        yield from events
        seen = events[-1].seq


def logged(engine: Engine, container: Container) -> tuple[dict[int, Run], list[str]]:
    """The runs in its log by their number, and the lines that belong to none."""
    runs: dict[int, Run] = {}
    garbled = []
    for line in engine.logs(container.id):
        match = re.fullmatch(r"(?:(run|end|bye) )?(\d+)(?: (\d+))?", line.text)
        if match is None:
            garbled.append(f"a line that nobody wrote: {line.text!r}")
            continue
        word, number, at = match[1], int(match[2]), match[3]
        if word == "run":
            if number in runs:
                garbled.append(f"run {number} began twice")
            runs[number] = Run(line.time_ns, [], "")
        elif number not in runs and word == "bye":  # stopped before it could say more
            runs[number] = Run(line.time_ns, [], word)
        elif number not in runs:
            garbled.append(f"{line.text!r} before its run began")
        elif word:
            runs[number] = runs[number]._replace(closing=word)
        else:
            runs[number].lines.append(int(at))
    return runs, garbled
