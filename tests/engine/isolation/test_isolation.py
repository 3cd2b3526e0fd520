"""Every row of the isolation list: as a process inside finds it, and from outside what it cannot see."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from engine import Container, ContainerSpec, Engine, Limits, NetworkMode
from engine.linux.process import CLONE_NEWUSER, protect_from_oom
from engine.shim.mounts import _masked_sys
from engine.shim.starter import SHIM_OOM_SCORE
from tests import grounds
from tests.engine.conftest import groups
from tests.engine.isolation import table
from tests.engine.isolation.findings import probe
from tests.engine.isolation.rows import (
    CAPABILITIES,
    FROM_OUTSIDE,
    NOT_BUILT,
    REFUSED_CALLS,
    ROWS,
    WAYS,
    Facts,
    asked,
)

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/isolation.md"
REFUSALS = {"EPERM", "ENOSYS"}
MIN_ROWS = 120
DEVICES = ("c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:1", "c 5:2", "c 136:0", "c 136:7")
OTHER_DEVICES = ("c 1:1", "c 1:4", "c 1:11", "c 4:0", "c 10:200", "c 10:229", "b 1:3", "b 7:0", "b 136:0", "b 254:0")


@pytest.fixture
def sleeper(starter: Engine) -> Iterator[Container]:
    """A running container."""
    container = starter.create(
        ContainerSpec(
            image="wharfie/starter", command=("sleep", "1000"), limits=Limits(memory_bytes=64 << 20, cpus=0.5, pids=7)
        )
    )
    yield starter.start(container.id)
    starter.remove(container.id, force=True)


def test_each_way_in_is_held_to_all_of_it(
    way_in: tuple[str, Facts], record_property: Callable[[str, object], None]
) -> None:
    way, facts = way_in
    rows = asked()
    broken = {
        row.name: row.found(facts) for row in rows if row.found(facts) not in WAYS[way].get(row.name, row.expected)
    }
    assert not broken
    assert WAYS[way].keys() <= {row.name for row in rows}, "an exception is for a row of the list"
    assert len(rows) >= MIN_ROWS
    record_property(grounds.ROWS, len(rows))


def test_i3_another_user_has_none(starter: Engine) -> None:
    status = probe(starter, user="1000:1000")["status"]
    assert (int(status["CapPrm"], 16), int(status["CapEff"], 16), status["CapBnd"]) == (0, 0, CAPABILITIES)


def test_i7_with_the_hosts_network_all_but_that_is_its_own(starter: Engine) -> None:
    facts = probe(starter, network=NetworkMode.HOST)
    namespaces = facts["namespaces"]
    assert {name for name in namespaces if namespaces[name] == os.readlink(f"/proc/self/ns/{name}")} == {"net"}
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(facts["mounts"]["/sys"]["options"])
    assert set(facts["masked"].values()) <= {"absent", "empty"}
    assert set(facts["cgroup_made"].values()) <= {"EROFS", "EACCES"}


def test_i8_i35_ids_are_of_the_containers_own_range(facts: Facts, starter: Engine, sleeper: Container) -> None:
    assert int(facts["uid_map"][1]) == int(facts["gid_map"][1]) == facts["uid_base"] >= 524_288
    other = starter.create(ContainerSpec(image="wharfie/starter", command=("true",)))
    assert abs(other.uid_base - sleeper.uid_base) >= 65_536
    starter.remove(other.id)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{sleeper.pid}/status").read_text().splitlines())
    assert status["Uid"].split() == [str(sleeper.uid_base)] * 4, "root inside is nobody outside"
    assert status["Gid"].split() == [str(sleeper.uid_base)] * 4


@pytest.mark.parametrize("joined", ["--user", "--user --mount --pid"])
def test_i9_the_kernel_itself_allows_no_user_namespace_inside(sleeper: Container, joined: str) -> None:
    """Without the seccomp filter: a process of the host's root that entered is refused too."""
    unshare = "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); "
    unshare += f"print(os.strerror(ctypes.get_errno()) if c.unshare({CLONE_NEWUSER}) else 'made')"
    enter = ["nsenter", "-t", str(sleeper.pid), *joined.split(), "--preserve-credentials"]
    done = subprocess.run([*enter, "/usr/bin/python3", "-I", "-c", unshare], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("No space left on device\n", "")


def test_i18_no_mount_shows_where_the_store_is(facts: Facts, starter: Engine) -> None:
    inner = {path: mount for path, mount in facts["mounts"].items() if path != "/"}  # an overlay tells its options
    assert not [path for path, mount in inner.items() if str(starter.paths.root) in mount["root"] + mount["super"]]
    assert not [path for path in facts["mounts"] if str(starter.paths.run) in path], "the old root is detached"


def test_i10_no_cpu_of_this_host_tells_how_warm_it_is() -> None:
    """Where the host has such a file, which one without sensors has not: each CPU's is among the masks."""
    cpus = {path.name for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*")}
    assert cpus
    assert {f"devices/system/cpu/{cpu}/thermal_throttle" for cpu in cpus} <= set(_masked_sys())


def test_i22_the_hard_limit_of_descriptors_is_bounded(facts: Facts) -> None:
    assert 1024 <= facts["nofile"][1] <= 524_288


def test_i23_i24_limits_are_always_set(starter: Engine, sleeper: Container) -> None:
    default = starter.create(ContainerSpec(image="wharfie/starter", command=("sleep", "1000")))
    starter.start(default.id)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    for container, wanted in ((sleeper, (64 << 20, 7, 0.5)), (default, (memory, 2048, float(os.cpu_count() or 1)))):
        assert limits(starter, container) == pytest.approx(wanted, rel=1e-4)


def limits(engine: Engine, container: Container) -> tuple[int, int, float]:
    """(bytes of memory, processes, cores) as the kernel has them; memory and swap together are no more than memory."""
    top, below = Path("/sys/fs/cgroup"), f"wharfie-{engine.instance}/{container.id}"
    if not (top / "memory" / below).exists():
        group = top / below
        quota, period = (group / "cpu.max").read_text().split()
        assert (group / "memory.swap.max").read_text() == "0\n"
        return int((group / "memory.max").read_text()), int((group / "pids.max").read_text()), int(quota) / int(period)
    of_memory, cpu = top / "memory" / below, top / "cpu" / below
    both = (of_memory / "memory.limit_in_bytes").read_text()
    assert both == (of_memory / "memory.memsw.limit_in_bytes").read_text()
    cores = int((cpu / "cpu.cfs_quota_us").read_text()) / int((cpu / "cpu.cfs_period_us").read_text())
    return int(both), int((top / "pids" / below / "pids.max").read_text()), cores


def test_i15_the_group_refuses_every_other_device(starter: Engine, sleeper: Container, tmp_path: Path) -> None:
    """Held against a process of the host's root in the container's group: in v1 a list decides, in v2 a BPF program."""
    wanted = (*DEVICES, *OTHER_DEVICES)
    assert made_in_group(starter, sleeper, wanted, tmp_path) == set(DEVICES)


def made_in_group(engine: Engine, container: Container, devices: Iterable[str], place: Path) -> set[str]:
    """Those that mknod(2) makes in the container's group; it asks for the same right as opening them does."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            for group in groups(engine, container.id):
                (group / "cgroup.procs").write_text(str(os.getpid()))
            for device in devices:
                kind, _, number = device.partition(" ")
                mode = stat.S_IFCHR if kind == "c" else stat.S_IFBLK
                try:
                    os.mknod(place / device, mode | 0o600, os.makedev(*map(int, number.split(":"))))
                except PermissionError:
                    continue
                os.write(write_end, f"{device}\n".encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as file:
        made = set(file.read().splitlines())
    os.waitpid(pid, 0)
    return made


def test_i21_who_keeps_it_is_killed_last(starter: Engine, sleeper: Container) -> None:
    pid = os.fork()
    if pid == 0:  # a host may have no right to give: then everybody stays at 0, which is not below the container
        os._exit(protect_from_oom(SHIM_OOM_SCORE))
    allowed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    shim = starter._records.shim(sleeper.id)
    assert Path(f"/proc/{shim}/oom_score_adj").read_text() == (f"{SHIM_OOM_SCORE}\n" if allowed else "0\n")
    assert Path(f"/proc/{sleeper.pid}/oom_score_adj").read_text() == "0\n"


def test_i27_no_signal_is_ignored_or_blocked_at_execve(sleeper: Container) -> None:
    """Seen at a program that touches none: the probe's own Python ignores two."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{sleeper.pid}/status").read_text().splitlines())
    assert [int(status[name], 16) for name in ("SigIgn", "SigBlk", "SigPnd")] == [0, 0, 0]


def test_i33_the_store_is_closed_to_others(starter: Engine) -> None:
    assert starter.paths.root.stat().st_mode & 0o777 == 0o700
    assert starter.paths.layers.stat().st_mode & 0o077 == 0


def test_i33_a_container_cannot_write_to_its_image(starter: Engine) -> None:
    layer = starter.paths.layer(starter.image("wharfie/starter").layers[0].diff_id)
    before = (layer / "etc/passwd").read_bytes()
    for _ in range(2):  # the second begins with what the image says, not with what the first wrote
        container = starter.create(
            ContainerSpec(
                image="wharfie/starter", command=("sh", "-c", "! grep own /etc/passwd && echo own >> /etc/passwd")
            )
        )
        starter.start(container.id)
        assert starter.wait(container.id, timeout_s=30).code == 0
        starter.remove(container.id)
    assert (layer / "etc/passwd").read_bytes() == before


def test_no_row_of_the_list_is_forgotten() -> None:
    looked_at = {row.id for row in ROWS} | set(FROM_OUTSIDE) | set(NOT_BUILT)
    assert looked_at == {f"I{number}" for number in range(1, 36)}
    assert set(FROM_OUTSIDE.values()) <= set(globals())


def test_a_peer_is_no_stricter_in_any_row(peer: Facts, facts: Facts) -> None:
    """Where a peer refuses by its own defaults, Wharfie refuses too."""
    weaker = {
        call for call in REFUSED_CALLS if peer["syscalls"][call] in REFUSALS and facts["syscalls"][call] not in REFUSALS
    }
    shown = {path for path, found in peer["masked"].items() if found == "empty" and facts["masked"][path] == "shown"}
    assert (weaker, shown) == (set(), set())


def test_the_document_tells_of_every_row() -> None:
    lines = DOCUMENT.read_text().splitlines()
    told = [tuple(cell.strip() for cell in line.split("|")[1:4]) for line in lines if line.startswith("| I")]
    assert told == [(row.id, row.check, " or ".join(row.expected) or "(empty)") for row in ROWS]
    assert not [line for line in lines if "✗" in line]
    assert table.HEAD in DOCUMENT.read_text()
    assert DOCUMENT.read_text().endswith("\n".join(table.rest()) + "\n")
