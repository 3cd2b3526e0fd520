"""kill -9 of shims: the container notices nothing, and a new shim goes on where the old one stopped."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine import Container, ContainerSpec, EndedBy, Engine, ExecSpec, RestartPolicy, State
from engine.cgroups import manager
from engine.launcher.keeper import MAX_TRIES
from engine.linux import files
from engine.shim import adoption, ending
from engine.storage import instance
from tests import leaks
from tests.conftest import children, eventually, name_of, stand_still
from tests.engine.conftest import groups
from tests.engine.killing import TOP, adopted, kill, kill_keepers, launcher, shim, tells_exits

pytestmark = pytest.mark.one_engine

LINES = "i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); done; exit %d"


def start(dock: Engine, script: str, restart: str = "no") -> Container:
    container = dock.create(
        ContainerSpec(image="busybox", command=("sh", "-c", script), restart=RestartPolicy.parse(restart))
    )
    return dock.start(container.id)


def test_one_container_survives_any_number_of_its_shims(dock: Engine) -> None:
    container = start(dock, "echo run; exec sleep 100", "always")
    held = []
    for _ in range(MAX_TRIES + 2):
        before = shim(dock, container)
        kill(before)
        assert adopted(dock, container, before)
        held.append(len(os.listdir(f"/proc/{keeper_of(dock)}/fd")))
    assert held[-1] <= held[0], "each of them leaves the keeper with no more than the one before"
    assert children(keeper_of(dock)) == [shim(dock, container)], "nobody is left unreaped"
    assert dock.inspect(container.id).pid == container.pid
    ended = dock.stop(container.id, timeout_s=0).exit
    assert ended is not None
    assert ended.code == 137


def keeper_of(dock: Engine) -> int:
    (keeper,) = [pid for pid in children(launcher(dock)) if name_of(pid) == "wharfie-keeper"]
    return keeper


@contextmanager
def nobody_takes_over(dock: Engine) -> Iterator[None]:
    """Whoever would give a container another shim stands still meanwhile."""
    frozen = [keeper_of(dock), launcher(dock)]
    try:
        stand_still(*frozen)
        yield
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def wake_launcher(dock: Engine) -> None:
    """What the supervisor does when its launcher has died."""
    other = start(dock, "true")
    dock.wait(other.id, timeout_s=20)
    dock.remove(other.id, force=True)


def test_a_new_shim_takes_over_and_everything_works(dock: Engine) -> None:
    container = start(dock, "trap 'echo bye; exit 7' TERM; echo hello; while :; do sleep 0.1; done")
    assert eventually(lambda: [line.text for line in dock.logs(container.id)] == ["hello"])
    first = shim(dock, container)
    kill(first)
    assert adopted(dock, container, first)
    found = dock.inspect(container.id)
    assert (found.state, found.pid) == (State.RUNNING, container.pid), "the same run"
    with dock.exec(container.id, ExecSpec(("echo", "in"))) as execution:
        assert execution.output(timeout_s=10)[:2] == (0, b"in\n")
    dock.pause(container.id)
    dock.unpause(container.id)
    ended = dock.stop(container.id).exit
    assert ended is not None
    assert ended.code == 7
    assert [line.text for line in dock.logs(container.id)] == ["hello", "bye"]
    dock.start(container.id)
    assert dock.inspect(container.id).state is State.RUNNING
    dock.remove(container.id, force=True)
    assert eventually(lambda: not list(dock.paths.shims.iterdir()))


def lines_of(engine: Engine, container: Container) -> int:
    """How many its log has by now; to read all of them takes longer than it writes."""
    pages = engine.log_pages(container.id)
    return pages.lines_before(pages.end()) or 0


@pytest.mark.parametrize("kills", [1, 3])
def test_no_line_and_no_code_is_lost_while_it_writes_as_fast_as_it_can(dock: Engine, kills: int) -> None:
    count = 300_000  # seconds of writing, of which the kills take the first
    container = start(dock, LINES % (count, 5))
    for number in range(kills):
        written = (number + 1) * 1000
        assert eventually(lambda n=written: lines_of(dock, container) >= n, timeout_s=30)
        before = shim(dock, container)
        kill(before)
        assert adopted(dock, container, before), "it still writes"
    assert dock.wait(container.id, timeout_s=60).code == 5
    assert [line.text for line in dock.logs(container.id)] == [f"line {i}" for i in range(count)]


def test_the_code_is_known_when_both_are_killed_at_once(dock: Engine) -> None:
    container = start(dock, "sleep 100")
    assert container.pid is not None
    first = shim(dock, container)
    kill(first)
    kill(container.pid)
    ended = dock.wait(container.id, timeout_s=20)
    assert (ended.code, ended.signal) == (137, 9)


def test_shims_of_an_earlier_launcher_are_taken_over_too(dock: Engine) -> None:
    container = start(dock, "echo one; sleep 100")
    kill(launcher(dock))
    wake_launcher(dock)
    first = shim(dock, container)
    keeper = keeper_of(dock)
    assert eventually(lambda: holds(keeper, container)), "the new one collects what there is"
    kill(first)
    assert adopted(dock, container, first)
    assert dock.inspect(container.id).pid == container.pid
    ended = dock.stop(container.id, timeout_s=0).exit
    assert ended is not None
    assert ended.code in ((137,) if tells_exits() else (None,))
    assert "one" in [line.text for line in dock.logs(container.id)]


def holds(keeper: int, container: Container) -> bool:
    """Whether a keeper has a pidfd of a container's first process; proc_pid_fdinfo(5)."""
    infos = Path(f"/proc/{keeper}/fdinfo").iterdir()
    return any(f"\nPid:\t{container.pid}\n".encode() in leaks.read(info) for info in infos)


def test_killed_with_the_launcher_it_goes_on_and_loses_no_line(dock: Engine) -> None:
    count = 40_000
    container = start(dock, LINES.replace("exit %d", "sleep 100") % count)
    first = shim(dock, container)
    kill(launcher(dock))
    kill(first)
    assert dock.inspect(container.id).state is State.RUNNING
    wake_launcher(dock)
    assert adopted(dock, container, first)
    assert dock.inspect(container.id).pid == container.pid
    assert eventually(lambda: len(list(dock.logs(container.id))) == count, timeout_s=30)
    assert [line.text for line in dock.logs(container.id)] == [f"line {i}" for i in range(count)]
    ended = dock.stop(container.id, timeout_s=0).exit
    assert ended is not None
    assert ended.code in ((137,) if tells_exits() else (None,))


LAST_WORDS = "trap 'echo bye; exit 7' TERM; echo hello; while :; do sleep 0.1; done"


def test_its_end_is_not_told_before_the_new_shim_that_is_on_its_way_has_seen_it(dock: Engine) -> None:
    """Told at once, it would be unknown, and what it wrote last would come after it."""
    container = start(dock, LAST_WORDS)
    assert container.pid is not None
    assert eventually(lambda: list(dock.logs(container.id)))
    with files.locked(str(dock.paths.container_lock(container.id))):  # so that the new one waits
        kill(shim(dock, container))
        assert eventually(lambda: instance.is_locked(dock.paths.request(container.id)))
        kill(launcher(dock))
        os.kill(container.pid, signal.SIGTERM)
        assert eventually(lambda: dock._records.running(container.id) is None)
        found = dock.inspect(container.id)
        assert (found.state, found.exit) == (State.EXITED, None)
    ended = dock.wait(container.id, timeout_s=20)
    assert ended.code == (7 if tells_exits() else None)
    assert [line.text for line in dock.logs(container.id)] == ["hello", "bye"]


def test_a_keeper_whose_launcher_was_killed_before_it_could_tell_of_a_shim_gives_it_a_new_one(dock: Engine) -> None:
    container = start(dock, LAST_WORDS)
    assert container.pid is not None
    assert eventually(lambda: list(dock.logs(container.id))), "it heeds signals by now"
    before, master = shim(dock, container), launcher(dock)
    stand_still(master)
    kill(before)
    kill(master)
    assert adopted(dock, container, before)
    os.kill(container.pid, signal.SIGTERM)
    assert eventually(lambda: not dock.paths.run_record(container.id).exists())
    assert [line.text for line in dock.logs(container.id)] == ["hello", "bye"]
    wake_launcher(dock)


