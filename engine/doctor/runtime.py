"""What is below WHARFIE_RUN and in the kernel: processes, their records and sockets, control groups, mounts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from engine.doctor.findings import finding, lasting
from engine.doctor.rows import CONTAINERS, rows
from engine.linux import process
from engine.linux.probe import Check
from engine.names import OBJECT_ID
from engine.storage import documents, instance
from engine.storage.paths import Paths

LEAVING_S = 2.0  # a shim may outlive its container's row: it has the file system to give up


def launcher(paths: Paths) -> Check:
    serves = instance.is_locked(paths.launcher_lock)
    wrong = ["it holds its lock, but its socket is gone"] if serves and not paths.launcher_socket.exists() else []
    good = "serves" if serves else "is started when something needs it"
    return finding(
        "launcher", wrong, good, "end it (its pid: `fuser launcher.lock` in WHARFIE_RUN); another one starts"
    )


def web(paths: Paths) -> Check:
    """The address is written when a console starts; whether one listens there is in /proc/net."""
    try:
        address = paths.address.read_text()
    except FileNotFoundError:
        return finding("console", [], "none was started", "")
    port = int(address.rpartition(":")[2]) if address.rpartition(":")[2].isdigit() else 0
    listens = not port or any(
        int(line.split()[1].rpartition(":")[2], 16) == port and line.split()[3] == "0A"
        for table in ("tcp", "tcp6")
        if os.path.exists(f"/proc/net/{table}")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    )
    if listens or not instance.is_locked(paths.launcher_lock):
        return finding("console", [], f"serves at {address}" if listens else "does not run", "")
    return finding("console", [f"nothing listens at {address}"], "", "look at its messages; start it again")


def _runs(paths: Paths) -> Iterator[tuple[str, dict[str, int | str]]]:
    for path in paths.shims.glob("*.json"):
        try:
            record = documents.parse(path.read_bytes())
        except (FileNotFoundError, ValueError):  # it has just ended; or it is cut off
            continue
        if type(record) is dict:
            yield path.stem, record


def _lives(record: dict[str, int | str], pid: str, start_time: str) -> bool:
    number = record.get(pid)
    return (
        record.get("boot_id") == process.boot_id()
        and isinstance(number, int)
        and process.start_time(number) == record.get(start_time)
    )


def _init_lives(record: dict[str, int | str]) -> bool:
    return _lives(record, "pid", "start_time")


def _shim_lives(record: dict[str, int | str]) -> bool:
    return _lives(record, "shim_pid", "shim_start_time")


def shims(paths: Paths) -> Check:
    """Whether every run has a row and a shim."""

    def look() -> list[str]:
        wrong = []
        runs = list(_runs(paths))  # before the rows: a container has its row first, and its run then
        names = {row[0]: row[1] for row in rows(paths, CONTAINERS)}
        for container_id, record in runs:
            name = names.get(container_id)
            init, shim = _init_lives(record), _shim_lives(record)
            if (init or shim) and name is None:
                pid = record["pid" if init else "shim_pid"]
                wrong.append(f"container {container_id[:12]} runs (pid {pid}) and is not in state.db")
            elif init and not shim:
                wrong.append(f"container {name} runs without its shim: its exit code will not be known")
            elif not init and not shim:
                wrong.append(f"the record of container {name or container_id[:12]} was left by a shim that was killed")
        return wrong

    hint = "restart the containers that are named; stop the others"
    return finding("shims", lasting(look, LEAVING_S), "each container has its own", hint)


def groups(paths: Paths) -> Check:
    """Control groups of containers that do not run."""
    name = f"wharfie-{paths.instance.read_text()}"
    running = {container_id for container_id, record in _runs(paths) if _init_lives(record) or _shim_lives(record)}
    top = Path("/sys/fs/cgroup")
    wrong = [
        str(group)
        for place in (top, *(path for path in top.iterdir() if path.is_dir()))
        if (place / name).is_dir()
        for group in (place / name).iterdir()
        if group.is_dir() and OBJECT_ID.fullmatch(group.name) and group.name not in running
        and not (paths.shims / f"{group.name}.sock").exists()
    ]  # fmt: skip
    hint = "start and remove these containers, or rmdir them"
    return finding("control groups", wrong, "none without a container", hint)


def sockets(paths: Paths) -> Check:
    """Sockets that nobody listens on, and mounts below the instance's directories: it makes none that stay."""

    def look() -> list[str]:
        there = list(paths.shims.glob("*.sock"))
        listening = Path("/proc/net/unix").read_text()
        running = {container_id for container_id, _record in _runs(paths)}
        wrong = [
            f"nobody listens at {path}"
            for path in there
            if path.name.split(".")[0] not in running and f"/{path.name}\n" not in listening
        ]
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            place = line.split()[4]
            if place.startswith((f"{paths.root}/", f"{paths.run}/")):
                wrong.append(f"something is mounted on {place}")
        return wrong

    hint = "unmount it, or delete the socket"
    return finding("sockets and mounts", lasting(look), "none is left over", hint)
