"""Further commands in running containers, and their terminals."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import (
    Caller,
    Container,
    ContainerSpec,
    Engine,
    ExecSpec,
    Namespaces,
    Role,
    State,
    Terminal,
    VolumeMount,
    policy,
)
from engine.errors import (
    Busy,
    CommandNotExecutable,
    CommandNotFound,
    EngineError,
    InvalidRequest,
    NotFound,
    Unavailable,
    WrongState,
)
from engine.linux import unix
from engine.shim import protocol
from engine.shim import terminal as server
from tests.conftest import eventually, name_of
from tests.engine.conftest import groups
from tests.engine.killing import kill, kill_keepers, shim, tells_exits

pytestmark = pytest.mark.one_engine

PTRACE_SEIZE, WALL = 0x4206, 0x40000000


@pytest.fixture
def up(dock: Engine) -> Iterator[Container]:
    """A running container."""
    dock.create_volume("data")
    spec = ContainerSpec(
        image="busybox", command=("sleep", "1000"), env=("FROM=container",), workdir="/opt",
        volumes=(VolumeMount("data", "/data"),),
    )  # fmt: skip
    container = dock.start(dock.create(spec).id)
    yield container
    assert dock.inspect(container.id).state is State.RUNNING, "a session ends nothing but itself"


def sh(engine: Engine, container: Container, script: str, data: bytes = b"", **options: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a script."""
    with engine.exec(container.id, ExecSpec(("sh", "-c", script), **options)) as execution:  # type: ignore[arg-type]
        code, out, err = execution.output(data, timeout_s=20)
    return code, out.decode(), err.decode()


def shown(terminal: Terminal, until: bytes, timeout_s: float = 10) -> bytes:
    """What a terminal shows, up to and with ``until``."""
    seen = bytearray()
    deadline = time.monotonic() + timeout_s
    while until not in seen[-(2**17) :]:
        assert select.select([terminal], (), (), max(0.0, deadline - time.monotonic()))[0], seen[-1000:]
        data = terminal.read()
        assert data, seen[-1000:]
        seen += data
    return bytes(seen)


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_exit_code_is_the_commands(dock: Engine, up: Container, code: int) -> None:
    assert sh(dock, up, f"exit {code}")[0] == code


def test_a_signal_is_128_and_its_number(dock: Engine, up: Container) -> None:
    assert sh(dock, up, "kill -9 $$")[0] == 137


def test_streams_are_kept_apart_and_input_ends(dock: Engine, up: Container) -> None:
    assert sh(dock, up, "cat; echo err >&2", b"in\n") == (0, "in\n", "err\n")
    assert sh(dock, up, "cat; echo end") == (0, "end\n", "")
    assert sh(dock, up, "cat; echo end", stdin=False) == (0, "end\n", "")


def test_much_goes_through_both_ways(dock: Engine, up: Container) -> None:
    data = os.urandom(3 * 2**20)
    with dock.exec(up.id, ExecSpec(("cat",))) as execution:
        assert execution.output(data, timeout_s=30) == (0, data, b"")


def test_it_is_in_the_container_as_created(dock: Engine, up: Container) -> None:
    assert (
        sh(dock, up, "pwd; echo $FROM $HOME; id -u; cat /proc/1/cmdline | head -c 5")[1]
        == "/opt\ncontainer /root\n0\nsleep"
    )
    assert sh(dock, up, "touch /data/x /new && ls /data")[1] == "x\n"
    assert sh(dock, up, "ls /new")[0] == 0
    assert sh(dock, up, "echo $$; ps -o pid | grep -c .")[1].split()[0] != "1"


