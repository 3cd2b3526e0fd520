"""What the measurements share: an instance of its own with a busybox image, and a bundle for the peers."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.rows import settle
from console.supervisor import answering
from engine import Config, Engine
from engine.launcher import start as launcher
from engine.storage import instance

BUSYBOX = "/bin/busybox"
# Memory, as it is wherever systemd runs (file-hierarchy(7)); this host's may lie on its disk.
RUN_DIRECTORY = "/run" if os.stat("/run").st_dev != os.stat("/").st_dev else "/dev/shm"
TICKS = os.sysconf("SC_CLK_TCK")
APPLETS = ("sh", "cat", "true", "sleep")
# Times turns of a peer inside a mount namespace where the v2 hierarchy is hidden: crun refuses a host that has
# controllers on both. The namespace is made once, outside of what is timed.
HIDE = """
import os, subprocess, sys
command, bundle = sys.argv[1:]
if os.path.ismount("/sys/fs/cgroup/unified"):
    subprocess.run(["umount", "-l", "/sys/fs/cgroup/unified"], check=True)
"""
RUN = """
import json, time
for number, _ in enumerate(sys.stdin):
    name = f"wharfie-bench-{number}"
    began = time.perf_counter()
    subprocess.run([command, "--root", bundle + "/state", "run", "--bundle", bundle, name], check=True)
    print(json.dumps([time.perf_counter() - began]), flush=True)
"""


@contextmanager
def engine() -> Iterator[Engine]:
    """A fresh instance with the image ``busybox``; everything of it is gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="wharfie-bench-", dir="/var/tmp"))
    run = Path(tempfile.mkdtemp(prefix="wharfie-bench-", dir=RUN_DIRECTORY))
    config = Config(root=root, run=run)
    try:
        with launching(config), Engine(config) as made:
            try:
                made.load_image(rootfs(root / "busybox.tar"), name="busybox")
                yield made
            finally:
                for container in made.containers():
                    made.remove(container.id, force=True)
        instance.release(instance.instance_id(config))
    finally:
        shutil.rmtree(root)
        shutil.rmtree(run)


@contextmanager
def console(engine: Engine) -> Iterator[tuple[int, str]]:
    """`manage.py serve` on that instance: its pid, and the link that makes the first account."""
    environment = os.environ | {
        "WHARFIE_ROOT": str(engine.config.root),
        "WHARFIE_RUN": str(engine.config.run),
        "WHARFIE_LISTEN": "127.0.0.1:0",
    }
    command = [sys.executable, "manage.py", "serve"]
    top = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, cwd=top, env=environment, stdout=subprocess.PIPE, text=True) as serve:
        try:
            assert serve.stdout is not None
            link = None
            while link is None:
                link = re.search(r"http://\S+/setup/\S+", serve.stdout.readline())
            yield serve.pid, link[0]
        finally:
            serve.send_signal(signal.SIGINT)


@contextmanager
def launching(config: Config) -> Iterator[None]:
    """The launcher that a console has; at the end it is gone and has taken everything away."""
    with subprocess.Popen(launcher.command(config), stdin=subprocess.DEVNULL, start_new_session=True) as process:
        while not answering(str(config.run / "launcher.sock")):
            process.poll()
            assert process.returncode is None, "the launcher ended"
            select.select((), (), (), 0.01)
        try:
            yield
        finally:
            process.terminate()


def rootfs(path: Path) -> Path:
    """A root file system of one static program."""
    with tarfile.open(path, "w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return path


class Peer:
    """A runtime that runs the same program with six namespaces and memory, CPU and pids limits.

    ``script`` prints a JSON list of seconds for each line that it reads.
    """

    def __init__(self, command: str, argv: tuple[str, ...] = ("true",), script: str = RUN) -> None:
        self._bundle = Path(tempfile.mkdtemp(prefix="wharfie-bench-peer-", dir="/var/tmp"))
        root = self._bundle / "rootfs"
        (root / "bin").mkdir(parents=True)
        shutil.copy(BUSYBOX, root / "bin/busybox")
        for applet in APPLETS:
            (root / "bin" / applet).symlink_to("busybox")
        subprocess.run([command, "spec"], cwd=self._bundle, check=True)
        path = self._bundle / "config.json"
        config = json.loads(path.read_text())
        config["process"] |= {"terminal": False, "args": list(argv)}
        config["linux"]["resources"] = {
            "memory": {"limit": 2**30},
            "cpu": {"quota": 100_000, "period": 100_000},
            "pids": {"limit": 2048},
        }
        kinds = ("pid", "network", "ipc", "uts", "mount", "cgroup")
        config["linux"]["namespaces"] = [{"type": kind} for kind in kinds]
        path.write_text(json.dumps(config))
        self._timer = subprocess.Popen(
            ["unshare", "-m", sys.executable, "-c", HIDE + script, command, str(self._bundle)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self) -> list[float]:
        """The seconds of one turn."""
        settle()
        assert self._timer.stdin is not None
        assert self._timer.stdout is not None
        self._timer.stdin.write("\n")
        self._timer.stdin.flush()
        times: list[float] = json.loads(self._timer.stdout.readline())
        return times

    def close(self) -> None:
        """End the timer and delete the bundle."""
        self._timer.communicate()
        shutil.rmtree(self._bundle)


def peer_names() -> list[str]:
    """The peers that this host has."""
    return [command for command in ("crun", "runc") if shutil.which(command)]


def pss_bytes(pid: int) -> int:
    """The proportional set size of a process; proc_pid_smaps(5). 0 when it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def descendants(pid: int) -> list[int]:
    """A process and all below it; what ends meanwhile is left out."""
    found = [pid]
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                found += descendants(int(child))
    return found


def cpu_s(pids: list[int]) -> float:
    """What these processes have used, those that are gone left out; proc_pid_stat(5) utime, stime."""
    total = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS
