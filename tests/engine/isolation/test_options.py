"""Each option opens what it is for, and every other row of the isolation list holds as before."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Container, ContainerSpec, Device, Engine, ExecSpec, Namespaces, NetworkMode, Security, Ulimit
from engine.errors import CommandNotFound, InvalidRequest, WrongState
from engine.linux import capabilities
from tests.engine.conftest import groups
from tests.engine.isolation.findings import entered, probe
from tests.engine.isolation.rows import LOWEST_ID, MASKED, USER_MODE, Facts, asked
from tests.engine.isolation.test_isolation import DEVICES, OTHER_DEVICES, made_in_group

pytestmark = pytest.mark.one_engine

ATTACK = ("/usr/bin/python3", "-I", "-c", Path(__file__).with_name("attack.py").read_text())
ALL = f"{(1 << capabilities.last() + 1) - 1:016x}"
LENIENT = json.dumps({"defaultAction": "SCMP_ACT_ALLOW"})

_CAPABILITIES = ("I1 CapPrm", "I1 CapEff", "I1 CapBnd")
_MOUNTING = (
    "I6 fsopen", "I6 mount", "I6 mount_setattr", "I6 move_mount", "I6 open_by_handle_at", "I6 open_tree",
    "I6 pivot_root", "I6 setns", "I6 umount2", "I6 unshare", "I34 umount of a mask",
    "I6 fsconfig", "I6 fsmount", "I6 fspick", "I6 get_mempolicy", "I6 kcmp", "I6 migrate_pages", "I6 pidfd_getfd",
    "I6 process_madvise",
)  # fmt: skip
# What a process of these calls finds out without a capability: not EPERM of the filter but the kernel's own answer.
_UNFILTERED = (
    "I6 add_key", "I6 bpf", "I6 init_module", "I6 io_uring_setup", "I6 kexec_load", "I6 keyctl", "I6 mount",
    "I6 mount_setattr", "I6 open_by_handle_at", "I6 open_tree", "I6 perf_event_open", "I6 setns", "I6 umount2",
    "I6 unshare", "I6 clone with a new user namespace", "I6 clone3", "I6 personality ADDR_NO_RANDOMIZE",
    "I6 socket AF_ALG", "I6 socket AF_VSOCK", "I6 fsconfig", "I6 get_mempolicy", "I6 io_uring_enter",
    "I6 io_uring_register", "I6 kcmp", "I6 kexec_file_load", "I6 migrate_pages", "I6 pidfd_getfd", "I6 process_madvise",
    "I6 quotactl", "I6 request_key", "I6 socket AF_KEY", "I6 socket AF_RXRPC",
)  # fmt: skip


def _kernel_has_xfrm() -> bool:
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 6).close()
    except OSError:
        return False
    return True


# In a network namespace of its own.
_NETWORK = ("I6 socket AF_PACKET", *(("I6 NETLINK_XFRM",) if _kernel_has_xfrm() else ()))
OTHER = "the-other-one"
OPENS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "--privileged": ({"security": Security(privileged=True)}, (*_CAPABILITIES, *_MOUNTING, *_NETWORK)),
    "--cap-add": ({"security": Security(cap_add=("CAP_NET_RAW",))}, (*_CAPABILITIES, "I6 socket AF_PACKET")),
    "--cap-drop": ({"security": Security(cap_drop=("all",))}, _CAPABILITIES),
    "--device": (
        {"security": Security(devices=(Device.parse("/dev/full:/dev/more/full:r"),))},
        ("I14 all names in /dev",),
    ),
    "--pid host": (
        {"namespaces": Namespaces(pid="host")},
        ("I7 pid namespace", "I29 pid 1 is the command", "I29 PPid"),
    ),
    "--ipc host": ({"namespaces": Namespaces(ipc="host")}, ("I7 ipc namespace", "I13 /dev/shm size")),
    "--uts host": ({"namespaces": Namespaces(uts="host")}, ("I7 uts namespace",)),
    "--network host": (
        {"network": NetworkMode.HOST},
        (
            "I7 net namespace",
            "I25 net.ipv4.ping_group_range",
            "I25 net.ipv4.ip_unprivileged_port_start",
            *(("I32 interfaces",) if os.listdir("/sys/class/net") != ["lo"] else ()),
        ),
    ),
    "--userns host": (
        {"namespaces": Namespaces(user="host")},
        ("I7 user namespace", "I8 uid_map", "I8 gid_map", "I9 user.max_user_namespaces"),
    ),
    "--pid container": ({"namespaces": Namespaces(pid=f"container:{OTHER}")}, ("I29 pid 1 is the command",)),
    "--ipc container": ({"namespaces": Namespaces(ipc=f"container:{OTHER}")}, ()),
    "--network container": (
        {"network": NetworkMode.CONTAINER, "namespaces": Namespaces(network=f"container:{OTHER}")},
        ("I25 net.ipv4.ping_group_range",),
    ),
    "--sysctl": ({"security": Security(sysctls={"kernel.msgmax": "4096", "net.ipv4.tcp_fin_timeout": "77"})}, ()),
    "--ulimit": ({"security": Security(ulimits=(Ulimit("nofile", 100, 200),))}, ("I22 RLIMIT_NOFILE, soft",)),
    "seccomp=unconfined": (
        {"security": Security(seccomp="unconfined")},
        ("I5 Seccomp", "I5 Seccomp_filters", *_UNFILTERED, "I6 a call of the x32 ABI", "I6 a call of the i386 ABI"),
    ),
    "seccomp=FILE": ({"security": Security(seccomp=LENIENT)}, _UNFILTERED),
    "--read-only": (
        {"security": Security(read_only=True)},
        ("I13 /", "I15 mknod of null", "I15 mknod of disk"),
    ),
    "--shm-size": ({"security": Security(shm_bytes=2**20)}, ("I13 /dev/shm size",)),
    "--oom-score-adj": ({"security": Security(oom_score_adj=300)}, ("I21 oom_score_adj",)),
    "--group-add": ({"security": Security(group_add=("44", "tty"))}, ("I26 groups",)),
}  # fmt: skip
if USER_MODE:  # built without many calls: what it says when nothing filters them is about that kernel alone
    for name in ("--privileged", "seccomp=unconfined", "seccomp=FILE"):
        del OPENS[name]
# As a further command it has a pipe, and is not the first process.
ENTERED = {"I29 pid 1 is the command", "I30 standard input"}


@pytest.fixture(scope="module")
def other(starter: Engine) -> Iterator[Container]:
    """A running container whose namespaces another one shares."""
    script = "echo secret > /dev/shm/note; chmod 600 /dev/shm/note; exec sleep 1000"
    created = starter.create(ContainerSpec(image="wharfie/starter", name=OTHER, command=("sh", "-c", script)))
    yield starter.start(created.id)
    starter.remove(created.id, force=True)


@pytest.fixture(scope="module", params=OPENS)
def opened(request: pytest.FixtureRequest, starter: Engine, other: Container) -> tuple[str, Facts]:
    """What the probe finds with one option."""
    return request.param, probe(starter, **OPENS[request.param][0])


def broken(facts: Facts) -> set[str]:
    """The rows that do not hold, but for what this kernel does not have."""
    return {row.name for row in asked() if not row.holds(facts)}


def run(engine: Engine, *command: str, **options: Any) -> tuple[int | None, list[str]]:
    """A command's exit code and lines."""
    container = engine.create(ContainerSpec(image="wharfie/starter", command=command, **options))
    try:
        engine.start(container.id)
        ended = engine.wait(container.id, timeout_s=60)
        return ended.code, [line.text for line in engine.logs(container.id)]
    finally:
        engine.remove(container.id, force=True)