def test_user_directory_and_environment_can_be_others(dock: Engine, up: Container) -> None:
    spec = {"user": "crew:deck", "workdir": "/tmp", "env": ("FROM=exec", "B=2")}
    assert sh(dock, up, "id -u; id -g; id -G; pwd; echo $FROM $B $HOME", **spec)[1].split("\n")[:-1] == [
        "1000", "2000", "2000", "/tmp", "exec 2 /home/crew",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        ({"command": ("no-such-program",)}, CommandNotFound, 127),
        ({"command": ("/opt/text",)}, CommandNotExecutable, 126),
        ({"command": ("/opt/runtime",)}, CommandNotExecutable, 126),
        ({"command": ("true",), "user": "nobody-here"}, InvalidRequest, 125),
        ({"command": ("true",), "workdir": "/opt/text"}, InvalidRequest, 125),
        ({"command": ("true",), "workdir": "../x"}, InvalidRequest, 125),
        ({"command": ()}, InvalidRequest, 125),
        ({"command": ("a\0b",)}, InvalidRequest, 125),
        ({"command": ("true",), "env": ("=x",)}, InvalidRequest, 125),
        ({"command": ("true",), "rows": 0}, InvalidRequest, 125),
    ],
)
@pytest.mark.parametrize("tty", [False, True])
def test_what_cannot_run_says_why(
    dock: Engine, up: Container, options: dict[str, object], kind: type[EngineError], code: int, tty: bool
) -> None:
    with pytest.raises(kind) as caught:
        (dock.terminal if tty else dock.exec)(up.id, ExecSpec(**options))  # type: ignore[arg-type]
    assert caught.value.exit_code == code
    assert caught.value.hint
    assert dock.terminals(up.id) == []


def test_only_a_running_container_takes_one(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("true",)))
    for act in (dock.exec, dock.terminal):
        with pytest.raises(WrongState, match="created"):
            act(container.id, ExecSpec(("true",)))
    dock.start(container.id)
    dock.wait(container.id, timeout_s=10)
    with pytest.raises(WrongState, match="exited"):
        dock.exec(container.id, ExecSpec(("true",)))
    with pytest.raises(NotFound):
        dock.attach(container.id, "0" * 12)


