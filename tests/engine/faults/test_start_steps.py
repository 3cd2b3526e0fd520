"""A start that fails at each step in turn is undone, says the same twice, and works when nothing fails (F17)."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import Container, ContainerSpec, Engine, EngineError, State, VolumeMount
from engine.linux import process, unix
from tests.conftest import children, eventually, name_of, shims
from tests.engine.conftest import groups
from tests.engine.faults.injection import KILL, error, injected
from tests.engine.killing import ask_and_die, tells_exits
from tests.soak import amount

# Calls of the starter and of init, from the request on: what they make, and what they ask for.
STARTER = (
    "bind", "fallocate", "fchown", "fsconfig", "fsmount", "fsopen", "listen", "mkdir", "mount_setattr", "open_tree",
    "openat", "pipe2", "recvmsg", "rename", "sendmsg", "sendto", "socket", "write",
)  # fmt: skip
INIT = (
    "capset", "chdir", "close_range", "dup2", "execve", "fchdir", "fsconfig", "fsmount", "fsopen", "keyctl", "mkdirat",
    "mount_setattr", "move_mount", "open_tree", "openat", "openat2", "pivot_root", "prctl", "recvmsg", "seccomp",
    "setgroups", "sethostname", "setresgid", "setresuid", "symlinkat", "umount2", "unshare", "write",
)  # fmt: skip
POLL, RECVMSG = "7", "47"  # x86-64
ERRORS = ("EIO", "ENOSPC", "EMFILE", "ENOMEM", "EPERM")
CALLS = {"starter": STARTER, "init": INIT}
SAMPLE = ("mkdir", "openat", "rename", "sendmsg", "move_mount", "pivot_root", "setresuid")


@pytest.fixture
def container(dock: Engine) -> Container:
    dock.create_volume("data")
    spec = ContainerSpec(image="busybox", command=("sleep", "1000"), volumes=(VolumeMount("data", "/data"),))
    made = dock.create(spec)
    dock.start(made.id)  # the launcher is up, and a spare chain is ahead
    dock.stop(made.id, timeout_s=0)
    return made


def makers(dock: Engine) -> dict[str, int]:
    """The pids of the starter and the init that will serve the next request, once all is done that is done ahead."""
    found: dict[str, int] = {}
    with unix.connect(str(dock.paths.launcher_socket)) as asking:  # takes the one that is ahead, which must be seen to
        launcher = unix.peer(asking)
        assert eventually(lambda: [name_of(pid) for pid in children(launcher)].count("wharfie-spare") == 2)

    def ready() -> bool:
        spares = [pid for pid in children(launcher) if waits(pid)]
        pids = sorted(children(spares[0])) if len(spares) == 1 else []
        found.update(zip(("starter", "init"), pids, strict=False))
        return len(pids) == 2 and all(map(waits, pids))

    assert eventually(ready)
    return found


def waits(pid: int) -> bool:
    """Whether a process ahead of requests waits for one: proc_pid_syscall(5)."""
    try:
        call = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return name_of(pid) == "wharfie-spare" and call in (POLL, RECVMSG)


def assert_undone(dock: Engine, container: Container, was: Container) -> None:
    now = dock.inspect(container.id)
    assert (now.state, now.exit, now.started_at_ns) == (was.state, was.exit, was.started_at_ns)
    assert not groups(dock, container.id)
    assert not list(dock.paths.shims.iterdir())
    launcher = answering(str(dock.paths.launcher_socket))
    assert eventually(lambda: not shims(launcher)), "no process is left"


def tried(dock: Engine, container: Container, who: str, call: str, number: int, fault: str) -> tuple[bool, str]:
    """One start under a fault: whether it struck, and the error or ""."""
    was = dock.inspect(container.id)
    with injected(makers(dock)[who], call, number, fault) as injection:
        try:
            dock.start(container.id)
            said = ""
        except EngineError as failed:
            said = re.sub(r"\d+", "N", f"{type(failed).__name__}: {failed.message}")  # pids differ
    assert injection.struck or not said, "it fails by nothing else"
    if said:
        assert_undone(dock, container, was)
    elif (ended := dock.inspect(container.id).exit) is not None:
        # Behind its filter nothing can be injected: the tracer's way of doing it is a call that the filter kills for.
        assert ended.signal in ((signal.SIGSYS,) if fault != KILL else (signal.SIGKILL,))
        assert who == "init" or ended.code is None
    else:
        dock.stop(container.id, timeout_s=0)
    return injection.struck, said


@pytest.mark.parametrize("who", CALLS)
def test_a_step_that_fails(dock: Engine, container: Container, who: str) -> None:
    for call in CALLS[who]:
        number = first = 2 if (who, call) == ("init", "recvmsg") else 1  # it waits in the first one
        while True:
            fault = error(ERRORS[number % len(ERRORS)])
            struck, said = tried(dock, container, who, call, number, fault)
            if not struck:
                break
            assert tried(dock, container, who, call, number, fault) == (True, said), (call, number)
            number += amount(3 * number, 1)
        assert number > first, f"{call} is made"


@pytest.mark.parametrize("who", CALLS)
def test_a_step_at_which_one_is_killed(dock: Engine, container: Container, who: str) -> None:
    """As little as an error may it leave; and whoever looks next finds the old state or the new."""
    for call in [call for call in CALLS[who] if call in amount(SAMPLE, CALLS[who])]:
        number = first = 2 if (who, call) == ("init", "recvmsg") else 1  # it waits in the first one
        while tried(dock, container, who, call, number, KILL)[0]:
            number += amount(3 * number, 1)
        assert number > first, f"{call} is made"


def test_a_starter_that_is_killed_after_its_asker_leaves_a_run_whose_end_is_told(
    dock: Engine, container: Container
) -> None:
    """Nobody is left then who was told of the start, and its shim has nothing to supervise."""
    begun = dock.inspect(container.id).started_at_ns or 0
    starter = makers(dock)["starter"]
    with injected(starter, "sendto", 2, KILL) as injection:  # that the command has been executed
        assert ask_and_die(dock, container.id, "before the answer") == -signal.SIGKILL
        assert eventually(lambda: process.start_time(starter) is None)
    assert injection.struck
    assert eventually(lambda: (dock.inspect(container.id).started_at_ns or 0) > begun)
    assert dock.wait(container.id, timeout_s=20).code == (137 if tells_exits() else None)
    assert dock.start(container.id).state is State.RUNNING