def test_what_it_put_in_the_place_of_its_output_is_not_opened_on_the_host(dock: Engine) -> None:
    """A file in memory may have any number, that of the pipe as well; only the pipe is ever opened."""
    container = start(dock, "exec >/dev/shm/file 2>&1; exec sleep 100")
    assert container.pid is not None
    place = f"/proc/{container.pid}/fd/1"
    assert eventually(lambda: os.readlink(place) == "/dev/shm/file")
    assert adoption._pipe(container.pid, 1, [os.stat(place).st_ino]) == -1
    reader, writer = os.pipe2(os.O_CLOEXEC)
    found = adoption._pipe(os.getpid(), writer, [os.fstat(reader).st_ino])
    try:
        os.write(writer, b"of the same pipe")
        assert os.read(found, 100) == b"of the same pipe"
    finally:
        for descriptor in (reader, writer, found):
            os.close(descriptor)


def test_when_all_of_them_die_nobody_invents_a_code(dock: Engine) -> None:
    container = start(dock, "sleep 100")
    assert container.pid is not None
    kill_keepers(dock)
    kill(shim(dock, container))
    kill(container.pid)
    wake_launcher(dock)
    ended = dock.wait(container.id, timeout_s=20)
    assert ended.code is None
    assert "nobody saw" in ended.reason
    assert dock.start(container.id).state is State.RUNNING


def test_a_policy_holds_across_the_death_of_shims(dock: Engine) -> None:
    container = start(dock, "echo run; trap 'exit 3' USR1; echo ready; while :; do sleep 0.05; done", "always")
    for runs in (1, 2, 3):
        assert eventually(lambda n=runs: [x.text for x in dock.logs(container.id)].count("ready") == n)
        first = shim(dock, container)
        kill(first)
        assert adopted(dock, container, first)
        dock.kill(container.id, "USR1")
        assert eventually(lambda n=runs: dock.inspect(container.id).restarts == n)
    dock.remove(container.id, force=True)


def test_a_shim_that_is_killed_while_its_container_waits_for_its_next_run_is_replaced(dock: Engine) -> None:
    container = start(dock, "echo run; exit 9", "always")
    assert eventually(lambda: dock.inspect(container.id).restarts >= 4 and not dock.inspect(container.id).pid, 20)
    first = shim(dock, container)
    kill(first)
    assert adopted(dock, container, first)
    restarts = dock.inspect(container.id).restarts
    assert eventually(lambda: dock.inspect(container.id).restarts > restarts, timeout_s=20)
    dock.remove(container.id, force=True)


def test_a_run_is_not_counted_twice_whose_shim_was_killed_before_the_next(dock: Engine) -> None:
    container = start(dock, "echo run; exit 9", "on-failure:4")
    assert eventually(lambda: dock.inspect(container.id).restarts == 4 and not dock.inspect(container.id).pid, 20)
    first = shim(dock, container)
    kill(first)  # in the last pause, of 0.8 s
    assert adopted(dock, container, first)
    assert eventually(lambda: not dock.paths.run_record(container.id).exists(), 20), "it has ended for good"
    assert dock.inspect(container.id).state is State.EXITED
    assert [line.text for line in dock.logs(container.id)] == ["run"] * 5
    assert dock.inspect(container.id).restarts == 4
    died = [event for event in dock.events() if (event.object_id, event.action) == (container.id, "die")]
    assert len(died) == 5


def test_what_a_shim_has_said_of_the_end_stands_if_it_is_killed_while_it_gives_up_the_files(dock: Engine) -> None:
    container = start(dock, "sleep 100")
    left = {path: path.read_bytes() for path in (dock.paths.run_record(container.id), dock.paths.request(container.id))}
    dock.kill(container.id)
    assert dock.wait(container.id, timeout_s=20).code == 137
    assert eventually(lambda: not dock.paths.run_record(container.id).exists())
    said = dock.paths.exit_record(container.id).read_bytes()
    for path, data in left.items():  # as it was then: the next shim finds them
        path.write_bytes(data)
    script = "import sys; from engine.shim import adoption; adoption.adopt(sys.argv[1], sys.argv[2])"
    subprocess.run([sys.executable, "-c", script, str(dock.paths.shims), container.id], cwd=TOP, check=True)
    assert dock.paths.exit_record(container.id).read_bytes() == said
    assert not any(path.exists() for path in left)
    assert dock.start(container.id).state is State.RUNNING


