"""`exec` and `attach`: this terminal, or these pipes, in front of a command in a container."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from console.terminal import complain, progress, show
from engine import Container, Engine, ExecSpec, Execution, Terminal
from engine.errors import EngineError, InvalidRequest, NotFound, WrongState

DETACH = b"\x10\x11"  # Ctrl-P Ctrl-Q, as everywhere


def execute(engine: Engine, options: Namespace) -> int:
    """Run a further command in a running container, and end as it ends."""
    if options.detach and (options.tty or options.interactive):
        raise InvalidRequest("-d goes with neither -t nor -i", hint="nobody would be in front of it: leave one out")
    if options.tty:
        demand_terminal("-t")
    columns, rows = shutil.get_terminal_size()
    command = tuple(options.command) or (("sh",) if options.toolbox else ())
    spec = ExecSpec(
        command, env=tuple(options.env), user=options.user, workdir=options.workdir, privileged=options.privileged,
        toolbox=options.toolbox, stdin=options.interactive, output=not options.detach, rows=rows, columns=columns,
    )  # fmt: skip
    if options.tty:
        return _known(sit(engine.terminal(options.container, spec)))
    with engine.exec(options.container, spec) as execution:
        return 0 if options.detach else _pipe(execution, give_input=options.interactive)


def attach(engine: Engine, options: Namespace) -> int:
    """Sit down in front of a container's first process, or of a further terminal."""
    container = engine.inspect(options.container)
    open_now = [] if options.session or container.spec.tty else engine.terminals(container.id)
    if not options.session and not container.spec.tty and not open_now:
        if not container.state.alive:
            raise WrongState(f"container {container.name!r} does not run", hint="start it first")
        return attend(engine, container, tail=0)
    demand_terminal("attach")
    session = options.session
    if not session and not container.spec.tty:
        if len(open_now) != 1:
            names = ", ".join(f"{each.session} ({' '.join(each.command)})" for each in open_now)
            told = f"container {container.name!r} has {len(open_now)} open terminals"
            raise NotFound(told, hint=f"say which: {names}")
        session = open_now[0].session
    return sit_before(engine, container, session)


def sit_before(engine: Engine, container: Container, session: str = "") -> int:
    """Sit down; of the first process's terminal the exit code is the container's."""
    terminal = engine.attach(container.id, session)
    code = sit(terminal)
    if code is None and terminal.info.session == container.id[: len(terminal.info.session)]:
        code = engine.wait(container.id).code
    return _known(code)


def _known(code: int | None) -> int:
    if code is None:
        progress("\nwharfie: the terminal was taken away, and how it ended is not known")
        return EngineError.exit_code
    return code


def attend(engine: Engine, container: Container, tail: int | None = None) -> int:
    """Print a running container's output, from its last ``tail`` lines on (None: the first), until it ends.

    The first SIGINT is passed on as a terminal would, the first SIGTERM stops the container; the next of either kills.
    """
    helpers: list[threading.Thread] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        # In a thread: this runs between two instructions of the loop below, which may hold a lock.
        helpers.append(threading.Thread(target=end, args=(number, bool(helpers))))
        helpers[-1].start()

    def end(number: int, again: bool) -> None:
        if not again:
            progress("stopping; Ctrl-C again to kill")
        try:
            if again:
                engine.kill(container.id, "KILL")
            elif number == signal.SIGINT:
                engine.kill(container.id, number)
            else:
                engine.stop(container.id)
        except WrongState:
            return  # it has ended meanwhile, which was the wish
        except EngineError as error:
            complain(error)

    if container.spec.stdin or container.spec.stdin_once:
        threading.Thread(target=feed, args=(engine.input(container.id),), daemon=True).start()
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for line in engine.logs(container.id, follow=True, tail=tail):
            show(line, flush=True)
        record = engine.wait(container.id)
        for helper in helpers:
            helper.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if record.code is None:
        progress(f"wharfie: how it ended is not known: {record.reason or 'nobody saw it'}")
        return EngineError.exit_code
    code: int = record.code
    return code


def feed(descriptor: int) -> None:
    """Copy standard input into a container's, to its end."""
    try:
        while data := os.read(0, 65536):
            _write_all(descriptor, data)
    except OSError:  # it has ended, or our own input is none
        return
    finally:
        os.close(descriptor)


def demand_terminal(what: str) -> None:
    """InvalidRequest unless somebody sits here."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidRequest(f"{what} needs a terminal, and this is none", hint="leave -t out, and use -i for a pipe")


def sit(terminal: Terminal) -> int | None:
    """Type and watch until it ends, or until Ctrl-P Ctrl-Q: then it goes on without us.

    Its exit code; None when that is not known here.
    """
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
    else:  # beside: the command may write before it reads
        descriptor, execution.stdin = execution.stdin, -1
        threading.Thread(target=feed, args=(descriptor,), daemon=True).start()
    outputs = {execution.stdout: 1, execution.stderr: 2}
    while outputs:
        ready, _, _ = select.select(outputs, (), ())
        for descriptor in ready:
            if data := os.read(descriptor, 65536):
                _write_all(outputs[descriptor], data)
            else:
                del outputs[descriptor]
    code: int = execution.wait()
    return code


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
