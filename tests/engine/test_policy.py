"""Who may ask for what: each option, each role, each way in."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine import (
    BindMount,
    Caller,
    Container,
    ContainerSpec,
    Device,
    Engine,
    ExecSpec,
    IoLimit,
    Limits,
    Namespaces,
    NetworkMode,
    Role,
    Security,
    Ulimit,
    for_admins,
)
from engine.errors import Denied, EngineError, NotFound

pytestmark = pytest.mark.one_engine

MEMBER, ADMIN = Caller(Role.MEMBER, "mate"), Caller(Role.ADMIN, "captain")
# By the field that is blamed. None of these does harm when it is created and never started.
FOR_ADMINS: dict[str, dict[str, Any]] = {
    "privileged": {"security": Security(privileged=True)},
    "cap_add": {"security": Security(cap_add=("NET_RAW",))},
    "devices": {"security": Security(devices=(Device.parse("/dev/full:/dev/other"),))},
    "seccomp": {"security": Security(seccomp="unconfined")},
    "network": {"network": NetworkMode.HOST},
    "pid": {"namespaces": Namespaces(pid="host")},
    "ipc": {"namespaces": Namespaces(ipc="host")},
    "uts": {"namespaces": Namespaces(uts="host")},
    "userns": {"namespaces": Namespaces(user="host")},
    "binds": {"binds": (BindMount("/srv", "/mnt", read_only=True),)},
    "memory_swap": {"limits": Limits(memory_bytes=2**27, memory_swap_bytes=-1)},
    "io": {"limits": Limits(io=(IoLimit("8:0", read_bytes_per_s=1),))},
}
OTHER_FORMS: list[tuple[str, dict[str, Any]]] = [
    ("cap_add", {"security": Security(cap_add=("all",))}),
    ("cap_add", {"security": Security(cap_drop=("ALL",), cap_add=("CAP_SYS_ADMIN",))}),
    ("seccomp", {"security": Security(seccomp='{"defaultAction": "SCMP_ACT_ALLOW"}')}),
    ("network", {"network": NetworkMode.CONTAINER, "namespaces": Namespaces(network="container:x")}),
    ("network", {"namespaces": Namespaces(network="container:x")}),
    ("pid", {"namespaces": Namespaces(pid="container:x")}),
    ("pid", {"namespaces": Namespaces(pid="nonsense")}),
    ("ipc", {"namespaces": Namespaces(ipc="container:x")}),
    ("userns", {"namespaces": Namespaces(user="container:x")}),
]
FOR_EVERYBODY: dict[str, dict[str, Any]] = {
    "cap_drop": {"security": Security(cap_drop=("ALL",), cap_add=("CHOWN",))},
    "sysctls": {"security": Security(sysctls={"net.core.somaxconn": "9"})},
    "ulimits": {"security": Security(ulimits=(Ulimit("nofile", 9, 9),))},
    "read_only": {"security": Security(read_only=True)},
    "shm_bytes": {"security": Security(shm_bytes=2**20)},
    "oom_score_adj": {"security": Security(oom_score_adj=9)},
    "group_add": {"security": Security(group_add=("9",))},
}
IN_NAMESPACES = {"pid": "pid", "ipc": "ipc", "uts": "uts", "user": "userns", "network": "network"}


def test_every_option_is_for_admins_or_for_everybody() -> None:
    fields = {field.name for field in dataclasses.fields(Security)}
    fields |= {IN_NAMESPACES[field.name] for field in dataclasses.fields(Namespaces) if field.name != "uid_base"}
    assert FOR_ADMINS.keys().isdisjoint(FOR_EVERYBODY)
    assert fields == (FOR_ADMINS.keys() | FOR_EVERYBODY) - {"memory_swap", "io", "binds"}


@pytest.mark.parametrize("field", FOR_ADMINS)
def test_create_refuses_a_member_and_names_the_option(engine: Engine, field: str) -> None:
    with pytest.raises(Denied) as refused:
        engine.create(ContainerSpec(image="nonsuch", **FOR_ADMINS[field]), caller=MEMBER)
    option = for_admins(ContainerSpec(image="nonsuch", **FOR_ADMINS[field]))[field]
    assert (refused.value.field, refused.value.message) == (field, f"{option} is for admins only")
    assert "ask an admin" in refused.value.hint
    assert engine.containers() == []


@pytest.mark.parametrize(("field", "options"), OTHER_FORMS)
def test_create_refuses_a_member_in_whatever_form(engine: Engine, field: str, options: dict[str, Any]) -> None:
    with pytest.raises(Denied) as refused:
        engine.create(ContainerSpec(image="nonsuch", **options), caller=MEMBER)
    assert refused.value.field == field


@pytest.mark.parametrize("caller", [ADMIN, Caller()], ids=["admin", "the command line"])
@pytest.mark.parametrize("field", sorted(FOR_ADMINS.keys() - {"io"}))
def test_create_lets_an_admin(dock: Engine, field: str, caller: Caller) -> None:
    container = dock.create(ContainerSpec(image="busybox", **FOR_ADMINS[field]), caller=caller)
    assert list(for_admins(container.spec)) == [field]


@pytest.mark.parametrize("caller", [MEMBER, ADMIN], ids=["member", "admin"])
@pytest.mark.parametrize("field", FOR_EVERYBODY)
def test_create_lets_everybody_have_what_opens_nothing(dock: Engine, field: str, caller: Caller) -> None:
    container = dock.create(ContainerSpec(image="busybox", **FOR_EVERYBODY[field]), caller=caller)
    assert for_admins(container.spec) == {}


def test_what_the_image_says_opens_nothing(dock: Engine) -> None:
    """A member's container is the default one, whatever fields a caller leaves as they are."""
    assert for_admins(dock.create(ContainerSpec(image="busybox"), caller=MEMBER).spec) == {}