def shell(engine: Engine, script: str, **options: Any) -> list[str]:
    """The lines that a script prints, which must succeed."""
    code, lines = run(engine, "sh", "-c", script, **options)
    assert code == 0, lines
    return lines


def test_an_option_opens_what_it_says_and_nothing_else(opened: tuple[str, Facts]) -> None:
    name, facts = opened
    assert broken(facts) == set(OPENS[name][1])


def test_no_option_takes_a_mask_away_or_lets_new_privileges_in(opened: tuple[str, Facts]) -> None:
    _, facts = opened
    assert {path for path in MASKED if facts["masked"][path] == "shown"} == set()
    assert facts["status"]["NoNewPrivs"] == "1"
    assert facts["fds"] == [0, 1, 2]


def test_only_one_option_makes_root_inside_root_of_the_host(opened: tuple[str, Facts]) -> None:
    name, facts = opened
    assert (int(facts["uid_map"][1]) >= LOWEST_ID) == (name != "--userns host")


@pytest.mark.parametrize("name", OPENS)
def test_a_further_command_finds_the_same(starter: Engine, other: Container, name: str) -> None:
    options, rows = OPENS[name]
    assert broken(entered(starter, **options)) - ENTERED == set(rows) - ENTERED


# What a container has of its own devices, root and groups, a toolbox has not.
NOT_IN_A_TOOLBOX = {"--device", "--read-only", "--group-add"}