def test_it_ends_with_its_container(dock: Engine) -> None:
    container = dock.start(dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
    with dock.exec(container.id, ExecSpec(("sleep", "1000"), stdin=False)) as execution:
        terminal = dock.terminal(container.id, ExecSpec(("sh",)))
        dock.stop(container.id, timeout_s=0)
        assert execution.wait(10) == 137
        while terminal.read():
            continue
        assert terminal.exit_code == 137
        terminal.close()
    assert eventually(lambda: not list(dock.paths.shims.iterdir()))
    assert not groups(dock, container.id)


def test_it_counts_to_the_containers_groups(dock: Engine, up: Container) -> None:
    with dock.exec(up.id, ExecSpec(("sleep", "1000"), stdin=False)) as execution:
        for group in groups(dock, up.id):
            assert str(execution.pid) in (group / "cgroup.procs").read_text().split()
        assert Path(f"/proc/{execution.pid}/oom_score_adj").read_text() == "0\n"
        os.kill(execution.pid, signal.SIGKILL)
        assert execution.wait(10) == 137


def test_it_outlives_its_shim_and_its_code_is_known_where_the_kernel_tells(dock: Engine, up: Container) -> None:
    with dock.exec(up.id, ExecSpec(("sh", "-c", "echo on; read line; exit 7"))) as execution:
        assert os.read(execution.stdout, 3) == b"on\n"
        with pytest.raises(Unavailable, match="has not ended"):
            execution.wait(0.05)
        kill(shim(dock, up))
        with pytest.raises(Unavailable, match="has not ended"):
            execution.wait(0.05)
        os.write(execution.stdin, b"go\n")
        if tells_exits():
            assert execution.wait(10) == 7
        else:
            with pytest.raises(Unavailable, match="nobody saw"):
                execution.wait(10)


def test_its_code_is_known_when_it_ends_with_a_container_that_has_the_hosts_processes(dock: Engine) -> None:
    """There the end of the first process ends nobody else: the shim does."""
    spec = ContainerSpec(image="busybox", command=("sleep", "1000"), namespaces=Namespaces(pid="host"))
    container = dock.start(dock.create(spec).id)
    with dock.exec(container.id, ExecSpec(("sleep", "1000"))) as execution:
        dock.kill(container.id)
        assert execution.wait(10) == 137


def test_who_traces_a_command_holds_up_nobody(dock: Engine, up: Container) -> None:
    """A process that ended is its tracer's until that has asked; ptrace(2)."""
    with dock.exec(up.id, ExecSpec(("sleep", "1000"))) as execution:
        assert ctypes.CDLL(None).ptrace(PTRACE_SEIZE, execution.pid, None, None) == 0
        try:
            os.kill(execution.pid, signal.SIGKILL)
            assert sh(dock, up, "echo well") == (0, "well\n", "")
            with pytest.raises(Unavailable, match="has not ended"):
                execution.wait(0.5)
        finally:
            os.waitpid(execution.pid, WALL)
        assert execution.wait(10) == 137


def test_a_name_that_is_no_command_may_be_long(dock: Engine, up: Container) -> None:
    with pytest.raises(CommandNotFound) as caught:
        dock.exec(up.id, ExecSpec(("x" * 100_000,)))
    assert len(caught.value.message) <= 1024
    assert sh(dock, up, "echo well")[1] == "well\n"


def test_another_command_holds_none_of_its_pipes(dock: Engine, up: Container) -> None:
    """Born while it was on its way or ran, with and without a terminal: each ends its input and output alone."""
    with dock.exec(up.id, ExecSpec(("cat",))) as execution:
        seat = dock.terminal(up.id, ExecSpec(("sleep", "1000")))
        with dock.exec(up.id, ExecSpec(("sleep", "1000"))):
            assert execution.output(b"all of it", timeout_s=10) == (0, b"all of it", b"")
        seat.close()


def test_who_leaves_ends_nothing(dock: Engine, up: Container) -> None:
    with dock.exec(up.id, ExecSpec(("sh", "-c", "sleep 0.3; touch /data/done"), stdin=False)):
        pass
    assert eventually(lambda: sh(dock, up, "ls /data")[1] == "done\n")


def test_a_terminal_is_one(dock: Engine, up: Container) -> None:
    terminal = dock.terminal(
        up.id, ExecSpec(("sh", "-c", "echo $TERM; /bin/busybox stty size; /bin/busybox tty; cat"), rows=33, columns=99)
    )
    try:
        seen = shown(terminal, b"/dev/pts/0")
        assert b"xterm-256color\r\n33 99\r\n" in seen
        terminal.write(b"hello\n")
        assert shown(terminal, b"hello\r\nhello\r\n")
        terminal.write(b"\x04")  # the end of input, told by the line discipline
        while terminal.read():
            continue
        assert terminal.exit_code == 0
    finally:
        terminal.close()


def test_a_terminal_is_come_back_to_and_shared(dock: Engine, up: Container) -> None:
    first = dock.terminal(up.id, ExecSpec(("sh",)))
    first.write(b"x=41; echo be''fore\n")
    shown(first, b"before\r\n")
    first.close()  # the page is reloaded
    (info,) = dock.terminals(up.id)
    assert (info.session, info.command) == (first.info.session, ("sh",))
    with Engine(dock.config) as other:  # another process
        second, third = other.attach(up.id, info.session), dock.attach(up.id, info.session)
        assert b"before\r\n" in shown(second, b"before\r\n")
        second.write(b"echo $((x+1))\n")
        for each in (second, third):
            shown(each, b"42\r\n")
        third.write(b"exit 3\n")
        for each in (second, third):
            while each.read():
                continue
            assert each.exit_code == 3
            each.close()
    assert eventually(lambda: dock.terminals(up.id) == [])


def test_its_size_follows_and_every_storm_ends_right(dock: Engine, up: Container) -> None:
    script = "trap 'echo winch' WINCH; echo heeds; while :; do sleep 0.01; done"
    terminal = dock.terminal(up.id, ExecSpec(("sh", "-c", script)))
    try:
        shown(terminal, b"heeds")
        for number in range(1, 300):
            terminal.resize(number % 60, number % 200)  # 0 is none
        terminal.resize(50, 120)
        shown(terminal, b"winch")
        pts = f"/proc/{terminal.info.pid}/fd/0"

        def size() -> tuple[int, int]:
            with open(pts, "rb", buffering=0) as file:
                return os.get_terminal_size(file.fileno()).lines, os.get_terminal_size(file.fileno()).columns

        assert eventually(lambda: size() == (50, 120))
    finally:
        terminal.close()
        os.kill(terminal.info.pid, signal.SIGKILL)


def test_who_does_not_read_holds_up_nobody(dock: Engine, up: Container) -> None:
    asleep = dock.terminal(up.id, ExecSpec(("sh", "-c", f"yes {'y' * 98} | head -n 90000; echo done; cat")))
    awake = dock.attach(up.id, asleep.info.session)
    try:
        deadline = time.monotonic() + 60
        seen = b""
        while b"done" not in seen:  # on a busy host it may fall behind too, and comes back as a page does
            assert time.monotonic() < deadline
            if awake.closed:
                awake.close()
                awake = dock.attach(up.id, asleep.info.session)
            seen = seen[-4:] + awake.read()
        late = dock.attach(up.id, asleep.info.session)
        seen = shown(late, b"done")
        assert server.SCROLLBACK_BYTES <= len(seen) <= server.SCROLLBACK_BYTES + 2**17
        late.close()
        total = 0
        while data := asleep.read():
            total += len(data)
        assert asleep.exit_code is None, "it was dropped"
        assert total <= server.BEHIND_BYTES + 2**22
        serving = Path(f"/proc/{asleep.info.pid}/stat").read_text().rpartition(")")[2].split()[1]
        status = Path(f"/proc/{serving}/status").read_text()
        assert int(status.split("VmHWM:")[1].split()[0]) < 40_000, "kB: bounded, whatever the program writes"
    finally:
        for each in (asleep, awake):
            each.close()
        os.kill(asleep.info.pid, signal.SIGKILL)


def test_a_terminal_whose_asker_went_before_the_answer_is_there_for_the_next(
    dock: Engine, up: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    def goes(_connection: object) -> None:
        raise EOFError

    with monkeypatch.context() as patched:
        patched.setattr(protocol, "receive", goes)
        with pytest.raises(Unavailable):
            dock.terminal(up.id, ExecSpec(("sh",)))
    assert eventually(lambda: len(dock.terminals(up.id)) == 1)
    terminal = dock.attach(up.id, dock.terminals(up.id)[0].session)
    terminal.write(b"exit 3\r")
    while terminal.read():
        continue
    assert terminal.exit_code == 3
    terminal.close()


def test_who_breaks_off_or_talks_nonsense_does_the_shim_no_harm(dock: Engine, up: Container) -> None:
    before = dock._records.shim(up.id)
    for message in ({"op": "signal"}, {"op": "signal", "signal": "x"}, {"op": "exec"}, {"op": "toolbox"}, ["op"], 7):
        with unix.connect(str(dock.paths.shim_socket(up.id))) as client:
            protocol.send(client, message)  # type: ignore[arg-type]
    dock.pause(up.id)
    with unix.connect(str(dock.paths.shim_socket(up.id))) as client:  # nobody is there for what it is told
        protocol.send(client, {"op": "exec", "id": up.id})
    dock.unpause(up.id)
    with dock.exec(up.id, ExecSpec(("echo", "well"))) as execution:
        assert execution.output(timeout_s=20)[1] == b"well\n"
    assert dock._records.shim(up.id) == before


def test_nonsense_from_a_client_is_its_own_loss(dock: Engine, up: Container) -> None:
    terminal = dock.terminal(up.id, ExecSpec(("cat",)))
    strange = dock.attach(up.id, terminal.info.session)
    strange._connection.sendall(server.HEADER.pack(9, 3) + b"abc" + server.HEADER.pack(server.RESIZE, 1) + b"x")
    strange._connection.sendall(server.HEADER.pack(0, 2**31))
    assert strange.read() == b""
    strange.close()
    terminal.write(b"still\n")
    shown(terminal, b"still\r\nstill\r\n")
    terminal.write(b"\x04")
    while terminal.read():
        continue
    terminal.close()


def test_the_socket_of_a_killed_session_goes_with_the_container(dock: Engine) -> None:
    container = dock.start(dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
    dock.terminal(container.id, ExecSpec(("cat",))).close()
    shim = dock._records.shim(container.id)
    children = map(int, Path(f"/proc/{shim}/task/{shim}/children").read_text().split())
    (session,) = [pid for pid in children if name_of(pid).startswith("exec ")]
    os.kill(session, signal.SIGKILL)
    assert eventually(lambda: dock.terminals(container.id) == [])
    assert len(list(dock.paths.shims.iterdir())) == 4
    dock.stop(container.id, timeout_s=0)
    assert eventually(lambda: not list(dock.paths.shims.iterdir()))


def test_many_come_and_go_and_leave_nothing(dock: Engine, up: Container) -> None:
    shim = dock._records.shim(up.id)
    descriptors = len(os.listdir(f"/proc/{shim}/fd"))
    for _ in range(30):
        assert sh(dock, up, "true")[0] == 0
    terminal = dock.terminal(up.id, ExecSpec(("cat",)))
    for _ in range(30):
        dock.attach(up.id, terminal.info.session).close()
    terminal.write(b"\x04")
    while terminal.read():
        continue
    terminal.close()
    assert eventually(lambda: not Path(f"/proc/{shim}/task/{shim}/children").read_text().split()[1:])
    left = len(os.listdir(f"/proc/{shim}/fd"))
    assert eventually(lambda: len(os.listdir(f"/proc/{shim}/fd")) < descriptors + 3), (
        f"{descriptors} before, {left} after"
    )
    record = json.loads(dock.paths.run_record(up.id).read_bytes())
    assert record["shim_pid"] == shim


def test_without_its_shim_a_container_says_so(dock: Engine) -> None:
    container = dock.start(dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
    shim = dock._records.shim(container.id)
    assert shim
    kill_keepers(dock)
    kill(shim)
    with pytest.raises(Unavailable) as caught:
        dock.exec(container.id, ExecSpec(("true",)))
    assert "replaced" in caught.value.hint
    dock.remove(container.id, force=True)


def test_one_person_and_all_together_have_so_many_terminals(
    dock: Engine, up: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "MAX_TERMINALS_OF_ONE", 2)
    monkeypatch.setattr(policy, "MAX_TERMINALS", 4)
    mate, other, third = (Caller(Role.MEMBER, name) for name in ("mate", "other", "third"))

    def opened(who: Caller) -> Terminal:
        terminal = dock.terminal(up.id, ExecSpec(("cat",)), caller=who)
        terminal.close()
        return terminal

    first = opened(mate)
    opened(mate)
    with pytest.raises(Busy, match="2 terminals of yours are open") as refused:
        opened(mate)
    assert up.name in refused.value.hint, "it says where"
    opened(other)
    opened(other)
    with pytest.raises(Busy, match="4 terminals are open on this host"):
        opened(third)
    dock.terminal(up.id, ExecSpec(("cat",))).close()  # root of this host has any number
    for info in dock.terminals(up.id)[1:]:
        dock.end_terminal(up.id, info.session)
    assert [info.by for info in dock.terminals(up.id) if info.session == first.info.session] == ["mate"]
    assert eventually(lambda: len(dock.terminals(up.id)) == 1)
    opened(mate)
