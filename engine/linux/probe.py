"""What this host can do, found out by doing it, and said in words before anything listens."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.linux import files, landlock, mount, overlayfs, process, seccomp
from engine.linux.files import filesystem_magic

REFUSED_FILESYSTEMS = {
    files.OVERLAYFS_SUPER_MAGIC: "overlayfs (it looks like the inside of a container)",
    files.NFS_SUPER_MAGIC: "NFS",
    files.FUSE_SUPER_MAGIC: "FUSE",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that Wharfie needs or would like."""

    name: str
    ok: bool
    fatal: bool  # nothing can run without it
    text: str  # what was found
    hint: str  # what to do; "" when ok


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def fatal(self) -> tuple[Check, ...]:
        """Those that failed and without which nothing can run."""
        return tuple(check for check in self.checks if check.fatal and not check.ok)


def report(root: Path) -> Report:
    """Try everything, for a store at ``root``. Changes nothing that stays. Stops at what makes the rest meaningless."""
    checks = [_linux(), _root(), _python()]
    if all(check.ok for check in checks):
        checks += [_machine(), _proc(), _cgroups(), _storage(root), _overlay(root), _filter(), _landlock()]
    return Report(tuple(checks))


def answer(request: dict[str, Any], _fds: list[int]) -> dict[str, Any]:
    """`report` as a request to the launcher, which runs it in a process of its own."""
    return {"checks": [asdict(check) for check in report(Path(request["root"])).checks]}


def from_wire(result: dict[str, Any]) -> Report:
    """The report out of an `answer`."""
    return Report(tuple(Check(**check) for check in result["checks"]))


def _linux() -> Check:
    release = platform.release()
    return Check(
        "Linux",
        sys.platform == "linux",
        True,
        f"{platform.system()} {release}",
        "" if sys.platform == "linux" else "run Wharfie on Linux",
    )


def _root() -> Check:
    ok = os.geteuid() == 0
    return Check(
        "root",
        ok,
        True,
        "running as root" if ok else f"running as uid {os.geteuid()}",
        "" if ok else "start it as root, with sudo",
    )


def _python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check("Python", ok, True, platform.python_version(), "" if ok else "install Python 3.11 or newer")


def _machine() -> Check:
    ok = platform.machine() == "x86_64"
    hint = "" if ok else "only x86-64 is supported: the seccomp filter knows its system calls alone"
    return Check("processor", ok, True, platform.machine(), hint)


def _in_child(act: Callable[[], None]) -> str:
    """Run ``act`` in a forked process with namespaces of its own; "" when it worked, else the error.

    Only for a process with one thread, or one that does nothing but this in the child.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            act()
        except OSError as error:
            os.write(write_end, str(error).encode()[:4000])
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said


def _proc() -> Check:
    def act() -> None:
        process.unshare(process.CLONE_NEWUSER | process.CLONE_NEWPID | process.CLONE_NEWNS)
        pid = os.fork()  # the new pid namespace is for children
        if pid == 0:
            try:
                os.close(mount.filesystem("proc"))
            except OSError as error:
                os._exit(error.errno or 1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            raise OSError(status, f"mounting proc: {os.strerror(status)}")

    error = _in_child(act)
    hint = (
        "a container's masked /proc forbids it: run Wharfie on the host itself, or give it an unmasked /proc"
        if error
        else ""
    )
    return Check(
        "user namespaces and /proc", not error, True, error or "a user namespace with its own /proc works", hint
    )


def _cgroups() -> Check:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        have = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
        missing = sorted({"cpu", "memory", "pids"} - set(have))
        text = "cgroup v2" + (f" without {', '.join(missing)}" if missing else " with cpu, memory and pids")
    else:
        missing = [
            name
            for name in ("cpu", "cpuacct", "memory", "pids", "devices")
            if not os.path.isdir(f"/sys/fs/cgroup/{name}")
        ]
        text = "cgroup v1" + (f" without {', '.join(missing)}" if missing else " with cpu, memory, pids and devices")
    writable = os.access("/sys/fs/cgroup" if not missing and "v2" in text else "/sys/fs/cgroup/memory", os.W_OK)
    hint = "" if not missing and writable else "mount the cgroup file systems writable, with these controllers"
    return Check("control groups", not missing and writable, True, text, hint)


def _existing_parent(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _storage(root: Path) -> Check:
    place = _existing_parent(root)
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        magic = filesystem_magic(descriptor)
    finally:
        os.close(descriptor)
    refused = REFUSED_FILESYSTEMS.get(magic)
    text = f"{root} is on {refused}" if refused else f"{root} is on a local file system"
    return Check(
        "storage", not refused, True, text, "mount a volume there: an ext4 disk, or set WHARFIE_ROOT" if refused else ""
    )


def _overlay(root: Path) -> Check:
    """The real thing on the real disk: an idmapped lower layer below an overlay, in a scratch directory."""
    place = _existing_parent(root)
    scratch = place / f".wharfie-probe-{os.getpid()}"
    try:
        for name in ("lower", "upper", "work"):
            (scratch / name).mkdir(parents=True)
        error = _try_overlay(scratch)
    except OSError as failure:
        error = str(failure)
    finally:
        _remove(scratch)
    hint = "use Linux 6.1 or newer, and ext4, xfs or btrfs for WHARFIE_ROOT" if error else ""
    return Check("idmapped overlay", not error, True, error or "works on WHARFIE_ROOT", hint)


def _try_overlay(scratch: Path) -> str:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:  # holds a user namespace open while the parent maps by it
        os.close(write_end)
        process.unshare(process.CLONE_NEWUSER)
        os.read(read_end, 1)
        os._exit(0)
    os.close(read_end)
    try:
        while os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user"):
            os.sched_yield()
        process.write_id_maps(pid, 524288)
        userns = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            lower, upper, work = (str(scratch / name) for name in ("lower", "upper", "work"))
            os.close(overlayfs.create([lower], upper, work, userns))
        finally:
            os.close(userns)
    except OSError as error:
        return str(error)
    finally:
        os.close(write_end)
        os.waitpid(pid, 0)
    return ""


def _remove(scratch: Path) -> None:
    for name in ("work/work", "work", "upper", "lower", ""):
        path = scratch / name
        if path.is_dir():
            path.rmdir()


def _filter() -> Check:
    def act() -> None:
        process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.load(seccomp.compile_default())

    error = _in_child(act)
    return Check(
        "seccomp",
        not error,
        True,
        error or "the filter loads",
        "use a kernel with CONFIG_SECCOMP_FILTER" if error else "",
    )


def _landlock() -> Check:
    version = landlock.abi()
    return Check(
        "Landlock",
        version > 0,
        False,
        f"version {version}: a second fence around unpacking" if version else "not there: unpacking has one fence less",
        "" if version else "boot with `landlock` in the kernel's lsm= list",
    )