# Exec, terminals, attach.


@pytest.fixture
def opened(dock: Engine) -> Iterator[Callable[[str], Container]]:
    """Makes and starts a container with one option."""

    def make(field: str) -> Container:
        options = FOR_ADMINS.get(field, {})
        made = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), stdin=True, **options))
        return dock.start(made.id)

    yield make
    for container in dock.containers():
        dock.remove(container.id, force=True)


ENTRIES: dict[str, Callable[[Engine, Container, Caller], object]] = {
    "exec": lambda engine, container, caller: engine.exec(container.id, ExecSpec(("true",)), caller=caller),
    "terminal": lambda engine, container, caller: engine.terminal(container.id, ExecSpec(("true",)), caller=caller),
    "attach": lambda engine, container, caller: engine.attach(container.id, "0" * 12, caller=caller),
    "input": lambda engine, container, caller: engine.input(container.id, caller=caller),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("field", sorted(FOR_ADMINS.keys() - {"io"}))
def test_a_member_does_not_get_by_entering_what_creating_refuses(
    dock: Engine, opened: Callable[[str], Container], field: str, entry: str
) -> None:
    container = opened(field)
    with pytest.raises(Denied) as refused:
        ENTRIES[entry](dock, container, MEMBER)
    assert refused.value.field == field
    assert for_admins(container.spec)[field] in refused.value.message
    if entry == "attach":
        with pytest.raises(NotFound):  # which an admin may learn
            ENTRIES[entry](dock, container, ADMIN)
    elif entry == "input":
        os.close(dock.input(container.id, caller=ADMIN))
    else:
        ENTRIES[entry](dock, container, ADMIN).close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("entry", ["exec", "terminal"])
def test_a_privileged_command_is_for_admins(dock: Engine, opened: Callable[[str], Container], entry: str) -> None:
    container = opened("")
    act = getattr(dock, entry)
    with pytest.raises(Denied) as refused:
        act(container.id, ExecSpec(("true",), privileged=True), caller=MEMBER)
    assert refused.value.field == "privileged"
    act(container.id, ExecSpec(("true",), privileged=True), caller=ADMIN).close()
    act(container.id, ExecSpec(("true",)), caller=MEMBER).close()


def test_a_terminal_with_every_capability_is_for_admins_whoever_opened_it(
    dock: Engine, opened: Callable[[str], Container]
) -> None:
    container = opened("")
    terminals = [
        dock.terminal(container.id, ExecSpec(("cat",), privileged=every), caller=ADMIN) for every in (True, False)
    ]
    sessions = [terminal.info.session for terminal in terminals]
    for act in (dock.attach, dock.end_terminal):
        with pytest.raises(Denied, match="this terminal"):
            act(container.id, sessions[0], caller=MEMBER)
    dock.attach(container.id, sessions[0], caller=ADMIN).close()
    dock.attach(container.id, sessions[1], caller=MEMBER).close()
    dock.end_terminal(container.id, sessions[1], caller=MEMBER)
    for terminal in terminals:
        terminal.close()


# Update.


@pytest.mark.parametrize("field", ["memory_swap", "io"])
def test_update_refuses_a_member_and_changes_nothing(dock: Engine, field: str) -> None:
    container = dock.create(ContainerSpec(image="busybox"), caller=MEMBER)
    wanted: Limits = FOR_ADMINS[field]["limits"]
    with pytest.raises(Denied) as refused:
        dock.update(container.id, wanted, caller=MEMBER)
    assert refused.value.field == field
    assert dock.inspect(container.id).spec == container.spec


def test_update_lets_an_admin_and_a_member_change_the_rest(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox"))
    dock.update(container.id, FOR_ADMINS["memory_swap"]["limits"], caller=ADMIN)
    changed = dock.update(container.id, Limits(pids=9), caller=MEMBER)
    assert (changed.spec.limits.pids, changed.spec.limits.memory_swap_bytes) == (9, -1)


def test_update_has_no_way_to_any_other_option() -> None:
    """An option that is not among its arguments is not asked for."""
    assert inspect.signature(Engine.update).parameters.keys() == {"self", "ref", "limits", "restart", "name", "caller"}


@pytest.mark.parametrize("value", [-1, -1000, 1001])
def test_nobody_gets_a_score_below_the_hosts_own_programs(engine: Engine, value: int) -> None:
    with pytest.raises(EngineError) as refused:
        engine.create(ContainerSpec(image="nonsuch", security=Security(oom_score_adj=value)), caller=ADMIN)
    assert refused.value.field == "oom_score_adj"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"security": Security(shm_bytes=0)}, "shm_bytes"),
        ({"security": Security(shm_bytes=-1)}, "shm_bytes"),
        ({"security": Security(shm_bytes=2**60)}, "shm_bytes"),
        ({"security": Security(cap_add=("NONSUCH",))}, "cap_add"),
        ({"security": Security(cap_drop=("",))}, "cap_drop"),
        ({"security": Security(ulimits=(Ulimit("nonsuch", 1, 1),))}, "ulimits"),
        ({"security": Security(ulimits=(Ulimit("nofile", 2, 1),))}, "ulimits"),
        ({"security": Security(ulimits=(Ulimit("nofile", -1, 1),))}, "ulimits"),
        ({"security": Security(ulimits=(Ulimit("nofile", 1, -2),))}, "ulimits"),
        ({"security": Security(group_add=("65536",))}, "group_add"),
        ({"security": Security(group_add=("a:b",))}, "group_add"),
        ({"security": Security(group_add=("",))}, "group_add"),
        ({"namespaces": Namespaces(pid="container:")}, "pid"),
        ({"namespaces": Namespaces(pid="ns:/proc/1/ns/pid")}, "pid"),
        ({"namespaces": Namespaces(uts="container:x")}, "uts"),
        ({"namespaces": Namespaces(user="container:x")}, "userns"),
        ({"namespaces": Namespaces(uid_base=0)}, "userns"),
        ({"namespaces": Namespaces(network="host"), "network": NetworkMode.CONTAINER}, "network"),
        ({"namespaces": Namespaces(network="container:x")}, "network"),
        ({"network": NetworkMode.CONTAINER}, "network"),
        ({"namespaces": Namespaces(uts="host"), "hostname": "mine"}, "hostname"),
        ({"domainname": "a b"}, "domainname"),
        ({"user": "sea captain"}, "user"),
        ({"user": "captain\x1b"}, "user"),
    ],
)
def test_what_cannot_work_is_refused_for_admins_too(engine: Engine, options: dict[str, Any], field: str) -> None:
    with pytest.raises(EngineError) as refused:
        engine.create(ContainerSpec(image="nonsuch", **options), caller=ADMIN)
    assert refused.value.field == field
    assert refused.value.hint


@pytest.mark.parametrize("text", ["nofile", "nofile=", "nofile=a", "nofile=1:b", "=1", "nofile=1:2:3", "nofile=-5"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EngineError) as refused:
        Ulimit.parse(text)
    assert refused.value.field == "ulimits"


@pytest.mark.parametrize("text", ["/dev/fuse:rx", "/dev/fuse:", "/dev/a:/dev/b:rw:x", "/dev/a:rr"])
def test_a_device_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EngineError) as refused:
        Device.parse(text)
    assert refused.value.field == "devices"


def test_what_an_admin_has_limited_no_earlier_version_lifts(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("true",)), caller=MEMBER)
    dock.update(container.id, Limits(memory_swap_bytes=-1), caller=ADMIN)
    dock.update(container.id, Limits(pids=50), caller=MEMBER)
    with pytest.raises(Denied, match="--memory-swap"):
        dock.restore(container.id, 1, caller=MEMBER)
    assert dock.inspect(container.id).spec.limits.memory_swap_bytes == -1
    dock.restore(container.id, 1, caller=ADMIN)
    assert dock.inspect(container.id).spec.limits.memory_swap_bytes != -1
