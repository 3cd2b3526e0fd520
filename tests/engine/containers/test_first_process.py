"""The terminal and the standard input of a container's own process, and the init that may stand before it."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import Container, ContainerSpec, Engine, ExecSpec, RestartPolicy, State, Terminal
from engine.cgroups import manager
from engine.errors import CommandNotExecutable, CommandNotFound, WrongState
from tests.conftest import children, eventually, name_of, stand_still
from tests.engine.killing import adopted, kill, launcher, shim

pytestmark = pytest.mark.one_engine


def start(dock: Engine, script: str, **more: object) -> Container:
    spec = ContainerSpec(image="busybox", command=("sh", "-c", script), **more)  # type: ignore[arg-type]
    return dock.start(dock.create(spec).id)


def shown(terminal: Terminal, until: bytes, timeout_s: float = 10) -> bytes:
    seen = b""
    end = time.monotonic() + timeout_s
    while until not in seen and not terminal.closed and time.monotonic() < end:
        seen += terminal.read()
    assert until in seen
    return seen


def test_it_has_a_terminal_that_many_people_can_sit_down_in_front_of(dock: Engine) -> None:
    container = start(
        dock,
        "test -t 0 && test -t 1 && test -t 2 && echo ok;"
        " read x < /dev/tty; /bin/busybox stty size; echo got $x; exit 6",
        tty=True,
    )
    first, second = dock.attach(container.id), dock.attach(container.id)
    assert b"ok" in shown(first, b"ok")
    shown(second, b"ok")
    first.resize(33, 77)
    first.write(b"word\r")
    for terminal in (first, second):
        shown(terminal, b"got word")
        assert terminal.read() == b""
        terminal.close()
    assert dock.wait(container.id, timeout_s=10).code == 6
    assert [line.text.rstrip("\r") for line in dock.logs(container.id)] == ["ok", "word", "33 77", "got word"]


def test_what_it_showed_before_is_there_for_who_comes_later_and_its_last_words_are_in_the_log(dock: Engine) -> None:
    container = start(
        dock, "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; read x; echo end; exit 3", tty=True
    )
    assert eventually(lambda: len(list(dock.logs(container.id))) == 3000)
    late = dock.attach(container.id)
    seen = shown(late, b"line 2999")
    assert seen.count(b"\n") == 3000
    late.write(b"\r")
    assert dock.wait(container.id, timeout_s=10).code == 3
    assert [line.text.strip() for line in dock.logs(container.id)][-1] == "end"
    late.close()


def test_its_terminal_outlives_who_serves_it_and_its_shim(dock: Engine) -> None:
    container = start(dock, "/bin/busybox stty -echo; while read x; do echo got $x; done", tty=True)

    def ask(word: str) -> None:
        terminal = dock.attach(container.id)
        terminal.write(f"{word}\r".encode())
        shown(terminal, f"got {word}".encode())
        terminal.close()

    def server() -> int:
        found = [pid for pid in children(shim(dock, container)) if name_of(pid).startswith("tty ")]
        return found[0] if found else 0

    ask("one")
    before = server()
    kill(before)
    assert eventually(lambda: server() not in (0, before))
    ask("two")
    first = shim(dock, container)
    kill(first)
    assert adopted(dock, container, first)
    ask("three")
    again, old = dock._records.shim(container.id), server()
    assert again
    assert not old, "who serves it is the same as before"
    for pid in _every("tty ", container):
        kill(pid)
    kill(again)
    assert eventually(lambda: dock._records.shim(container.id) not in (None, again))
    assert eventually(lambda: _every("tty ", container)), "a new one is there, whoever's child"
    ask("four")
    assert dock.inspect(container.id).state is State.RUNNING
    ended = dock.stop(container.id, timeout_s=0).exit
    assert ended is not None
    assert ended.code == 137
    text = "".join(line.text for line in dock.logs(container.id))
    assert all(f"got {word}" in text for word in ("one", "two", "three", "four"))


def test_a_log_that_takes_nothing_holds_up_its_program_and_nobody_in_front_of_it(dock: Engine) -> None:
    """Its shim stands still, so the pipe into the log fills; it is killed then, and no line is lost or doubled."""
    count = 40_000
    script = f"i=0; while [ $i -lt {count} ]; do echo $i {'x' * 50}; i=$((i+1)); done; exit 4"
    container = start(dock, script, tty=True)
    first = shim(dock, container)
    assert eventually(lambda: _every("tty ", container))
    stand_still(first)
    assert container.pid is not None
    group = manager.group(dock.instance, container.id)

    def waiting() -> bool:
        before = manager.usage(group).cpu_time_ns
        threading.Event().wait(0.3)
        return manager.usage(group).cpu_time_ns == before

    assert eventually(waiting, timeout_s=60), "the program waits in its write"
    terminal = dock.attach(container.id)
    shown(terminal, b"x" * 50)
    terminal.resize(33, 77)
    terminal.close()
    (server,) = _every("tty ", container)
    kill(first)
    assert adopted(dock, container, first)
    assert _every("tty ", container) == [server], "who serves it has lent the terminal in time"
    assert dock.wait(container.id, timeout_s=60).code == 4
    found = [line.text.split()[0] for line in dock.logs(container.id)]
    assert found == [str(number) for number in range(count)]


def _every(name: str, container: Container) -> list[int]:
    wanted = f"{name}{container.id}"[:15]
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if name_of(int(path.name)) == wanted]


def test_a_new_run_has_a_new_terminal(dock: Engine) -> None:
    container = start(dock, "echo run; read x; exit 1", tty=True, restart=RestartPolicy.parse("always"))
    for run in range(3):
        assert eventually(lambda n=run: dock.inspect(container.id).restarts == n and dock.inspect(container.id).pid)
        terminal = dock.attach(container.id)
        shown(terminal, b"run")
        terminal.write(b"\r")
        while not terminal.closed:
            terminal.read()
        terminal.close()
    dock.remove(container.id, force=True)


def test_the_first_terminal_is_not_hung_up_alone(dock: Engine) -> None:
    container = start(dock, "read x", tty=True)
    (info,) = dock.terminals(container.id)
    with pytest.raises(WrongState, match="first process") as caught:
        dock.end_terminal(container.id, info.session)
    assert "stop" in caught.value.hint
    assert dock.inspect(container.id).state is State.RUNNING


def test_input_that_stays_open_is_for_many_and_input_once_ends_with_the_first(dock: Engine) -> None:
    many = start(dock, "while read x; do echo got $x; done; echo end", stdin=True)
    for word in (b"one\n", b"two\n"):
        descriptor = dock.input(many.id)
        os.write(descriptor, word)
        os.close(descriptor)
    assert eventually(lambda: [line.text for line in dock.logs(many.id)] == ["got one", "got two"])
    once = start(dock, "while read x; do echo got $x; done; echo end; exit 4", stdin=True, stdin_once=True)
    with dock.exec(once.id, ExecSpec(("sleep", "100"))):  # which must not keep its input open
        descriptor = dock.input(once.id)
        with pytest.raises(WrongState, match="nobody can type"):
            dock.input(once.id)
        os.write(descriptor, b"one\n")
        os.close(descriptor)
        assert dock.wait(once.id, timeout_s=10).code == 4
    assert [line.text for line in dock.logs(once.id)] == ["got one", "end"]
    none = start(dock, "read x; echo none; sleep 100")
    with pytest.raises(WrongState, match="-i"):
        dock.input(none.id)
    assert eventually(lambda: [line.text for line in dock.logs(none.id)] == ["none"])


def test_input_outlives_the_shim(dock: Engine) -> None:
    container = start(dock, "while read x; do echo got $x; done; echo end", stdin=True)
    first = shim(dock, container)
    kill(first)
    assert adopted(dock, container, first)
    descriptor = dock.input(container.id)
    os.write(descriptor, b"after\n")
    os.close(descriptor)
    assert eventually(lambda: [line.text for line in dock.logs(container.id)] == ["got after"])


ORPHANS = """
i=0; while [ $i -lt 20 ]; do (sleep 0.05 &) ; i=$((i+1)); done; sleep 1
for p in /proc/[0-9]*; do read a b c d < $p/stat && [ $c = Z ] && echo zombie; done; echo looked; exit 5
"""


def test_an_init_reaps_passes_signals_on_and_ends_as_its_child_does(dock: Engine) -> None:
    container = start(dock, ORPHANS, init=True)
    with dock.exec(container.id, ExecSpec(("cat", "/proc/1/cmdline"))) as execution:
        code, out, _ = execution.output(timeout_s=10)
        assert code == 127 or out.startswith(b"tini\0--\0sh\0-c\0")
    assert dock.wait(container.id, timeout_s=20).code == 5
    assert [line.text for line in dock.logs(container.id)] == ["looked"], "no zombie is left"
    signalled = start(dock, "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done", init=True)
    assert eventually(lambda: [line.text for line in dock.logs(signalled.id)] == ["ready"])
    ended = dock.stop(signalled.id).exit
    assert ended is not None
    assert ended.code == 9
    missing = dock.create(ContainerSpec(image="busybox", command=("no-such-program",), init=True))
    with pytest.raises(CommandNotFound):
        dock.start(missing.id)
    for init in (True, False):
        text = dock.create(ContainerSpec(image="busybox", command=("/etc/passwd",), init=init))
        with pytest.raises(CommandNotExecutable):
            dock.start(text.id)


def test_the_inits_program_cannot_be_written_from_inside(dock: Engine) -> None:
    container = start(dock, "sleep 100", init=True)
    with dock.exec(container.id, ExecSpec(("sh", "-c", "echo x > /proc/1/exe"), user="0")) as execution:
        code, _, error = execution.output(timeout_s=10)
    assert code != 0
    assert re.search(rb"denied|busy|Read-only|No such", error), error
    assert answering(str(dock.paths.launcher_socket))


def test_its_terminal_outlives_shim_keeper_and_launcher_together(dock: Engine) -> None:
    container = start(dock, "while read x; do echo got $x; done", tty=True)
    first, served = shim(dock, container), launcher(dock)
    (keeper,) = [pid for pid in children(served) if name_of(pid) == "wharfie-keeper"]
    assert eventually(lambda: _every("tty ", container)), "who serves it is there, and is left"
    for pid in (served, keeper, first):
        kill(pid)
    terminal = dock.attach(container.id)
    terminal.write(b"alone\r")
    shown(terminal, b"got alone")
    dock.take_over()
    assert adopted(dock, container, first)
    terminal.write(b"again\r")
    shown(terminal, b"got again")
    terminal.close()
    assert eventually(lambda: "got again" in "".join(line.text for line in dock.logs(container.id)))
    text = "".join(line.text for line in dock.logs(container.id))
    assert "got alone" in text
    dock.remove(container.id, force=True)


def test_commands_run_in_one_whose_log_was_rotated(dock: Engine) -> None:
    """The shim's log is another descriptor by then, and the number of the first may be a caller's."""
    loop = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; sleep 100"
    container = start(dock, loop, log_segment_bytes=65_536)
    assert eventually(lambda: any(line.text == "line 19999" for line in dock.logs(container.id)), timeout_s=30)
    for _ in range(20):
        with dock.exec(container.id, ExecSpec(("echo", "in"))) as execution:
            assert execution.output(timeout_s=10)[:2] == (0, b"in\n")
    dock.remove(container.id, force=True)