def test_a_group_that_cannot_be_removed_at_the_end_is_found_again(
    dock: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = start(dock, "sleep 100")
    request = json.loads(dock.paths.request(container.id).read_text())
    dock.kill(container.id)
    dock.wait(container.id, timeout_s=20)
    assert eventually(lambda: not dock.paths.run_record(container.id).exists())
    group = manager.group(dock.instance, container.id)
    group.create()
    dock.paths.shim_socket(container.id).touch()

    def hangs(_group: manager.Group) -> None:
        raise OSError(errno.EBUSY, "a process hangs in the kernel")

    with monkeypatch.context() as patched:
        patched.setattr(manager, "clear", hangs)
        ending.clear_away(request, group)
    assert dock.paths.shim_socket(container.id).exists()
    dock.remove(container.id)
    assert groups(dock, container.id) == []
    assert not dock.paths.shim_socket(container.id).exists()


def test_a_restart_that_waits_for_who_reads_the_files_can_be_stopped(dock: Engine) -> None:
    container = start(dock, "exit 9", "always")
    reader = os.open(dock.paths.root_lock(container.id), os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(reader, fcntl.LOCK_SH)
        assert eventually(lambda: dock.inspect(container.id).state is State.RESTARTING)
        time.sleep(0.5)  # the pause is over: its starter waits
        stopped = dock.stop(container.id)
        assert (stopped.state, stopped.exit and stopped.exit.code) == (State.EXITED, 9)
    finally:
        os.close(reader)
    assert eventually(lambda: dock._records.shim(container.id) is None)
    assert dock.inspect(container.id).state is State.EXITED


def test_it_waits_for_its_next_run_and_can_be_stopped_while_nobody_is_there_to_start_it(dock: Engine) -> None:
    container = start(dock, "exit 9", "always")
    assert eventually(lambda: dock.inspect(container.id).restarts >= 4 and not dock.inspect(container.id).pid, 20)
    with nobody_takes_over(dock):
        kill(shim(dock, container))
        found = dock.inspect(container.id)
        assert (found.state, found.exit and found.exit.code) == (State.RESTARTING, 9)
        assert dock.listing(states=[State.RESTARTING]).matching == 1
        assert dock.stop(container.id).state is State.EXITED
        runs = dock.inspect(container.id).restarts
    seen = set()

    def done() -> bool:
        seen.add(dock.inspect(container.id).state)
        return dock._records.shim(container.id) is None and not dock.paths.request(container.id).exists()

    assert eventually(done)
    assert seen == {State.EXITED}, "it was not seen waiting again while its next shim took over"
    found = dock.inspect(container.id)
    assert (found.state, found.restarts, found.exit and found.exit.code) == (State.EXITED, runs, 9)
    dock.remove(container.id)


def test_who_serves_a_terminal_may_be_the_last_of_all_and_takes_the_engines_group_away(dock: Engine) -> None:
    container = start(dock, "sleep 100")
    assert container.pid is not None
    terminal = dock.terminal(container.id, ExecSpec(("sleep", "100")))
    (server,) = (pid for pid in children(shim(dock, container)) if name_of(pid).startswith("exec"))
    kill_keepers(dock)
    kill(shim(dock, container))
    group = groups_of(server)
    assert {path.name for path in group} == {manager.ENGINE_GROUP}
    assert eventually(lambda: (group[0] / "cgroup.procs").read_text().split() == [str(server)])
    kill(container.pid)
    assert eventually(lambda: not any(path.exists() for path in group))
    terminal.close()
    dock.remove(container.id)


def groups_of(pid: int) -> list[Path]:
    """Those of Wharfie's groups that a process is in; cgroups(7), "/proc files"."""
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    top = Path("/sys/fs/cgroup")
    unified = "unified" if (top / "unified").is_dir() else ""
    return [top / (names or unified) / path[1:] for _number, names, path in lines if "/wharfie-" in path]


def test_who_asked_for_its_end_is_known_to_the_next_shim_and_where_none_answers(dock: Engine) -> None:
    """Asked of a shim that is killed before it could tell of the end, or while there is none."""
    heeds = "trap 'sleep 1; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    asked, unanswered = start(dock, heeds), start(dock, "sleep 100")
    assert eventually(lambda: [line.text for line in dock.logs(asked.id)] == ["ready"])
    dock.kill(asked.id, signal="TERM")
    kill(shim(dock, asked))
    with nobody_takes_over(dock):
        kill(shim(dock, unanswered))
        dock.kill(unanswered.id, signal="KILL")
    for container, code in ((asked, 7), (unanswered, 137)):
        assert dock.wait(container.id, timeout_s=20).code == code
        ended = dock.inspect(container.id).exit
        assert ended is not None
        assert ended.ended_by is EndedBy.ENGINE
        dock.remove(container.id)


def test_a_signal_goes_out_where_there_is_no_room_to_note_it(dock: Engine) -> None:
    container = start(dock, "sleep 100")
    asked = Path(ending.asked_path(str(dock.paths.run_record(container.id))))
    in_the_way = asked.with_name(f"{asked.name}.new")
    in_the_way.mkdir()  # so that it cannot be written
    try:
        dock.kill(container.id)
        ended = dock.wait(container.id, timeout_s=20)
    finally:
        in_the_way.rmdir()
    assert (ended.code, ended.asked_signal) == (137, None)
    dock.remove(container.id)


def test_a_shim_that_is_killed_while_it_starts_its_container_again_leaves_that_to_the_next_one(dock: Engine) -> None:
    """Its starter goes on without it, and must neither bring up a run that nobody watches nor tell of one."""
    container = start(dock, "echo run; exit 9", "always")
    assert eventually(lambda: dock.inspect(container.id).restarts >= 3, 20)
    with files.locked(str(dock.paths.root_lock(container.id))):  # it waits for that, as while files are copied
        first = shim(dock, container)
        assert eventually(lambda: any(name_of(pid).startswith("start") for pid in children(first)), 20)
        assert eventually(lambda: instance.is_locked(dock.paths.container_lock(container.id)))
        before = dock._records._run_record(container.id)
        assert before is not None
        kill(first)
        assert eventually(lambda: dock._records.shim(container.id) is None)
        assert not adopted(dock, container, first, timeout_s=0.5), "there is a start under way"
    seen = []
    until = time.monotonic() + 20
    while time.monotonic() < until and (not seen or seen[-1]["restarts"] <= before["restarts"]):
        seen.append(dock._records._run_record(container.id) or seen[-1])
    assert {record["shim_pid"] for record in seen} == {first, shim(dock, container)}
    assert all(record["resting"] for record in seen if record["shim_pid"] == first)
    dock.stop(container.id)
    ends = [event for event in dock.events() if event.action == "die" and event.object_id == container.id]
    assert {end.detail["code"] for end in ends} == {9}
    assert len(ends) == len(list(dock.logs(container.id)))
    dock.remove(container.id, force=True)


def test_a_start_that_races_with_a_takeover_wins_or_waits(dock: Engine) -> None:
    for _ in range(5):
        container = start(dock, "sleep 100")
        assert container.pid is not None
        kill(shim(dock, container))
        kill(container.pid)
        assert eventually(lambda c=container: dock.inspect(c.id).exit is not None)
        again = dock.start(container.id)
        assert again.state is State.RUNNING
        first = shim(dock, again)
        kill(first)
        assert adopted(dock, again, first), "who took over the run before is done with it"
        assert dock.inspect(container.id).pid == again.pid
        dock.remove(container.id, force=True)


def test_keeper_and_shim_killed_at_once_leave_nothing_stuck(dock: Engine) -> None:
    for _ in range(5):
        container = start(dock, "sleep 0.5; exit 7")
        first = shim(dock, container)
        (keeper,) = [pid for pid in children(launcher(dock)) if name_of(pid) == "wharfie-keeper"]
        kill(keeper)
        kill(first)
        assert dock.wait(container.id, timeout_s=20).code in (7, None)
        dock.remove(container.id)


def test_a_command_line_brings_back_what_lost_its_shim_and_its_launcher(dock: Engine) -> None:
    container = start(dock, "sleep 100")
    first = shim(dock, container)
    kill_keepers(dock)
    kill(first)
    dock.take_over()
    assert adopted(dock, container, first)
    assert dock.inspect(container.id).pid == container.pid


def test_a_child_of_the_killed_launcher_that_has_its_lock_a_moment_longer_hides_nothing(dock: Engine) -> None:
    container = start(dock, "sleep 100")
    first = shim(dock, container)
    kill_keepers(dock)
    kill(first)
    lock = os.open(dock.paths.launcher_lock, os.O_RDWR | os.O_CLOEXEC)
    assert eventually(lambda: not instance.is_locked(dock.paths.launcher_lock))
    fcntl.flock(lock, fcntl.LOCK_EX)
    moment = threading.Timer(0.5, os.close, (lock,))  # longer than a launcher takes to find it held, and to give up
    moment.start()
    dock.take_over()
    moment.join()
    assert adopted(dock, container, first)
