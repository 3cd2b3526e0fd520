"""A second kernel as a process: boots Debian's user-mode-linux and runs tests of this repository in it.

It is what this host need not be and Wharfie promises to run on: Linux 6.1, cgroup v2 alone (or, with ``CGROUPS=v1``, as
systemd mounts v1), no time namespaces.
The guest sees the host's whole tree read-only (hostfs), and so the same Python and the same sources; `init.sh` does the
rest. What it says on its console is the report.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests import leaks

TOP = Path(__file__).resolve().parents[2]
INIT = Path(__file__).with_name("init.sh")
KERNEL, MAKE_IMAGE = "linux.uml", "mkfs.ext4"
PACKAGES = {KERNEL: "user-mode-linux", MAKE_IMAGE: "e2fsprogs", "busybox": "busybox-static"}
IMAGE_BYTES = 4 << 30  # sparse
MEMORY = "1536M"
EXIT = re.compile(r"^wharfie guest: exit (\d+)\s*$", re.MULTILINE)


class Result(NamedTuple):
    """How a run in the guest ended."""

    code: int | None  # pytest's; None when the guest did not get so far
    report: str


def run(arguments: Sequence[str], timeout_s: float, **environment: str) -> Result:
    """Run pytest in a guest of its own, which is gone on return, its disk with it. AssertionError without a kernel."""
    for command, package in PACKAGES.items():
        assert shutil.which(command), f"{command} is not installed: apt-get install {package}"
    with tempfile.TemporaryDirectory(prefix=f"{leaks.NAME}{leaks.session()}-uml-", dir="/tmp") as scratch:
        disk, listed = Path(scratch, "disk"), Path(scratch, "arguments")
        listed.write_text("\n".join(arguments))
        Path(scratch, "environment").write_text("".join(f"{k}={shlex.quote(v)}\n" for k, v in environment.items()))
        with disk.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        subprocess.run([MAKE_IMAGE, "-q", "-F", str(disk)], check=True, stdin=subprocess.DEVNULL)
        return _boot(Path(scratch), disk, [str(INIT), sys.prefix, str(TOP), scratch], timeout_s)


def _boot(scratch: Path, disk: Path, init: list[str], timeout_s: float) -> Result:
    # A guest is many processes of the host. In a pid namespace they end with the first one, and that ends with us.
    # A kernel that panics aborts, which the first process of a namespace cannot: that is a shell.
    # Each call in the guest is a change between two processes here: on one processor, no other needs to hear of it.
    leash = ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))]
    leash += ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"]
    leash += ["sh", "-c", '"$@"; exit', "sh"]
    machine = [KERNEL, f"mem={MEMORY}", f"ubda={disk}", f"uml_dir={scratch}/", "umid=guest"]
    root = ["root=/dev/root", "rootfstype=hostfs", "ro", "loglevel=3", "con=null", "con0=null,fd:1"]
    # The kernel splits its command line at spaces, but for those in double quotes.
    words = [f'"{word}"' if " " in word else word for word in init]
    guest = subprocess.Popen(
        [*leash, *machine, *root, "init=/bin/sh", "--", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"]},
    )
    late = ""
    try:
        said, _ = guest.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        late = f"\nthe guest was stopped after {timeout_s} s"
    finally:
        guest.kill()
    if late:
        said, _ = guest.communicate()
    report = said.decode(errors="replace").replace("\r\n", "\n") + late
    ended = EXIT.search(report)
    return Result(int(ended[1]) if ended else None, report)
