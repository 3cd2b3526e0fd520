"""A host that is short of things, that stands still, that jumps, or that was another before (F11 to F34)."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import ContainerSpec, Engine, EngineError, ExecSpec, Limits, State, VolumeMount, policy
from engine.cgroups import manager, room
from engine.containers.logs import MAX_LINE_BYTES
from engine.errors import Overloaded
from tests import leaks
from tests.conftest import children, eventually, stand_still
from tests.engine.conftest import groups
from tests.engine.faults.injection import TOP
from tests.soak import amount


def sleeper(dock: Engine, **options: object) -> str:
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), **options))  # type: ignore[arg-type]
    return dock.start(container.id).id


def test_a_root_that_a_stranger_holds_is_removed_all_the_same(dock: Engine) -> None:
    """F15: a file of it is open, and somebody stands in it, in another mount namespace."""
    container_id = sleeper(dock)
    upper = dock.paths.container(container_id) / "upper"
    (upper / "held").write_text("x")
    hold = "import os, sys; f = open('held'); print(1, flush=True); sys.stdin.read()"
    command = ["unshare", "--mount", sys.executable, "-c", hold]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=upper) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        dock.remove(container_id, force=True)
        assert not dock.paths.container(container_id).exists()
        assert eventually(lambda: not os.listdir(dock.paths.trash))
        stranger.communicate()


def test_what_is_mounted_below_a_container_keeps_its_files_and_nothing_else(
    dock: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    """F15: EBUSY for rmdir(2). The container is gone; its files are tried again at each start of the console, and the
    console's own log says so."""
    container = dock.create(ContainerSpec(image="busybox", command=("true",)))
    place = dock.paths.container(container.id) / "upper" / "mounted"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        dock.remove(container.id)
        assert dock.containers() == []
        said: list[str] = []

        def tries() -> int:
            said.append(capfd.readouterr().err)
            return "".join(said).count(f"deleting {dock.paths.trash}")

        assert eventually(lambda: tries() == 1)
        dock.tidy()
        assert eventually(lambda: tries() == 2)
        assert os.listdir(dock.paths.trash) != []
    finally:
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        (moved,) = [path for path in mounts if str(dock.paths.trash) in path]
        subprocess.run(["umount", moved], check=True)
    dock.tidy()
    assert eventually(lambda: not os.listdir(dock.paths.trash))


def test_a_flood_of_output_fills_no_disk_and_no_memory(dock: Engine) -> None:
    """F18: the program waits in its write; the log stays within what was promised."""
    segment = 2**20
    command = ("sh", "-c", "yes & cat /dev/zero >&2")
    spec = ContainerSpec(image="busybox", command=command, log_segment_bytes=segment, log_segments=3)
    floods = [dock.create(spec).id for _ in range(2)]
    for flood in floods:
        dock.start(flood)
    shims = [dock._records.shim(flood) for flood in floods]
    before = [resident(shim) for shim in shims]
    idle = [dock.log_tail(flood) for flood in floods for _ in range(10)]
    until = time.monotonic() + amount(3, 60)
    quiet = dock.create(ContainerSpec(image="busybox", command=("cat",), stdin=True)).id
    dock.start(quiet)
    typed, lines = dock.input(quiet), dock.logs(quiet, follow=True)
    while time.monotonic() < until:
        began = time.monotonic()
        dock.inspect(quiet)
        os.write(typed, b"heard\n")
        assert next(lines).text == "heard"
        assert time.monotonic() - began < 2
    os.close(typed)
    for reader in idle:
        reader.close()
    for flood, shim, weight in zip(floods, shims, before, strict=True):
        assert dock.inspect(flood).state is State.RUNNING
        stand_still(shim)  # no segment goes while they are counted
        try:
            size = sum(path.stat().st_size for path in dock.paths.log(flood).iterdir())
        finally:
            os.kill(shim, signal.SIGCONT)
        assert size <= 3 * segment + 2**16
        assert resident(shim) < weight + 50 * 2**20
        dock.remove(flood, force=True)


def test_a_line_without_an_end_fills_no_memory(dock: Engine) -> None:
    """F18: 100 MB of it, read as it comes by one who is shown it in pieces."""
    size = 100 * 10**6
    command = ("sh", "-c", f"read go; head -c {size} /dev/zero; exec sleep 1000")
    spec = ContainerSpec(image="busybox", command=command, stdin=True, log_segment_bytes=2**20, log_segments=3)
    container_id = dock.start(dock.create(spec).id).id
    shim = dock._records.shim(container_id)
    tail = dock.log_tail(container_id)
    before = [resident(pid) for pid in (shim, os.getpid())]
    typed = dock.input(container_id)
    os.write(typed, b"go\n")
    longest, seen = 0, [0]

    def more() -> bool:
        nonlocal longest
        for line in tail.read(10):
            longest = max(longest, len(line.text))
        seen.append(max(int(path.name) for path in dock.paths.log(container_id).iterdir()))
        return seen[-1] > size // 2**20  # the last segment of them

    assert eventually(more, 60)
    assert 0 < longest <= MAX_LINE_BYTES
    for pid, weight in zip((shim, os.getpid()), before, strict=True):
        assert resident(pid) < weight + 50 * 2**20
    os.close(typed)
    tail.close()


def resident(pid: int | None) -> int:
    """Bytes of memory of a process; proc_pid_statm(5)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_after_a_reboot_no_pid_is_believed(dock: Engine) -> None:
    """F28: the record of a run in another boot, with the pid and start time of somebody who lives."""
    container_id = sleeper(dock)
    record = dock.paths.run_record(container_id)
    facts = json.loads(record.read_text())
    dock.stop(container_id, 0)
    assert eventually(lambda: not record.exists())
    record.write_text(json.dumps(facts | alive(os.getpid()) | {"boot_id": "another-boot"}))
    assert dock.inspect(container_id).state is State.EXITED
    dock.start(container_id)
    assert dock.inspect(container_id).state is State.RUNNING


def alive(pid: int) -> dict[str, int]:
    start_time = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return {"pid": pid, "start_time": start_time, "shim_pid": pid, "shim_start_time": start_time}


def test_a_pid_that_is_used_again_is_a_stranger(dock: Engine) -> None:
    """F29: neither believed to be the container nor ever killed."""
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        container_id = sleeper(dock)
        record = dock.paths.run_record(container_id)
        facts = json.loads(record.read_text())
        dock.stop(container_id, 0)
        assert eventually(lambda: not record.exists())
        wrong = alive(stranger.pid) | {"start_time": 1, "shim_start_time": 1}
        record.write_text(json.dumps(facts | wrong))
        assert dock.inspect(container_id).state is State.EXITED
        with pytest.raises(EngineError):
            dock.kill(container_id)
        dock.remove(container_id, force=True)
        assert stranger.poll() is None, "it lives"
        stranger.kill()


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM", "PIPE", "CHLD", "USR1"])
def test_a_signal_to_the_launcher_ends_no_container(dock: Engine, name: str) -> None:
    """F27. What would end the launcher ends it alone; the next act has another one."""
    container_id = sleeper(dock)
    launcher = answering(str(dock.paths.launcher_socket))
    assert launcher
    os.kill(launcher, getattr(signal, f"SIG{name}"))
    if name in ("HUP", "INT", "CHLD"):
        assert answering(str(dock.paths.launcher_socket)) == launcher, "it is ignored"
    assert dock.inspect(container_id).state is State.RUNNING
    assert eventually(lambda: dock.inspect(sleeper(dock)).state is State.RUNNING)


def test_an_engine_with_few_descriptors_says_so_and_goes_on(dock: Engine) -> None:
    """F4: EMFILE for real, by a limit of the process."""
    program = """
import os, resource, sys
from pathlib import Path
from engine import Config, ContainerSpec, Engine, EngineError
engine = Engine(Config(Path(sys.argv[1]), Path(sys.argv[2])))
engine.containers()
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 1, 64))
said = []
for act in (lambda: engine.create(ContainerSpec("busybox", "few", ("true",))), lambda: engine.start("few")):
    try:
        act()
    except EngineError as error:
        said.append(bool(error.message))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
if not [c for c in engine.containers() if c.name == "few"]:
    engine.create(ContainerSpec("busybox", "few", ("true",)))
