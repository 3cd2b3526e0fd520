"""Every row of the isolation list, as a process inside finds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, NetworkMode
from tests.engine.isolation.conftest import Facts, probe

pytestmark = pytest.mark.xdist_group("isolation")

CAPABILITIES = "00000000800405fb"
EPERM_CALLS = (
    "add_key", "bpf", "fsopen", "init_module", "io_uring_setup", "kexec_load", "keyctl", "mount", "mount_setattr",
    "move_mount", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "setns", "umount2", "unshare",
    "userfaultfd",
)  # fmt: skip
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
KERNEL = {"nosuid", "nodev", "noexec"}
MOUNTS = {
    "/": ("overlay", {"nodev"}),
    "/proc": ("proc", KERNEL),
    "/sys": ("sysfs", KERNEL | {"ro"}),
    "/sys/fs/cgroup": (None, KERNEL | {"ro"}),
    "/dev": ("tmpfs", {"nosuid", "noexec"}),
    "/dev/pts": ("devpts", {"nosuid", "noexec"}),
    "/dev/shm": ("tmpfs", KERNEL),
    "/dev/mqueue": ("mqueue", KERNEL),
    "/proc/sys": ("proc", KERNEL | {"ro"}),
    "/proc/bus": ("proc", KERNEL | {"ro"}),
    "/proc/fs": ("proc", KERNEL | {"ro"}),
    "/proc/irq": ("proc", KERNEL | {"ro"}),
}


@pytest.mark.parametrize("name", ["CapPrm", "CapEff", "CapBnd"])
def test_i1_capabilities(facts: Facts, name: str) -> None:
    assert facts["status"][name] == CAPABILITIES


@pytest.mark.parametrize("name", ["CapInh", "CapAmb"])
def test_i2_nothing_is_inheritable(facts: Facts, name: str) -> None:
    assert int(facts["status"][name], 16) == 0


def test_i3_another_user_has_none(starter: Engine) -> None:
    status = probe(starter, user="1000:1000")["status"]
    assert (int(status["CapPrm"], 16), int(status["CapEff"], 16), status["CapBnd"]) == (0, 0, CAPABILITIES)


def test_i4_i5_no_new_privileges_and_a_filter(facts: Facts) -> None:
    assert (facts["status"]["NoNewPrivs"], facts["status"]["Seccomp"]) == ("1", "2")
    assert int(facts["status"]["Seccomp_filters"]) >= 1


@pytest.mark.parametrize("name", EPERM_CALLS)
def test_i6_refused_calls(facts: Facts, name: str) -> None:
    assert facts["syscalls"][name] == "EPERM"


def test_i6_what_has_an_answer_of_its_own(facts: Facts) -> None:
    assert facts["syscalls"]["clone3"] == "ENOSYS"
    assert facts["syscalls"]["x32_getpid"] == "SIGSYS"
    assert facts["personality"] == "EPERM"
    assert facts["ptrace"] == "ok"
    assert facts["sockets"] == {"2": "ok", "38": "EPERM", "40": "EPERM"}


@pytest.mark.parametrize("name", ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"])
def test_i7_namespaces_are_its_own(facts: Facts, name: str) -> None:
    assert facts["namespaces"][name] != os.readlink(f"/proc/self/ns/{name}")


def test_i7_with_the_hosts_network_all_but_that(starter: Engine) -> None:
    found = probe(starter, network=NetworkMode.HOST)["namespaces"]
    same = {name for name in found if found[name] == os.readlink(f"/proc/self/ns/{name}")}
    assert same == {"net"}


@pytest.mark.parametrize("name", ["uid_map", "gid_map"])
def test_i8_ids_are_a_range_of_its_own(facts: Facts, name: str) -> None:
    inside, outside, count = (int(word) for word in facts[name])
    assert (inside, count, facts["setgroups"]) == (0, 65536, "allow")
    assert outside == facts["uid_base"] >= 524288


def test_i8_two_containers_share_no_id(starter: Engine, facts: Facts) -> None:
    first = starter.create(_sleeper())
    second = starter.create(_sleeper())
    assert abs(first.uid_base - second.uid_base) >= 65536
    starter.remove(first.id)
    starter.remove(second.id)


def _sleeper() -> Any:
    from engine import ContainerSpec

    return ContainerSpec(image="wharfie/starter", command=("sleep", "1000"))


def test_i9_no_user_namespace_inside(facts: Facts) -> None:
    assert facts["syscalls"]["unshare"] == "EPERM"
    assert facts["max_user_namespaces"] == "0"


def test_i10_masked(facts: Facts) -> None:
    assert set(facts["masked"].values()) <= {"absent", "empty"}
    assert facts["masked"]["/proc/keys"] == "empty"


def test_i11_read_only(facts: Facts) -> None:
    # Two walls: the files belong to nobody inside, and the mounts are read-only (row I13). The first answers first.
    assert set(facts["read_only"].values()) <= {"EACCES", "EROFS", "ENOENT"}


@pytest.mark.parametrize("path", MOUNTS)
def test_i13_mounts_and_their_options(facts: Facts, path: str) -> None:
    kind, options = MOUNTS[path]
    assert options <= set(facts["mounts"][path]["options"])
    assert kind is None or facts["mounts"][path]["type"] == kind


@pytest.mark.parametrize("name", DEVICES)
def test_i14_devices(facts: Facts, name: str) -> None:
    assert facts["dev"][name] == f"0o666:{DEVICES[name][0]}:{DEVICES[name][1]}"


def test_i14_nothing_else_in_dev(facts: Facts) -> None:
    assert set(facts["dev"]) == set(DEVICES)
    assert set(facts["dev_links"]) == {"fd", "stdin", "stdout", "stderr", "ptmx"}
    assert set(facts["dev_names"]) == set(DEVICES) | set(facts["dev_links"]) | {"pts", "shm", "mqueue"}


def test_i15_no_device_can_be_made(facts: Facts) -> None:
    assert facts["mknod"] == {"null": "EPERM", "disk": "EPERM"}


def test_i16_i17_descriptors_and_directory(facts: Facts) -> None:
    assert facts["fds"] == [0, 1, 2]
    assert facts["cwd"] == "/"


def test_i18_no_mount_of_the_host(facts: Facts, starter: Engine) -> None:
    assert all(mount["tags"] == [] for mount in facts["mounts"].values()), "no propagation"
    roots = [mount["root"] for path, mount in facts["mounts"].items() if path != "/"]
    assert not [root for root in roots if str(starter.paths.root) in root]


def test_i19_i20_cgroups_and_keys(facts: Facts) -> None:
    assert facts["cgroup"] == ["/"]
    assert facts["keys"] == ""


def test_i21_the_out_of_memory_score_has_a_floor(facts: Facts) -> None:
    assert (facts["oom_score_adj"], facts["oom_lower"]) == ("0", "EACCES")


def test_i22_limits_of_resources(facts: Facts) -> None:
    assert facts["core"] == [0, 0]
    assert facts["nofile"][0] == 1024
    assert facts["nofile"][1] <= 524288


def test_i23_i24_limits_are_always_set(starter: Engine) -> None:
    container = starter.start(starter.create(_sleeper()).id)
    try:
        groups = {
            path.parts[4]: path for path in Path("/sys/fs/cgroup").glob(f"*/wharfie-{starter.instance}/{container.id}")
        }
        if "memory" in groups:
            limit = int((groups["memory"] / "memory.limit_in_bytes").read_text())
            assert limit == int((groups["memory"] / "memory.memsw.limit_in_bytes").read_text())
            assert limit <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
            assert (groups["pids"] / "pids.max").read_text().strip() == "2048"
            assert int((groups["cpu"] / "cpu.cfs_quota_us").read_text()) > 0
            devices = (groups["devices"] / "devices.list").read_text().splitlines()
            assert "a *:* rwm" not in devices
            assert len(devices) == 9
        else:
            group = Path(f"/sys/fs/cgroup/wharfie-{starter.instance}/{container.id}")
            assert "max" not in (group / "memory.max").read_text()
            assert (group / "pids.max").read_text().strip() == "2048"
    finally:
        starter.remove(container.id, force=True)


def test_i26_to_i30_groups_signals_environment_and_session(facts: Facts) -> None:
    assert facts["groups"] == [0]
    assert int(facts["status"]["SigBlk"], 16) == 0
    # The probe's own Python ignores SIGPIPE and SIGXFSZ; the container's first process was given neither.
    assert int(facts["status"]["SigIgn"], 16) & ~((1 << 12) | (1 << 24)) == 0
    assert set(facts["environment"]) - {"LC_CTYPE"} == {"HOME", "HOSTNAME", "PATH"}  # Python itself adds the first
    assert facts["umask"] == "0o22"
    assert facts["cmdline"] == "/usr/bin/python3"
    assert (facts["pid"], facts["status"]["PPid"], facts["session"]) == (1, "0", True)


def test_i33_the_store_is_closed_to_others(starter: Engine) -> None:
    assert starter.paths.root.stat().st_mode & 0o777 == 0o700
    assert starter.paths.layers.stat().st_mode & 0o077 == 0


def test_i34_a_mask_cannot_be_taken_off(facts: Facts) -> None:
    assert facts["umount_mask"] == "EPERM"


def test_a_peer_is_no_stricter_in_any_row(
    peer: tuple[str, Facts], facts: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same probe beside: where a peer refuses, Wharfie refuses too. The table is printed with -s."""
    name, theirs = peer
    with capsys.disabled():
        print(f"\n{'row':24}{'wharfie':>20}{name:>20}")
        for row in ("CapEff", "NoNewPrivs", "Seccomp"):
            print(f"{row:24}{facts['status'][row]:>20}{theirs['status'][row]:>20}")
        for call in (*EPERM_CALLS, "clone3", "x32_getpid"):
            print(f"{call:24}{facts['syscalls'][call]:>20}{theirs['syscalls'][call]:>20}")
        for path, found in facts["masked"].items():
            print(f"{path:24}{found:>20}{theirs['masked'][path]:>20}"[:80])
    weaker = {
        call
        for call in EPERM_CALLS
        if theirs["syscalls"][call] in ("EPERM", "ENOSYS") and facts["syscalls"][call] == "ok"
    }
    assert weaker == set()
    assert {
        path for path, found in theirs["masked"].items() if found == "empty" and facts["masked"][path] == "shown"
    } == set()
