"""Containers through the facade, on the real kernel."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import (
    Container,
    ContainerSpec,
    Engine,
    EngineError,
    ExecSpec,
    HealthCheck,
    Limits,
    Namespaces,
    NetworkMode,
    State,
    VolumeMount,
    names,
)
from engine.cgroups import manager
from engine.config import Config
from engine.containers import create, state
from engine.errors import (
    AlreadyExists,
    Busy,
    CommandNotExecutable,
    CommandNotFound,
    InvalidRequest,
    NotFound,
    Unavailable,
    WrongState,
)
from engine.launcher import client
from tests.conftest import eventually, shims, stop_launcher, wait_readable
from tests.engine.conftest import Run, groups

pytestmark = pytest.mark.one_engine


def spec(*command: str, **options: object) -> ContainerSpec:
    return ContainerSpec(image="busybox", command=command, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [0, 1, 3, 42, 125, 126, 127, 137, 255])
def test_the_exit_code_is_the_commands(run: Run, code: int) -> None:
    ended, _ = run("sh", "-c", f"exit {code}")
    assert (ended.code, ended.signal, ended.oom_killed) == (code, None, False)


def test_output_of_both_streams_is_kept_apart(dock: Engine) -> None:
    container = dock.create(spec("sh", "-c", "echo one; echo two >&2; printf three"))
    dock.start(container.id)
    dock.wait(container.id, timeout_s=10)
    assert {(line.stream, line.text) for line in dock.logs(container.id)} == {
        ("stdout", "one"),
        ("stderr", "two"),
        ("stdout", "three"),
    }


def test_a_container_that_ignores_its_stop_signal_is_killed(dock: Engine) -> None:
    container = dock.create(spec("sh", "-c", "trap '' TERM; echo ready; while true; do sleep 1; done"))
    dock.start(container.id)
    assert next(dock.logs(container.id, follow=True)).text == "ready"
    stopped = dock.stop(container.id, timeout_s=0.2)
    assert stopped.state is State.EXITED
    assert stopped.exit is not None
    assert (stopped.exit.code, stopped.exit.signal) == (137, 9)


def test_a_container_that_heeds_its_stop_signal_says_its_own_code(dock: Engine) -> None:
    container = dock.create(spec("sh", "-c", "trap 'exit 7' USR1; echo ready; while true; do sleep 0.05; done"))
    dock.start(container.id)
    assert next(dock.logs(container.id, follow=True)).text == "ready"
    dock.kill(container.id, "USR1")
    assert dock.wait(container.id, timeout_s=10).code == 7


def test_a_signal_that_ends_it_is_128_and_its_number(dock: Engine) -> None:
    container = dock.create(spec("sleep", "100"))
    dock.start(container.id)
    dock.kill(container.id)
    ended = dock.wait(container.id, timeout_s=10)
    assert (ended.code, ended.signal, ended.oom_killed) == (128 + 9, 9, False)
    assert "signal 9" in ended.reason


@pytest.mark.parametrize(("number", "code"), [(1, 129), (2, 130), (11, 139), (15, 143)])
def test_a_signal_that_ends_its_child_is_passed_on_by_its_shell(run: Run, number: int, code: int) -> None:
    ended, _ = run("sh", "-c", f"sh -c 'kill -{number} $$'; exit $?")
    assert (ended.code, ended.signal) == (code, None)


def test_the_stop_signal_is_the_containers_own(dock: Engine) -> None:
    script = "trap 'exit 4' TERM; trap 'exit 5' USR2; echo ready; while true; do sleep 0.05; done"
    container = dock.create(spec("sh", "-c", script, stop_signal="SIGUSR2"))
    dock.start(container.id)
    assert next(dock.logs(container.id, follow=True)).text == "ready"
    stopped = dock.stop(container.id)
    assert stopped.exit is not None
    assert stopped.exit.code == 5


def test_what_it_left_running_ends_with_its_first_process(dock: Engine, run: Run) -> None:
    ended, lines = run("sh", "-c", "sleep 1000 & sleep 1000 & echo $!; exit 6")
    assert (ended.code, len(lines)) == (6, 1)
    made = [group for top in groups(dock) for group in top.iterdir()]
    assert manager.ENGINE_GROUP in {group.name for group in made}
    assert not [group for group in made if len(group.name) == 64]


def test_the_kernels_out_of_memory_killer_is_named(run: Run) -> None:
    ended, _ = run("sh", "-c", "x=a; while true; do x=$x$x; done", limits=Limits(memory_bytes=16 << 20))
    assert (ended.code, ended.oom_killed) == (137, True)


def test_a_fork_bomb_meets_its_limit(run: Run) -> None:
    _, lines = run("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done 2>&1; wait", limits=Limits(pids=4))
    assert any("can't fork" in line for line in lines)


@pytest.mark.parametrize(
    ("command", "error", "code"),
    [
        ("nope", CommandNotFound, 127),
        ("/bin/nope", CommandNotFound, 127),
        ("/opt/text", CommandNotExecutable, 126),
        ("/opt", CommandNotExecutable, 126),
        ("/opt/orphan", CommandNotExecutable, 126),
        ("/opt/runtime", CommandNotExecutable, 126),
        ("/proc/self/exe", CommandNotExecutable, 126),
    ],
)
def test_a_command_that_cannot_run_says_why_and_leaves_nothing(
    dock: Engine, command: str, error: type[EngineError], code: int
) -> None:
    container = dock.create(spec(command))
    for _ in range(2):
        with pytest.raises(error) as caught:
            dock.start(container.id)
        assert caught.value.exit_code == code
        assert caught.value.hint
    assert dock.inspect(container.id).state is State.CREATED
    assert not list(dock.paths.shims.iterdir())
    assert not groups(dock, container.id)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"name": "no good"}, "name"),
        ({"name": "x"}, "name"),
        ({"limits": Limits(memory_bytes=4096)}, "memory"),
        ({"limits": Limits(memory_bytes=2**50)}, "memory"),
        ({"limits": Limits(cpus=0.0001)}, "cpus"),
        ({"limits": Limits(cpus=10_000)}, "cpus"),
        ({"limits": Limits(pids=0)}, "pids"),
        ({"limits": Limits(memory_bytes=64 << 20, memory_swap_bytes=32 << 20)}, "memory_swap"),
        ({"env": ("NOSIGN",)}, "env"),
        ({"workdir": "relative"}, "workdir"),
        ({"workdir": "/a/../.."}, "workdir"),
        ({"stop_signal": "NOPE"}, "stop_signal"),
        ({"stop_timeout_s": -3}, "stop_timeout_s"),
        ({"volumes": (VolumeMount("v", "/proc"),)}, "volumes"),
        ({"volumes": (VolumeMount("v", "/proc/self"),)}, "volumes"),
        ({"volumes": (VolumeMount("v", "/"),)}, "volumes"),
        ({"volumes": (VolumeMount("../etc", "/data"),)}, "volumes"),
        ({"hostname": "-bad-"}, "hostname"),
    ],
)
def test_a_bad_request_names_its_field_and_makes_nothing(dock: Engine, options: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        dock.create(spec("true", **options))
    assert caught.value.field == field
    assert dock.containers() == []
    assert list(dock.paths.containers.iterdir()) == []


def test_what_is_not_there_is_not_found(dock: Engine) -> None:
    with pytest.raises(NotFound):
        dock.create(ContainerSpec(image="nothing"))
    with pytest.raises(NotFound) as caught:
        dock.create(spec("true", volumes=(VolumeMount("missing", "/data"),)))
    assert caught.value.field == "volumes"
    with pytest.raises(NotFound):
        dock.inspect("nobody")
    assert list(dock.paths.containers.iterdir()) == []


def test_a_name_is_free_again_when_its_container_is_gone(dock: Engine) -> None:
    first = dock.create(spec("true", name="wanted"))
    with pytest.raises(AlreadyExists) as caught:
        dock.create(spec("true", name="wanted"))
    assert (caught.value.field, caught.value.subject) == ("name", "wanted")
    assert caught.value.hint
    dock.remove(first.id)
    assert dock.create(spec("true", name="wanted")).id != first.id


@pytest.mark.parametrize("tty", [False, True])
def test_commands_may_be_as_long_as_the_kernel_takes_them(dock: Engine, tty: bool) -> None:
    long = "x" * 100_000  # execve(2): an argument may have 128 KiB
    script = ("sh", "-c", f": {long}; echo up; exec sleep 1000")
    check = HealthCheck(("sh", "-c", f": {long}"), interval_s=0.2)
    container = dock.start(dock.create(ContainerSpec(image="busybox", command=script, tty=tty, health=check)).id)
    assert eventually(lambda: (found := dock.inspect(container.id).health) and found.status == "healthy")
    with dock.exec(container.id, ExecSpec(("echo", "well"))) as execution:
        assert execution.output(timeout_s=20)[1] == b"well\n"
    before = dock._records.shim(container.id)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: dock._records.shim(container.id) not in (None, before))
    assert [line.text.rstrip() for line in dock.logs(container.id)] == ["up"]
    ended = dock.stop(container.id, timeout_s=0).exit
    assert ended is not None
    assert ended.code == 137


def test_who_writes_on_with_shared_processes_ends_with_its_container(dock: Engine) -> None:
    script = ("sh", "-c", "yes & sleep 0.3; exit 4")
    container = dock.create(ContainerSpec(image="busybox", command=script, namespaces=Namespaces(pid="host")))
    dock.start(container.id)
    assert dock.wait(container.id, timeout_s=20).code == 4


def test_a_name_that_nobody_chose_is_never_one_that_is_taken(dock: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "new_id", iter([f"abcd{number}" + "0" * 59 for number in range(3)]).__next__)
    monkeypatch.setattr(create, "_ADJECTIVES", ["calm"])
    monkeypatch.setattr(create, "_NOUNS", ["dock"])
    made = [dock.create(spec("true")) for _ in range(3)]
    assert [container.name for container in made] == ["calm-dock-abcd", "calm-dock-abcd1", "calm-dock-abcd2"]
    assert [dock.inspect(container.name).id for container in made] == [container.id for container in made]


@pytest.mark.own_engine  # it changes ids, and what they were is in the names of directories
def test_a_container_is_found_by_name_id_and_a_prefix_that_is_its_alone(dock: Engine) -> None:
    containers = [dock.create(spec("true", name=f"boat-{number}")) for number in range(3)]
    assert [c.id for c in dock.containers()] == [c.id for c in reversed(containers)], "the newest first"
    for container in containers:
        assert {dock.inspect(ref).name for ref in (container.id, container.name, container.short_id)} == {
            container.name
        }
    with dock._database.transaction() as connection:  # two ids that begin alike, which chance would take long to make
        for number, container in enumerate(containers[:2]):
            connection.execute("UPDATE containers SET id = ? WHERE id = ?", (f"abcd{number}" + "0" * 59, container.id))
    with pytest.raises(InvalidRequest, match="several"):
        dock.inspect("abcd")
    assert dock.inspect("abcd1").name == "boat-1"
    with pytest.raises(NotFound):
        dock.inspect("abc")


def test_what_is_inspected_is_what_runs(dock: Engine) -> None:
    container = dock.create(spec("sleep", "100", env=("A=b",), limits=Limits(memory_bytes=32 << 20, cpus=0.5, pids=9)))
    started = dock.start(container.id)
    assert started.pid is not None
    assert Path(f"/proc/{started.pid}/cmdline").read_bytes() == b"sleep\x00100\x00"
    assert b"A=b" in Path(f"/proc/{started.pid}/environ").read_bytes().split(b"\0")
    assert started.spec.limits == Limits(32 << 20, 32 << 20, 0.5, 9)
    assert (started.argv, started.spec.workdir, started.spec.hostname) == (("sleep", "100"), "/", container.id[:12])
    assert container.created_at_ns <= (started.started_at_ns or 0) <= time.time_ns()


def break_layer(dock: Engine, container: Container) -> Path:
    return dock.paths.layer(dock.image("busybox").layers[0].diff_id)


def break_volume(dock: Engine, container: Container) -> Path:
    return dock.paths.volume("data")


def break_upper(dock: Engine, container: Container) -> Path:
    return dock.paths.container(container.id) / "upper"


def break_log(dock: Engine, container: Container) -> Path:
    return dock.paths.log(container.id)


def break_shims(dock: Engine, container: Container) -> Path:
    return dock.paths.shims


def break_rootfs(dock: Engine, container: Container) -> Path:
    return dock.paths.rootfs


@pytest.mark.parametrize("part", [break_layer, break_volume, break_upper, break_log, break_shims, break_rootfs])
def test_a_start_that_fails_at_any_step_is_undone_and_works_once_that_is_repaired(
    dock: Engine, part: Callable[[Engine, Container], Path]
) -> None:
    dock.create_volume("data")
    container = dock.create(spec("sh", "-c", "exit 8", volumes=(VolumeMount("data", "/data"),)))
    ok = dock.create(spec("true"))
    dock.start(ok.id)
    dock.wait(ok.id, timeout_s=10)
    assert eventually(lambda: not list(dock.paths.shims.iterdir()))
    events = len(dock.events())
    path = part(dock, container)
    away = path.with_name("away")
    path.rename(away)
    for _ in range(3):
        with pytest.raises(EngineError) as caught:
            dock.start(container.id)
        assert caught.value.exit_code == 125
    away.rename(path)
    assert dock.inspect(container.id).state is State.CREATED
    assert not list(dock.paths.shims.iterdir())
    assert not groups(dock, container.id)
    assert len(dock.events()) == events
    launcher = answering(str(dock.paths.launcher_socket))
    assert eventually(lambda: not shims(launcher)), "no process is left"
    dock.start(container.id)
    assert dock.wait(container.id, timeout_s=10).code == 8


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"workdir": "/bin/sh"}, InvalidRequest),
        ({"workdir": "/proc/self/fd/5"}, InvalidRequest),
        ({"workdir": "/opt/text/below"}, InvalidRequest),
        ({"user": "nobody-here"}, InvalidRequest),
        ({"volumes": (VolumeMount("data", "/opt/text"),)}, EngineError),
    ],
)
def test_a_start_that_fails_inside_the_container_is_undone(
    dock: Engine, options: dict[str, object], error: type[EngineError]
) -> None:
    dock.create_volume("data")
    container = dock.create(spec("true", **options))
    with pytest.raises(error):
        dock.start(container.id)
    assert dock.inspect(container.id).state is State.CREATED
    assert not list(dock.paths.shims.iterdir())
    assert not groups(dock, container.id)


def test_without_a_launcher_a_start_says_so_and_changes_nothing(dock: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "STARTUP_S", 0.1)
    container = dock.create(spec("true"))
    stop_launcher(dock.config)
    with Engine(dock.config) as other:
        with pytest.raises(Unavailable) as caught:
            other.start(container.id)
        assert caught.value.hint
        assert other.inspect(container.id).state is State.CREATED


def test_one_of_many_removes_removes_and_nothing_is_left(dock: Engine) -> None:
    container = dock.create(spec("true"))

    def remove(_: int) -> bool:
        try:
            dock.remove(container.id)
        except NotFound:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(remove, range(16))).count(True) == 1
    assert {path.name for path in dock.paths.containers.iterdir()} <= {".lock"}
    assert eventually(lambda: not os.listdir(dock.paths.trash))


def test_one_of_many_starts_starts(dock: Engine) -> None:
    container = dock.create(spec("sleep", "100"))

    def start(_: int) -> bool:
        try:
            dock.start(container.id)
        except WrongState:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(start, range(16))).count(True) == 1
    assert dock.inspect(container.id).state is State.RUNNING


def test_one_of_many_creates_gets_the_name(dock: Engine) -> None:
    def create(_: int) -> bool:
        try:
            dock.create(spec("true", name="wanted"))
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(create, range(20))).count(True) == 1
    assert len(list(dock.paths.containers.iterdir())) == 1


def first_process(dock: Engine, ref: str) -> tuple[int, int]:
    return next(((each.pid, each.start_time) for each in dock.processes(ref)), (1, 1))


def test_every_act_in_every_state_is_as_the_table_says(dock: Engine) -> None:
    acts = {
        "start": lambda ref: dock.start(ref),
        "stop": lambda ref: dock.stop(ref, timeout_s=0),
        "kill": lambda ref: dock.kill(ref),
        "remove": lambda ref: dock.remove(ref),
        "restart": lambda ref: dock.restart(ref, timeout_s=0),
        "pause": lambda ref: dock.pause(ref),
        "unpause": lambda ref: dock.unpause(ref),
        "rename": lambda ref: dock.rename(ref, f"new-{ref[:12]}"),
        "update": lambda ref: dock.update(ref, Limits(pids=99)),
        "exec": lambda ref: dock.exec(ref, ExecSpec(("true",))).close(),
        "copy": lambda ref: dock.files.stat(ref, "/"),
        "signal": lambda ref: dock.signal_process(ref, *first_process(dock, ref), "CONT"),
    }
    assert acts.keys() == state.LEGAL.keys()
    for act, call in acts.items():
        for at in (State.CREATED, State.RUNNING, State.PAUSED, State.EXITED):
            container = dock.create(spec("sleep", "100"))
            if at is not State.CREATED:
                dock.start(container.id)
            if at is State.EXITED:
                dock.stop(container.id, timeout_s=0)
            if at is State.PAUSED:
                dock.pause(container.id)
            assert dock.inspect(container.id).state is at
            if at in state.LEGAL[act]:
                call(container.id)
            else:
                with pytest.raises(WrongState, match=at.value):
                    call(container.id)
                assert dock.inspect(container.id).state is at
    for container in dock.containers():
        dock.remove(container.id, force=True)


def test_a_container_starts_again_with_its_files_and_its_log(dock: Engine) -> None:
    container = dock.create(spec("sh", "-c", "cat /kept 2>/dev/null; echo again >> /kept; echo done"))
    for _ in range(2):
        dock.start(container.id)
        assert dock.wait(container.id, timeout_s=10).code == 0
    assert [line.text for line in dock.logs(container.id)] == ["done", "again", "done"]


def test_waiting_ends_when_the_time_is_over(dock: Engine) -> None:
    container = dock.create(spec("sleep", "100"))
    with pytest.raises(WrongState):
        dock.wait(container.id)
    dock.start(container.id)
    with pytest.raises(Unavailable):
        dock.wait(container.id, timeout_s=0.05)


def test_a_volume_outlives_its_containers_and_keeps_the_ids_they_see(run: Run, dock: Engine) -> None:
    dock.create_volume("data")
    mount = (VolumeMount("data", "/data"),)
    _, lines = run(
        "sh", "-c", "echo kept > /data/file; stat -c %u:%g /data/file; grep ' /data ' /proc/mounts", volumes=mount
    )
    assert lines[0] == "0:0"
    assert {"nosuid", "nodev"} <= set(lines[1].split()[3].split(","))
    status = (dock.paths.volume("data") / "file").stat()
    assert (status.st_uid, status.st_gid) == (0, 0), "on disk as containers see it, whatever their range"
    _, lines = run(
        "sh", "-c", "cat /data/file; echo more 2>&1 > /data/other", volumes=(VolumeMount("data", "/data", True),)
    )
    assert lines[0] == "kept"
    assert "Read-only" in lines[1]
    container = dock.create(spec("true", volumes=mount, name="holder"))
    with pytest.raises(Busy, match="holder"):
        dock.remove_volume("data")
    dock.remove(container.id)
    dock.remove_volume("data")
    with pytest.raises(NotFound):
        dock.remove_volume("data")


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "uid=0(root) gid=0(root) groups=0(root)"),
        ("crew", "uid=1000(crew) gid=1000(crew) groups=1000(crew),2000(deck)"),
        ("1000", "uid=1000(crew) gid=1000(crew) groups=1000(crew),2000(deck)"),
        ("crew:hold", "uid=1000(crew) gid=2001(hold) groups=2001(hold)"),
        ("4321:5", "uid=4321 gid=5 groups=5"),
    ],
)
def test_users_are_those_of_the_image(run: Run, user: str, expected: str) -> None:
    assert run("id", user=user)[1] == [expected]


@pytest.mark.parametrize("user", ["nobody-here", "crew:nowhere", "4294967296", "65536", "-1", "0x0", "1e3", "big"])
def test_a_user_that_is_none_never_becomes_root(dock: Engine, user: str) -> None:
    container = dock.create(spec("id", user=user))
    with pytest.raises(InvalidRequest) as caught:
        dock.start(container.id)
    assert caught.value.field == "user"


def test_nothing_of_the_engines_environment_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_CANARY", "secret")
    _, lines = run("env", env=("MINE=1",), hostname="boat")
    assert sorted(line.split("=")[0] for line in lines) == ["HOME", "HOSTNAME", "MINE", "PATH"]


def test_the_hosts_network_is_seen_only_on_request(run: Run) -> None:
    assert run("ls", "/sys/class/net")[1] == ["lo"]
    _, lines = run("ls", "/sys/class/net", network=NetworkMode.HOST)
    assert set(lines) == set(os.listdir("/sys/class/net"))
    assert run("sh", "-c", "echo x > /sys/kernel/mm/ksm/run", network=NetworkMode.HOST)[0].code != 0


def test_a_second_engine_on_the_same_store_joins_it(dock: Engine) -> None:
    container = dock.create(spec("sleep", "100", name="shared"))
    with Engine(dock.config) as other:
        other.start("shared")
        assert dock.inspect(container.id).state is State.RUNNING
        assert other.instance == dock.instance
        dock.stop("shared", timeout_s=0)
        assert other.inspect("shared").state is State.EXITED
        assert [event.action for event in other.events()][-4:] == ["create", "start", "kill", "die"]


def test_a_store_is_opened_with_one_run_directory_while_something_of_it_lives(dock: Engine, tmp_path: Path) -> None:
    container = dock.create(spec("sleep", "100"))
    dock.start(container.id)
    elsewhere = Config(dock.config.root, tmp_path / "run")
    with pytest.raises(Busy, match=re.escape(str(dock.config.run))) as caught:
        Engine(elsewhere)
    assert str(dock.config.run) in caught.value.hint
    assert dock.inspect(container.id).state is State.RUNNING
    dock.remove(container.id, force=True)
    stop_launcher(dock.config)
    with Engine(elsewhere) as moved:  # nothing lives: after a reboot, or by choice
        assert not moved.containers()
    with Engine(dock.config) as back:
        assert not back.containers()


def test_the_groups_go_with_the_last_shim_whoever_started_it(dock: Engine) -> None:
    first, second = (dock.create(spec("sleep", "100")) for _ in range(2))
    dock.start(first.id)
    launcher = answering(str(dock.paths.launcher_socket))
    pidfd = os.pidfd_open(launcher)
    os.kill(launcher, signal.SIGTERM)  # its shim stays
    assert wait_readable(pidfd, timeout_s=10)
    os.close(pidfd)
    dock.start(second.id)  # by the next launcher
    dock.remove(second.id, force=True)
    stop_launcher(dock.config)
    messages = dock.config.run / "launcher.log"
    assert messages.read_text() == ""
    assert groups(dock, first.id)
    assert groups(dock)
    dock.remove(first.id, force=True)
    assert eventually(lambda: not groups(dock))
    assert messages.read_text() == ""


def test_subscribers_of_another_process_wake(dock: Engine) -> None:
    subscription = dock.subscribe()
    try:
        started = dock.start(dock.create(spec("sleep", "100")).id)
        assert started.pid is not None
        subscription.drain()
        assert not wait_readable(subscription.fileno(), timeout_s=0.2)
        os.kill(started.pid, signal.SIGKILL)
        assert wait_readable(subscription.fileno(), timeout_s=10), "its shim told of its end"
    finally:
        subscription.close()


def test_what_the_host_can_do_is_found_out_in_another_process(engine: Engine) -> None:
    report = engine.report()
    assert report.fatal == ()
    assert {"root", "idmapped overlay", "seccomp"} <= {check.name for check in report.checks}