engine.start("few")
print(len(said), engine.wait("few", timeout_s=20).code)
"""
    sleeper(dock)
    command = [sys.executable, "-c", program, str(dock.config.root), str(dock.config.run)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TOP, timeout=60)
    assert done.stderr == ""
    said, code = map(int, done.stdout.split())
    assert said >= 1
    assert code == 0


def test_an_engine_whose_memory_is_short_loses_nothing(dock: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """F33: the launcher's group is limited to little more than it uses; nothing more is taken on. Where something was
    just before, starts fail or work, and nothing is mixed."""
    up = sleeper(dock)
    group = manager.group(dock.instance, manager.ENGINE_GROUP)
    containers = [dock.create(ContainerSpec(image="busybox", command=("true",))).id for _ in range(4)]
    monkeypatch.setattr(room, "LIMIT_LOOK_S", 0.0)
    room._unlimited.clear()
    limits = dataclasses.asdict(policy.default_limits())
    limit = manager.usage(group).memory_bytes + room.LEAST_BYTES // 2
    group.limit(limits | {"memory_bytes": limit, "memory_swap_bytes": limit})
    for act in (
        lambda: dock.start(containers[0]),
        lambda: dock.exec(up, ExecSpec(("true",))),
        lambda: dock.terminal(up, ExecSpec(("true",))),
        lambda: list(dock.browse.list(up, "/")),
    ):
        with pytest.raises(Overloaded, match="the engine is short of memory: its control group allows for"):
            act()
    assert dock.inspect(containers[0]).state is State.CREATED
    monkeypatch.setattr(room, "require", lambda _instance: None)
    limit = max(limit, 16 * 2**20)
    group.change(limits | {"memory_bytes": limit, "memory_swap_bytes": limit})
    for container_id in containers:
        try:
            dock.start(container_id)
            assert dock.wait(container_id, timeout_s=30).code == 0
        except EngineError:
            assert dock.inspect(container_id).state is State.CREATED
            assert not groups(dock, container_id)
    assert dock.inspect(up).state is State.RUNNING
    dock.stop(up, 0)


def test_a_caller_that_is_short_of_memory_takes_on_nothing_more(dock: Engine) -> None:
    """F33: it is the process that holds an Engine whose group has a limit; of those above it the nearest counts."""
    program = """
import dataclasses, os, sys
from pathlib import Path
from engine import Config, Engine, policy
from engine.cgroups import manager, room
from engine.errors import Overloaded
room.LIMIT_LOOK_S = 0.0
engine = Engine(Config(Path(sys.argv[1]), Path(sys.argv[2])))
group = manager.group(engine.instance, "caller")
group.create(confined=False)
group.add(os.getpid())
assert room.own() == f"/wharfie-{engine.instance}/caller", room.own()
limits = dataclasses.asdict(policy.default_limits())
for spare, set_limits in ((room.LEAST_BYTES // 2, group.limit), (8 * room.LEAST_BYTES, group.change)):
    most = manager.usage(group).memory_bytes + spare
    set_limits(limits | {"memory_bytes": most, "memory_swap_bytes": most})
    try:
        print(engine.start(sys.argv[3]).state)
    except Overloaded as error:
        print(error.message.partition(":")[0])
"""
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    command = [sys.executable, "-c", program, str(dock.config.root), str(dock.config.run), container.id]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TOP, timeout=60, check=False)
    manager.clear(manager.group(dock.instance, "caller"))
    assert (done.stderr, done.stdout) == ("", "this process is short of memory\nrunning\n")


def test_an_engine_that_hardly_gets_a_cpu_is_slow_and_right(dock: Engine) -> None:
    """F34: 20 ms of each 100 ms for the launcher and its shims."""
    up = sleeper(dock)
    group = manager.group(dock.instance, manager.ENGINE_GROUP)
    group.limit(dataclasses.asdict(policy.default_limits()) | {"cpus": 0.2})
    script = "trap 'exit 3' TERM; echo ready; sleep 60 & wait"
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script)))
    for number in range(3):
        dock.start(container.id)
        with dock.exec(container.id, ExecSpec(("true",))) as execution:
            assert execution.output(timeout_s=30)[0] == 0
        assert eventually(lambda n=number: len(list(dock.logs(container.id))) == n + 1, 30)
        stopped = dock.stop(container.id, 60)
        assert stopped.exit is not None
        assert stopped.exit.code == 3
    assert dock.inspect(up).state is State.RUNNING


def test_ten_thousand_orphans_are_reaped_or_bounded(dock: Engine) -> None:
    """F25: a first process that reaps nothing meets its own limit of processes; Wharfie has no zombies. Ten thousand
    of them in a soak."""
    script = f"(for i in $(seq {amount(300, 10_000)}); do (sleep 0 &); done) & exec sleep 1000"
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script), limits=Limits(pids=64)))
    dock.start(container.id)
    shim, first = dock._records.shim(container.id), dock.inspect(container.id).pid
    assert shim is not None
    assert first is not None
    assert eventually(lambda: len([pid for pid in children(first) if leaks.state(pid) == "Z"]) >= 60), "all it may have"
    assert len(children(first)) < 64
    assert not [pid for pid in children(shim) if leaks.state(pid) == "Z"]
    began = time.monotonic()
    dock.remove(container.id, force=True)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("bomb", ["b() { b | b & }; b; sleep 1000", "while true; do sleep 1000 & done"])
def test_a_fork_bomb_is_stopped_in_two_seconds(dock: Engine, bomb: str) -> None:
    """F11, F12: all of it is gone, and others have not noticed."""
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", bomb), limits=Limits(pids=512)))
    other = sleeper(dock)
    dock.start(container.id)
    # Not how many there are: one that was refused a fork may have burnt out by the next look, or ended.
    told = [path for group in groups(dock, container.id) if (path := Path(group, "pids.events")).exists()]

    def gone_off() -> bool:
        try:
            return any(path.read_text() != "max 0\n" for path in told) or dock.inspect(container.id).exit is not None
        except OSError:  # its group is gone
            return True

    assert eventually(gone_off, 20)
    began = time.monotonic()
    with dock.exec(other, ExecSpec(("true",))) as execution:
        assert execution.output(timeout_s=30)[0] == 0
    dock.stop(container.id, 0)
    assert time.monotonic() - began < 10  # 2 s on a host that nobody else keeps busy
    assert not groups(dock, container.id)


def test_many_hands_at_once_leave_one_history(dock: Engine) -> None:
    """F22: start, stop, rename, remove and create of the same name, from four threads: each answer is one of the
    acts' own, and at the end there is one container or none."""
    said: set[str] = set()

    def hand(number: int) -> None:
        acts = (
            lambda: dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), name="wanted")),
            lambda: dock.start("wanted"),
            lambda: dock.stop("wanted", 0),
            lambda: dock.rename("wanted", f"other-{number}"),
            lambda: dock.rename(f"other-{number}", "wanted"),
            lambda: dock.remove("wanted", force=True),
        )
        for step in range(amount(18, 300)):
            try:
                acts[(step * 5 + number) % len(acts)]()
            except EngineError as error:
                said.add(type(error).__name__)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hand, range(4)))
    assert said <= {"NotFound", "AlreadyExists", "WrongState", "Busy"}
    names = [container.name for container in dock.containers()]
    assert len(names) == len(set(names))
    for container in dock.containers():
        dock.remove(container.id, force=True)
    assert eventually(lambda: not list(dock.paths.shims.iterdir()))
    assert {path.name for path in dock.paths.containers.iterdir()} <= {".lock"}


def test_a_volume_that_is_removed_while_it_is_taken(dock: Engine) -> None:
    """F22: create with it against its removal: one of them wins, and no container has a volume that is none."""
    for _ in range(amount(10, 200)):
        dock.create_volume("data")
        spec = ContainerSpec(image="busybox", command=("true",), volumes=(VolumeMount("data", "/data"),))

        def tried(act: object) -> bool:
            try:
                act()  # type: ignore[operator]
            except EngineError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            made, removed = pool.map(tried, (lambda: dock.create(spec), lambda: dock.remove_volume("data")))  # noqa: B023
        assert made != removed
        for container in dock.containers():
            dock.remove(container.id)
        if made:
            dock.remove_volume("data")
