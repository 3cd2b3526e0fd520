"""`exec` and `attach`: this terminal, or these pipes, in front of a command in a container."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from console.terminal import progress
from engine import Engine, ExecSpec, Execution, Terminal
from engine.errors import EngineError, InvalidRequest, NotFound

DETACH = b"\x10\x11"  # Ctrl-P Ctrl-Q, as everywhere


def execute(engine: Engine, options: Namespace) -> int:
    """Run a further command in a running container, and end as it ends."""
    if options.detach and (options.tty or options.interactive):
        raise InvalidRequest("-d goes with neither -t nor -i", hint="nobody would be in front of it: leave one out")
    if options.tty:
        _demand_terminal("-t")
    columns, rows = shutil.get_terminal_size()
    spec = ExecSpec(
        tuple(options.command), env=tuple(options.env), user=options.user, workdir=options.workdir,
        stdin=options.interactive, output=not options.detach, rows=rows, columns=columns,
    )  # fmt: skip
    if options.tty:
        return sit(engine.terminal(options.container, spec))
    with engine.exec(options.container, spec) as execution:
        return 0 if options.detach else _pipe(execution, give_input=options.interactive)


def attach(engine: Engine, options: Namespace) -> int:
    """Come back to an open terminal of a container."""
    _demand_terminal("attach")
    session = options.session
    if not session:
        found = engine.terminals(options.container)
        if len(found) != 1:
            names = ", ".join(f"{each.session} ({' '.join(each.command)})" for each in found)
            raise NotFound(
                f"container {options.container!r} has {len(found)} open terminals",
                hint=f"say which: {names}" if found else "open one with `exec -it`",
            )
        session = found[0].session
    return sit(engine.attach(options.container, session))


def _demand_terminal(what: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidRequest(f"{what} needs a terminal, and this is none", hint="leave -t out, and use -i for a pipe")


def sit(terminal: Terminal) -> int:
    """Type and watch until it ends, or until Ctrl-P Ctrl-Q: then it goes on without us."""
    held = b""  # of the keys that leave, the first
    with _raw(), _resizes() as resized:
        while not terminal.closed:
            ready, _, _ = select.select([terminal, sys.stdin, resized], (), ())
            if resized in ready:
                os.read(resized, 64)
                columns, rows = os.get_terminal_size()
                terminal.resize(rows, columns)
            if terminal in ready:
                _write_all(sys.stdout.fileno(), terminal.take())
            if sys.stdin in ready:
                typed = held + os.read(sys.stdin.fileno(), 4096)
                if DETACH in typed or not typed:
                    break
                held = DETACH[:1] if typed.endswith(DETACH[:1]) else b""
                terminal.write(typed[: len(typed) - len(held)])
    terminal.close()
    if not terminal.closed:
        progress(f"\nleft; come back with `attach --session {terminal.info.session}`")
        return 0
    code: int | None = terminal.exit_code
    if code is None:
        progress("\nwharfie: the terminal was taken away, and how it ended is not known")
        return EngineError.exit_code
    return code


@contextmanager
def _raw() -> Iterator[None]:
    """Every key goes to the program, Ctrl-C too."""
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextmanager
def _resizes() -> Iterator[int]:
    """A descriptor that is readable at the beginning and whenever this terminal's size has changed."""
    told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def follow(_number: int, _frame: FrameType | None) -> None:
        with suppress(BlockingIOError):  # it has enough to wake up for
            os.write(tell, b"w")

    before = signal.signal(signal.SIGWINCH, follow)
    os.write(tell, b"w")
    try:
        yield told
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(told)
        os.close(tell)


def _pipe(execution: Execution, *, give_input: bool) -> int:
    """Copy between our three streams and the command's until it closes its own; its exit code."""
    if not give_input:
        execution.close_stdin()
    outputs = {execution.stdout: 1, execution.stderr: 2}
    while outputs:
        ready, _, _ = select.select([*outputs, *([0] if execution.stdin >= 0 else [])], (), ())
        for descriptor in ready:
            data = os.read(descriptor, 65536)
            if descriptor == 0:
                try:
                    _write_all(execution.stdin, data)
                except BrokenPipeError:  # it reads no more
                    data = b""
                if not data:
                    execution.close_stdin()
            elif data:
                _write_all(outputs[descriptor], data)
            else:
                del outputs[descriptor]
    code: int = execution.wait()
    return code


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