@pytest.mark.parametrize("name", OPENS)
def test_a_toolbox_finds_the_same(starter: Engine, other: Container, name: str) -> None:
    options, rows = OPENS[name]
    expected = set() if name in NOT_IN_A_TOOLBOX else set(rows)
    if name == "--ipc host":
        expected -= {"I13 /dev/shm size"}  # its own
    facts = entered(starter, toolbox=True, **options)
    assert broken(facts) - ENTERED == expected - ENTERED
    assert {path for path in MASKED if facts["masked"][path] == "shown"} == set()


# Privileged: every capability, but over nothing of the host.


@pytest.fixture(scope="module", params=["--privileged", "--cap-add SYS_ADMIN", "seccomp=unconfined"])
def attacked(request: pytest.FixtureRequest, starter: Engine) -> tuple[str, dict[str, Any]]:
    """What a hostile root met."""
    security = {
        "--privileged": Security(privileged=True),
        "--cap-add SYS_ADMIN": Security(cap_add=("SYS_ADMIN",)),
        "seccomp=unconfined": Security(cap_add=("ALL",), seccomp="unconfined"),
    }[request.param]
    code, lines = run(starter, *ATTACK, security=security)
    assert code == 0, lines
    return request.param, json.loads(lines[-1])


@pytest.mark.parametrize("where", ["first", "in a mount namespace of its own"])
def test_a_privileged_root_takes_no_mount_away_and_gets_nothing_of_the_host(
    attacked: tuple[str, dict[str, Any]], where: str
) -> None:
    found = attacked[1][where]
    for act in ("unmounted", "unmounted lazily", "made writable", "made to hold devices", "moved"):
        assert found[act] == [], act
    assert {found[kind] for kind in ("a new proc", "a new sysfs")} <= {"EPERM", "EBUSY"}
    assert set(found["the disk"]) <= {"ENOENT", "ENOTBLK", "EPERM", "EACCES"}
    assert {found[kind] for kind in ("devtmpfs", "securityfs", "debugfs")} <= {"EPERM", "ENODEV"}
    assert {found["a node of a disk"], found["a node of kmsg"]} == {"EPERM"}
    assert set(found["knobs of the host"].values()) <= {"EACCES", "EROFS", "EPERM", "ENOENT"}
    assert len(found["knobs of the host"]) >= 5
    assert found["keys"] == ""
    assert found["a user namespace"] in ("ENOSPC", "EPERM")
    assert found["the clock"] == "EPERM"
    for answers in found["cgroups"].values():
        assert set(answers) <= {"EACCES", "EPERM", "EROFS"}


def test_a_privileged_root_does_what_it_may_at_home(attacked: tuple[str, dict[str, Any]]) -> None:
    assert set(attacked[1]["works"].values()) == {"ok"}


