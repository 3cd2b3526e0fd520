"""One start, made by a child of the shim that ends with it: what a start dirties is not the shim's for life.

    shim ── fork ──▶ starter ── clone3(CLONE_PARENT) ──▶ init, which is a child of the shim

Init is born before the request is known, and prepares what every container has, so that little is left to do while
somebody waits. Nothing of a container is attached to the host's mount tree: its mounts live in its own namespace and
end with it. What is left to undo are the control groups, three files and a socket.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
import time
from contextlib import ExitStack
from typing import Any

from engine.cgroups import manager
from engine.errors import EngineError, InvalidRequest, KernelError
from engine.linux import devices, files, process, unix
from engine.shim import birth, handover, init, protocol, restarts, rootfs, stdio
from engine.shim.custody import Deposit

LOOK_S = 0.2  # how often one that waits looks whether it is still wanted
ONCE = "once"  # whoever sits down first takes the container's input along
SHIM_OOM_SCORE = -998
EXIT_BYTES = 16384  # how the last runs ended, with what each was told
SHIM_KILLED = "its shim was killed while it started"


def start(
    request: dict[str, Any], ready: birth.Init | None, shim: socket.socket, again: dict[str, Any] | None = None
) -> dict[str, Any]:
    """All of it or nothing: what was made is undone in reverse. Hands the container over to ``shim``.

    With ``again`` the shim has the container already, and its log, records and control socket; that goes into the run
    record. Returns the answer for whoever asked. Raises EngineError or OSError.
    """
    undo: list[Any] = []
    try:
        listener = None
        if again is None:
            # First: were this process killed, its socket tells that there is something to clear.
            listener = protocol.listen(request["socket"])
            undo.append(lambda: os.unlink(request["socket"]))
        group = manager.group(request["instance"], request["id"])
        undo.append(group.remove)
        nodes = [_node(device["source"]) for device in request["devices"]]
        if manager.births():
            _create(group, request, nodes)
        child = birth.chosen(request, group, ready)
        undo.append(child.end)
        try:
            facts = _set_up(request, child, group, nodes, undo, shim, listener, again)
        except OSError as error:
            raise (child.last_words(error) or error) from None
        try:
            shim.send(handover.EXECUTED)
        except ConnectionError:  # it was killed just now; what runs is on record and in custody, and gets a new one
            print(f"wharfie shim: {request['id']}: {SHIM_KILLED}", file=sys.stderr, flush=True)
        return {"pid": child.pid, "started_at_ns": facts["started_at_ns"]}
    except BaseException:
        for step in reversed(undo):
            try:
                step()
            except OSError as failed:  # the others are tried all the same
                print(f"wharfie shim: undoing a start: {failed}", file=sys.stderr, flush=True)
        raise


def start_again(path: str, shim: socket.socket, again: dict[str, Any]) -> None:
    """The start of a container that its shim restarts; ``path`` holds the request of the first time."""
    try:
        with open(path, "rb") as file:
            request = json.load(file)
        with ExitStack() as held:
            # The first against a new shim, should ours be killed meanwhile: it is not to begin before this start has
            # come to nothing. The second against copies of its files. An older engine sent neither.
            for name in ("lock", "root_lock"):
                if name in request and not _took(request[name], request["restart"], held):
                    return
            start(request, None, shim, again)
    except EngineError as error:
        handover.refuse(shim, error)
    except OSError as error:
        handover.refuse(shim, KernelError.from_os(error, "start"))


def _took(lock: str, restart: str, held: ExitStack) -> bool:
    """Hold a lock, however long somebody reads the container's files; False once it is to run no more."""
    while True:
        try:
            held.enter_context(files.locked(lock, LOOK_S))
            return True
        except TimeoutError:
            if restarts.wish(restart)[0] == restarts.NO:
                return False


def _set_up(
    request: dict[str, Any],
    child: birth.Init,
    group: manager.Group,
    nodes: list[devices.Node],
    undo: list[Any],
    shim: socket.socket,
    listener: socket.socket | None,
    again: dict[str, Any] | None,
) -> dict[str, Any]:
    """From a waiting init to an executed command, of which the shim has all it needs. Returns the run record."""
    own_ids = not request["namespaces"]["user"]
    if own_ids:
        process.write_id_maps(child.pid, request["uid_base"])
    outputs, given, ends = _streams(request)
    protocol.send(child.door, {key: request[key] for key in init.NEEDS}, ends)
    # Written by us, so that it becomes the floor as well: the container cannot go below; proc(5) oom_score_adj.
    manager.write_text(f"/proc/{child.pid}/oom_score_adj", request["confinement"]["oom_score_adj"])
    if not manager.births():
        _create(group, request, nodes)
    protocol.send(child.door, {"step": "groups"}, group.doors())
    # What only the host's root can give.
    userns = _open(f"/proc/{child.pid}/ns/user")
    ids = userns if own_ids else None
    root = rootfs.overlay(request["layers"], request["upper"], request["work"], ids)
    more = [rootfs.devices(nodes, request["uid_base"])] if nodes else []
    protocol.send(child.door, {"step": "mounts"}, [root, *rootfs.volumes(request["volumes"], ids), *more])
    # The rest is done while init builds its tree.
    group.limit(request["limits"])
    # Its mounts end when the last descriptor of this goes, which takes a while: not in the way of its exit.
    tree = child.seal(userns) if request["sealed"] else _open(f"/proc/{child.pid}/ns/mnt")
    before_ns = again["history"][-1]["started_at_ns"] if again else request["before_ns"]
    facts = _facts(child.pid, shim, before_ns) | {"pipes": [os.fstat(pipe).st_ino for pipe in outputs]}
    facts |= again or {}
    handed = facts | {"request": needed(request)}
    ended, log, door = -1, -1, -1
    if listener is not None:
        begun = stdio.Log.begun(request["log"], request["log_segment_bytes"], request["log_segments"])
        log, handed["log"] = begun.fd, begun.state()
        process.protect_from_oom(SHIM_OOM_SCORE, facts["shim_pid"])
        undo.append(lambda: _forget(request))
        # Open, and empty, from the start: at the end one flush makes name and content durable.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        ended = os.open(request["exit"], flags, 0o600)
        files.reserve(ended, EXIT_BYTES)  # how it ended must find room on a full disk
        door = listener.fileno()
    desk = protocol.listen(request["terminal"]) if request["tty"] else None
    if desk is not None:
        undo.append(lambda: os.unlink(request["terminal"]))
        given = child.terminal()
    if again:
        undo.append(functools.partial(files.replace, request["record"], _read(request["record"])))
    files.replace(request["record"], json.dumps(facts).encode())
    kept = -1 if request["stdin"] == ONCE else given
    Deposit(facts["shim_pid"], child.pid, request["id"], child.pidfd, outputs, kept).send(request["custody"])
    handed_over = handover.Handover(
        name=f"shim {request['id']}".encode(),
        raw=json.dumps(handed).encode(),
        checked=request["health"] is not None,
        pidfd=child.pidfd,
        root=root,
        tree=tree,
        outputs=outputs,
        input=given,
        desk=desk.fileno() if desk else -1,
        exit=ended,
        log=log,
        listener=door,
    )
    try:
        handed_over.give(shim)
    except ConnectionError:
        raise KernelError(SHIM_KILLED, hint="start it again") from None
    child.execute()
    return facts


def _streams(request: dict[str, Any]) -> tuple[tuple[int, ...], int, list[int]]:
    """(read ends of its outputs, the write end of its input or -1, its own ends: nothing for a terminal).

    What a terminal shows is copied into one pipe by who serves it.
    """
    base = request["uid_base"]
    pipes = [stdio.open_pipe(base) for _ in range(1 if request["tty"] else 2)]
    outputs = tuple(pipe for pipe, _ in pipes)
    if request["tty"]:
        os.close(pipes[0][1])
        return outputs, -1, []
    ends = [end for _, end in pipes]
    if not request["stdin"]:
        return outputs, -1, ends
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.fchown(read_end, base, base)
    return outputs, write_end, [read_end, *ends]


def needed(request: dict[str, Any]) -> dict[str, Any]:
    """What of the request outlives the start in the shim's memory. Commands, which may be long, are read from its file
    when they are wanted."""
    health = request["health"]
    checks = health and {name: value for name, value in health.items() if name != "test"}
    return {key: request[key] for key in _SHIM_NEEDS} | {"health": checks}


_SHIM_NEEDS = (
    "id", "instance", "uid_base", "log", "log_segment_bytes", "log_segments", "record", "request", "socket", "events",
    "restart", "health_record", "user", "tty", "stdin", "terminal",
)  # fmt: skip
# What of the facts the run record of a container that rests keeps.
RECORDED = ("version", "pid", "start_time", "shim_pid", "shim_start_time", "boot_id", "started_at_ns", "pipes")


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _node(path: str) -> devices.Node:
    try:
        return devices.node(path)
    except OSError as error:
        raise InvalidRequest(
            f"device {path}: {os.strerror(error.errno or 0)}",
            hint="name a device of the host that no file system of the host uses",
            field="devices",
        ) from error


def _create(group: manager.Group, request: dict[str, Any], nodes: list[devices.Node]) -> None:
    rules = [node.rule(device["access"]) for node, device in zip(nodes, request["devices"], strict=True)]
    group.create(devices=rules)


def _facts(pid: int, shim: socket.socket, after_ns: int) -> dict[str, Any]:
    """Who runs. Pids with their start time and boot: a number alone means nothing later.

    A run began after the one before, at ``after_ns``, also when the clock was set back: runs are told apart by that.
    """
    shim_pid = unix.peer(shim)  # which made the pair; our parent is another one once that is dead
    began = process.start_time(shim_pid)
    if began is None:
        raise KernelError(SHIM_KILLED, hint="start it again")
    return {
        "version": protocol.VERSION,
        "pid": pid,
        "start_time": process.start_time(pid),
        "shim_pid": shim_pid,
        "shim_start_time": began,
        "boot_id": process.boot_id(),
        "started_at_ns": max(time.time_ns(), after_ns + 1),
    }


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _forget(request: dict[str, Any]) -> None:
    """Take back the records of a run that was none."""
    for path in (request["record"], request["exit"]):
        if os.path.lexists(path):
            os.unlink(path)