def test_a_privileged_container_sees_no_file_of_the_host(starter: Engine, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    sentinel.write_text("of the host")
    script = f"for top in / /proc/1/root /proc/self/root/../../..; do test ! -e $top{sentinel} || echo found; done"
    assert shell(starter, script, security=Security(privileged=True)) == []
    assert sentinel.read_text() == "of the host"


def test_root_in_a_privileged_container_is_nobody_on_the_host(starter: Engine) -> None:
    spec = ContainerSpec(image="wharfie/starter", command=("sleep", "1000"), security=Security(privileged=True))
    container = starter.start(starter.create(spec).id)
    status = Path(f"/proc/{container.pid}/status").read_text()
    starter.remove(container.id, force=True)
    assert [line.split()[1] for line in status.splitlines() if line.startswith("Uid")] == [str(container.uid_base)]
    assert container.uid_base >= LOWEST_ID


def test_a_privileged_command_has_every_capability_and_the_containers_filter(starter: Engine) -> None:
    assert broken(entered(starter, privileged=True)) == {*_CAPABILITIES, *_NETWORK, *ENTERED}
    facts = entered(starter, privileged=True)
    assert {facts["status"][name] for name in ("CapPrm", "CapEff", "CapBnd")} == {ALL}
    assert facts["syscalls"]["mount"] == "EPERM"


def test_a_user_other_than_root_has_no_capability_even_when_privileged(starter: Engine) -> None:
    status = probe(starter, security=Security(privileged=True), user="1000")["status"]
    assert (int(status["CapPrm"], 16), int(status["CapEff"], 16), status["CapBnd"]) == (0, 0, ALL)


def test_capabilities_are_added_and_dropped_as_docker_does(starter: Engine) -> None:
    for security, expected in (
        (Security(cap_drop=("ALL",), cap_add=("CHOWN", "net_raw")), ("CHOWN", "NET_RAW")),
        (Security(cap_drop=("CAP_SETUID",)), tuple(n for n in capabilities.DEFAULT if n != "SETUID")),
        (Security(cap_add=("ALL",), cap_drop=("KILL",)), tuple(n for n in capabilities.ALL if n != "KILL")),
    ):  # fmt: skip
        status = probe(starter, security=security)["status"]
        mask = capabilities.mask(expected) & int(ALL, 16)
        assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {mask}


# The host's user namespace: everything else stays.


def test_with_the_hosts_user_namespace_root_is_uid_0_and_still_shut_in(starter: Engine) -> None:
    before = Path("/proc/sys/user/max_user_namespaces").read_text()
    script = (
        "id -u; touch /tmp/made; stat -c %u /tmp/made /etc/passwd; echo 1 2>&1 > /proc/sys/kernel/core_pattern;"
        " mknod /tmp/disk b 254 0; cat /proc/keys; exit 0"
    )
    lines = shell(starter, script, namespaces=Namespaces(user="host"))
    assert lines[:3] == ["0", "0", "0"]
    assert any("Read-only file system" in line for line in lines)
    assert any("Operation not permitted" in line for line in lines)
    assert Path("/proc/sys/user/max_user_namespaces").read_text() == before, "that of the host is not the container's"


def test_with_the_hosts_user_namespace_volumes_and_images_keep_their_ids(starter: Engine) -> None:
    from engine import VolumeMount

    starter.create_volume("of-root")
    options: dict[str, Any] = {"volumes": (VolumeMount("of-root", "/data"),)}
    try:
        shell(starter, "echo mine > /data/file; chown 7:7 /data/file", **options)
        for namespaces in (Namespaces(user="host"), Namespaces()):
            assert shell(starter, "stat -c %u:%g /data/file /etc/passwd", namespaces=namespaces, **options) == [
                "7:7",
                "0:0",
            ]
    finally:
        starter.remove_volume("of-root")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"security": Security(privileged=True)}, "privileged"),
        ({"security": Security(cap_add=("SYS_ADMIN",))}, "cap_add"),
        ({"security": Security(cap_add=("SYS_PTRACE",))}, "cap_add"),
        ({"security": Security(cap_add=("DAC_READ_SEARCH",))}, "cap_add"),
        ({"security": Security(cap_add=("NET_ADMIN",)), "network": NetworkMode.HOST}, "cap_add"),
        ({"security": Security(cap_add=("AUDIT_WRITE",))}, "cap_add"),
        ({"security": Security(seccomp="unconfined")}, "seccomp"),
        ({"namespaces": Namespaces(user="host", pid="host")}, "pid"),
        ({"namespaces": Namespaces(user="host", ipc=f"container:{OTHER}")}, "userns"),
    ],
)
def test_root_of_the_host_gets_nothing_more(
    starter: Engine, other: Container, more: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        starter.create(ContainerSpec(image="wharfie/starter", **({"namespaces": Namespaces(user="host")} | more)))
    assert refused.value.field == field
    assert refused.value.hint


def test_no_privileged_command_runs_as_root_of_the_host(starter: Engine) -> None:
    spec = ContainerSpec(image="wharfie/starter", command=("sleep", "1000"), namespaces=Namespaces(user="host"))
    container = starter.start(starter.create(spec).id)
    try:
        with pytest.raises(InvalidRequest):
            starter.exec(container.id, ExecSpec(("true",), privileged=True))
    finally:
        starter.remove(container.id, force=True)


# Devices.


def test_a_device_is_there_as_its_own_and_no_other_opens(starter: Engine, tmp_path: Path) -> None:
    security = Security(devices=(Device.parse("/dev/full:/dev/more/full:r"), Device.parse("/dev/kmsg:r")))
    script = "stat -c '%u:%g %t:%T %a' /dev/more/full; head -c1 /dev/more/full | wc -c"
    assert shell(starter, script, security=security) == ["0:0 1:7 666", "1"]
    container = starter.create(ContainerSpec(image="wharfie/starter", command=("sleep", "1000"), security=security))
    try:
        starter.start(container.id)
        assert made_in_group(starter, container, (*DEVICES, *OTHER_DEVICES), tmp_path) == set(DEVICES)
        assert opened_in_group(starter, container) == {"r"}
    finally:
        starter.remove(container.id, force=True)


def opened_in_group(engine: Engine, container: Container) -> set[str]:
    """How a process of the host's root may open kmsg in the container's group: it alone decides then."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            for group in groups(engine, container.id):
                (group / "cgroup.procs").write_text(str(os.getpid()))
            for name, flag in (("r", os.O_RDONLY), ("w", os.O_WRONLY), ("b", os.O_RDWR)):
                try:
                    os.close(os.open("/dev/kmsg", flag | os.O_NONBLOCK))
                except PermissionError:
                    continue
                os.write(write_end, name.encode())
        finally:
            os._exit(0)
    os.close(write_end)
    found = os.read(read_end, 100).decode()
    os.close(read_end)
    os.waitpid(pid, 0)
    return set(found)


@pytest.mark.parametrize(
    "text",
    [
        "/dev/nonsuch", "/dev", "/dev/", "/etc/passwd", "/dev/../etc/passwd", "/dev/shm", "/dev/full:/etc/full",
        "/dev/full:/dev/../x", "/dev/full:/dev/null", "/dev/full:/dev/pts/9", "/dev/full:/dev/shm/x",
        "/dev/full:/dev/a/../b",
    ],
)  # fmt: skip
def test_what_is_no_device_or_goes_to_no_good_place_is_refused(starter: Engine, text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        starter.create(ContainerSpec(image="wharfie/starter", security=Security(devices=(Device.parse(text),))))
    assert refused.value.field == "devices"


def test_a_disk_that_the_host_uses_is_refused(starter: Engine) -> None:
    mounted = {line.split()[0] for line in Path("/proc/mounts").read_text().splitlines()}
    disks = [path for path in mounted if path.startswith("/dev/") and Path(path).is_block_device()]
    if not disks:
        number = os.stat(starter.paths.root).st_dev
        disks = [f"/dev/{Path(f'/sys/dev/block/{os.major(number)}:{os.minor(number)}').resolve().name}"]
    for disk in disks:
        with pytest.raises(InvalidRequest) as refused:
            starter.create(ContainerSpec(image="wharfie/starter", security=Security(devices=(Device.parse(disk),))))
        assert refused.value.field == "devices"


# Namespaces of another container.


def test_processes_of_another_container_are_seen_and_signalled_but_not_traced(
    starter: Engine, other: Container
) -> None:
    script = (
        "tr '\\0' ' ' < /proc/1/cmdline; echo; kill -0 1 && echo heard;"
        " ls /proc/1/root > /dev/null 2>&1 || echo closed; cat /proc/1/environ > /dev/null 2>&1 || echo shut"
    )
    security = Security(privileged=True)
    lines = shell(starter, script, namespaces=Namespaces(pid=f"container:{OTHER}"), security=security)
    assert lines == ["sleep 1000 ", "heard", "closed", "shut"]


def test_memory_is_shared_with_another_container(starter: Engine, other: Container) -> None:
    namespaces = Namespaces(ipc=f"container:{other.id}")
    assert shell(starter, "cat /dev/shm/note; readlink /proc/self/ns/ipc", namespaces=namespaces) == [
        "secret",
        os.readlink(f"/proc/{other.pid}/ns/ipc"),
    ]


def test_the_network_of_another_container_is_shared_and_cannot_be_changed(starter: Engine, other: Container) -> None:
    code = (
        "import os, socket, struct, fcntl\n"
        "print(os.readlink('/proc/self/ns/net'))\nprint(*os.listdir('/sys/class/net'))\n"
        "s = socket.socket()\ntry:\n fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0))\n print('down')\n"
        "except PermissionError:\n print('refused')\n"
    )
    options: dict[str, Any] = {
        "network": NetworkMode.CONTAINER,
        "namespaces": Namespaces(network=f"container:{OTHER}"),
        "security": Security(cap_add=("NET_ADMIN",)),
    }
    _, lines = run(starter, "python3", "-I", "-c", code, **options)
    assert lines == [os.readlink(f"/proc/{other.pid}/ns/net"), "lo", "refused"]


def test_who_shares_memory_or_processes_lives_on_the_same_ids_and_who_shares_a_network_does_not(
    starter: Engine, other: Container
) -> None:
    made = [
        starter.create(ContainerSpec(image="wharfie/starter", namespaces=namespaces, network=network))
        for namespaces, network in (
            (Namespaces(pid=f"container:{OTHER}", ipc=f"container:{OTHER}"), NetworkMode.NONE),
            (Namespaces(network=f"container:{OTHER}"), NetworkMode.CONTAINER),
        )
    ]
    assert [container.uid_base == other.uid_base for container in made] == [True, False]
    for container in made:
        starter.remove(container.id)


def test_ids_are_not_given_away_while_one_that_shares_them_is_left(starter: Engine) -> None:
    first = starter.create(ContainerSpec(image="wharfie/starter", name="lender"))
    second = starter.create(ContainerSpec(image="wharfie/starter", namespaces=Namespaces(ipc="container:lender")))
    starter.remove(first.id)
    made = [starter.create(ContainerSpec(image="wharfie/starter")) for _ in range(3)]
    assert second.uid_base not in {container.uid_base for container in made}
    for container in (second, *made):
        starter.remove(container.id)


@pytest.mark.parametrize("kind", ["pid", "ipc", "network"])
def test_what_does_not_run_is_not_shared(starter: Engine, kind: str) -> None:
    idle = starter.create(ContainerSpec(image="wharfie/starter", name="idle"))
    network = NetworkMode.CONTAINER if kind == "network" else NetworkMode.NONE
    spec = ContainerSpec(image="wharfie/starter", network=network, namespaces=Namespaces(**{kind: "container:idle"}))
    sharing = starter.create(spec)
    try:
        with pytest.raises(WrongState, match="does not run"):
            starter.start(sharing.id)
        assert groups(starter, sharing.id) == []
    finally:
        starter.remove(sharing.id)
        starter.remove(idle.id)


def test_when_a_container_ends_those_that_share_its_processes_end_and_nothing_is_left(starter: Engine) -> None:
    first = starter.start(starter.create(ContainerSpec(image="wharfie/starter", command=("sleep", "1000"))).id)
    spec = ContainerSpec(
        image="wharfie/starter", command=("sleep", "1000"), namespaces=Namespaces(pid=f"container:{first.id}")
    )
    second = starter.start(starter.create(spec).id)
    starter.kill(first.id)
    assert starter.wait(second.id, timeout_s=20).code == 137
    with pytest.raises(WrongState):
        starter.start(second.id)
    for container in (first, second):
        starter.remove(container.id)
        assert groups(starter, container.id) == []


def test_with_the_hosts_processes_the_end_of_the_first_ends_all(starter: Engine) -> None:
    container = starter.create(
        ContainerSpec(
            image="wharfie/starter", command=("sh", "-c", "sleep 4321 & sleep 0.2"), namespaces=Namespaces(pid="host")
        )
    )
    starter.start(container.id)
    assert starter.wait(container.id, timeout_s=30).code == 0
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _words(path) == ["sleep", "4321"]]
    starter.remove(container.id)
    assert left == []


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def test_with_the_hosts_processes_none_of_them_is_reached(starter: Engine) -> None:
    script = (
        f"kill -0 {os.getpid()} 2> /dev/null && echo heard; cat /proc/{os.getpid()}/environ 2> /dev/null && echo read;"
        f" ls /proc/{os.getpid()}/root 2> /dev/null && echo entered; ls /proc/{os.getpid()}/fd 2> /dev/null; exit 0"
    )
    options: dict[str, Any] = {"namespaces": Namespaces(pid="host"), "security": Security(privileged=True)}
    assert shell(starter, script, **options) == []


# The rest.


def test_settings_of_the_containers_own_namespaces(starter: Engine) -> None:
    before = {name: Path(f"/proc/sys/{name}").read_text() for name in ("kernel/msgmax", "kernel/sem")}
    wanted = {
        "kernel.msgmax": "1234",
        "kernel.sem": "10 20 30 40",
        "fs.mqueue.msg_max": "22",
        "net.core.somaxconn": "77",
    }
    files = " ".join(f"/proc/sys/{name.replace('.', '/')}" for name in wanted)
    lines = shell(starter, f"cat {files}", security=Security(sysctls=wanted))
    assert [line.replace("\t", " ") for line in lines] == list(wanted.values())
    assert {name: Path(f"/proc/sys/{name}").read_text() for name in before} == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|x"), ("kernel.core_pattern", "x"), ("kernel.hostname", "x"),
        ("kernel.domainname", "x"), ("vm.swappiness", "1"), ("fs.file-max", "1"),
        ("kernel.shmmax/../core_pattern", "1"),
        ("net", "1"), ("net.", "1"), ("net..core", "1"), ("net.core/../../kernel/core_pattern", "1"), ("", "1"),
        ("net.ipv4.ip_forward", "1\n"), ("net.ipv4.ip_forward", ""), ("fs.mqueue.", "1"), ("fs.mqueue.../x", "1"),
        ("kernel.shmmax ", "1"), ("KERNEL.SHMMAX", "1"), ("user.max_user_namespaces", "9"),
    ],
)  # fmt: skip
def test_settings_of_the_host_are_refused(starter: Engine, name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        starter.create(ContainerSpec(image="wharfie/starter", security=Security(sysctls={name: value})))
    assert refused.value.field == "sysctls"


@pytest.mark.parametrize(
    ("name", "value"), [("net.core.rmem_max", "4096"), ("net.core.nonsuch", "1"), ("kernel.msgmni", "-5")]
)
def test_settings_that_the_kernel_refuses_leave_nothing_behind(starter: Engine, name: str, value: str) -> None:
    container = starter.create(ContainerSpec(image="wharfie/starter", security=Security(sysctls={name: value})))
    with pytest.raises(InvalidRequest) as refused:
        starter.start(container.id)
    starter.remove(container.id)
    assert refused.value.field == "sysctls"
    assert groups(starter, container.id) == []


@pytest.mark.parametrize(
    ("namespaces", "network", "name"),
    [
        (Namespaces(ipc="host"), NetworkMode.NONE, "kernel.msgmax"),
        (Namespaces(ipc=f"container:{OTHER}"), NetworkMode.NONE, "fs.mqueue.msg_max"),
        (Namespaces(), NetworkMode.HOST, "net.core.somaxconn"),
        (Namespaces(network=f"container:{OTHER}"), NetworkMode.CONTAINER, "net.core.somaxconn"),
    ],
)
def test_settings_of_shared_namespaces_are_refused(
    starter: Engine, other: Container, namespaces: Namespaces, network: NetworkMode, name: str
) -> None:
    security = Security(sysctls={name: "1"})
    with pytest.raises(InvalidRequest) as refused:
        starter.create(
            ContainerSpec(image="wharfie/starter", namespaces=namespaces, network=network, security=security)
        )
    assert refused.value.field == "sysctls"


def test_limits_of_processes_hold_for_each_command_and_not_above_the_hosts(starter: Engine) -> None:
    limits = (Ulimit.parse("nofile=100:200"), Ulimit.parse("nproc=50"), Ulimit.parse("stack=1048576:unlimited"))
    lines = shell(starter, "ulimit -Sn; ulimit -Hn; ulimit -Hc", security=Security(ulimits=limits))
    assert lines == ["100", "200", "0"]
    container = starter.create(
        ContainerSpec(image="wharfie/starter", security=Security(ulimits=(Ulimit("nofile", 1, 2**40),)))
    )
    with pytest.raises(InvalidRequest, match="above the host's own"):
        starter.start(container.id)
    starter.remove(container.id)


def test_a_profile_decides(starter: Engine) -> None:
    refuse = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refuse]})
    code, lines = run(starter, "mkdir", "/tmp/made", security=Security(seccomp=profile))
    assert (code, lines) == (1, ["mkdir: cannot create directory '/tmp/made': Operation not supported"])


def test_a_profile_with_which_nothing_could_start_is_refused(starter: Engine) -> None:
    security = Security(seccomp=json.dumps({"defaultAction": "SCMP_ACT_ERRNO"}))
    with pytest.raises(InvalidRequest, match="execve"):
        starter.create(ContainerSpec(image="wharfie/starter", security=security))


def test_with_the_barest_profile_a_missing_command_is_told_all_the_same(starter: Engine) -> None:
    needed = {"names": ["execve", "exit_group", "write"], "action": "SCMP_ACT_ALLOW"}
    security = Security(seccomp=json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [needed]}))
    with pytest.raises(CommandNotFound):
        run(starter, "nonsuch", security=security)


def test_a_read_only_root_has_its_working_directory_all_the_same(starter: Engine) -> None:
    script = "pwd; touch /made 2> /dev/null || echo shut; touch /dev/shm/made && echo open"
    assert shell(starter, script, workdir="/srv/deep/er", security=Security(read_only=True)) == [
        "/srv/deep/er",
        "shut",
        "open",
    ]


def test_names_of_the_host(starter: Engine) -> None:
    assert shell(starter, "hostname; cat /etc/hostname", namespaces=Namespaces(uts="host")) == [os.uname().nodename] * 2
    names = {"hostname": "web", "domainname": "example.org"}
    assert shell(starter, "cat /proc/sys/kernel/domainname /proc/sys/kernel/hostname", **names) == [
        "example.org",
        "web",
    ]


def test_groups_are_added_by_name_and_number_and_unknown_ones_refused(starter: Engine) -> None:
    assert shell(starter, "id -G", user="1000:1000", security=Security(group_add=("tty", "4444"))) == ["1000 5 4444"]
    container = starter.create(ContainerSpec(image="wharfie/starter", security=Security(group_add=("nonsuch",))))
    with pytest.raises(InvalidRequest) as refused:
        starter.start(container.id)
    starter.remove(container.id)
    assert refused.value.field == "group_add"
