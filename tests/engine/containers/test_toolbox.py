"""A shell into a container whose image has none: the starter image's tools, with the container's files beside them."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Caller, Container, ContainerSpec, Engine, ExecSpec, Role, Security, State
from engine.errors import Denied, NotFound, WrongState
from tests.conftest import eventually
from tests.engine.conftest import groups
from tests.images import BUSYBOX

pytestmark = pytest.mark.one_engine


@pytest.fixture
def scratch(engine: Engine, kept_images: set[str], tmp_path: Path) -> Engine:
    """An engine with the toolbox, and an image of one static program and nothing else."""
    if not engine.images():
        kept_images.add(engine.make_starter_image().id)
    path = tmp_path / "scratch.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(BUSYBOX, "sleep")
    engine.load_image(path, name="scratch")
    return engine


@pytest.fixture
def bare(scratch: Engine) -> Iterator[Container]:
    """A running container of that image."""
    container = scratch.start(scratch.create(ContainerSpec(image="scratch", command=("/sleep", "1000"))).id)
    yield container
    if container.id in {each.id for each in scratch.containers()}:
        scratch.remove(container.id, force=True)


def run(engine: Engine, container: Container, script: str, **options: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a script in the toolbox."""
    spec = ExecSpec(("sh", "-c", script), toolbox=True, **options)  # type: ignore[arg-type]
    with engine.exec(container.id, spec) as execution:
        code, out, err = execution.output(timeout_s=20)
    return code, out.decode(), err.decode()


def test_it_sees_the_containers_processes_and_files(scratch: Engine, bare: Container) -> None:
    assert run(scratch, bare, "ps -o args= -p 1; ls /container; pwd") == (
        0,
        "/sleep 1000\ndev\netc\nproc\nsleep\nsys\n/container\n",
        "",
    )


def test_what_is_written_there_reaches_the_container_with_its_ids(scratch: Engine, bare: Container) -> None:
    assert (
        run(scratch, bare, "echo mine > note; chown 7 note; touch /gone; stat -c %u / note /proc/1")[1] == "0\n7\n0\n"
    )
    (found,) = scratch.browse.list(bare.id, "/", first=0, count=1000).entries[-1:]
    assert scratch.browse.read(bare.id, "/note", length=10).data == b"mine\n"
    assert scratch.files.stat(bare.id, "/note").uid == 7
    assert found.name == "sleep"
    assert {change.path for change in scratch.files.changes(bare.id)} == {"/note"}, "nothing of the toolbox"


def test_it_has_names_and_environment_as_are_right_there(scratch: Engine, bare: Container) -> None:
    code, out, _ = run(scratch, bare, "cat /etc/hostname; id -u; env", env=("MORE=1",))
    assert code == 0
    assert out.splitlines()[:2] == [bare.spec.hostname, "0"]
    assert "MORE=1" in out.splitlines()


def test_another_user_has_no_capability(scratch: Engine, bare: Container) -> None:
    _, out, _ = run(scratch, bare, "id -u; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status", user="1000")
    assert out.split() == ["1000", "CapEff:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"]


def test_each_has_a_scratch_of_its_own_which_ends_with_it(scratch: Engine, bare: Container) -> None:
    assert run(scratch, bare, "echo x > /tmp/x; ls /tmp")[1] == "x\n"
    assert run(scratch, bare, "ls /tmp")[1] == ""


def test_it_is_in_the_containers_control_group_and_leaves_no_mount(scratch: Engine, bare: Container) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    with scratch.exec(bare.id, ExecSpec(("cat",), toolbox=True)) as execution:
        for group in groups(scratch, bare.id):
            if "unified" not in str(group):
                assert str(execution.pid) in (group / "cgroup.procs").read_text().split()
        assert Path("/proc/self/mountinfo").read_text() == before
        mounts = Path(f"/proc/{execution.pid}/mountinfo").read_text()
        inside = Path(f"/proc/{bare.pid}/mountinfo").read_text()
        execution.output(timeout_s=20)
    assert " /container " in mounts
    assert " /container " not in inside
    assert str(scratch.paths.root) not in "\n".join(line.partition(" - ")[0] for line in mounts.splitlines())
    assert Path(f"/proc/{bare.pid}/mountinfo").read_text() == inside


def test_a_terminal_says_what_it_is(scratch: Engine, bare: Container) -> None:
    terminal = scratch.terminal(bare.id, ExecSpec(("sh",), toolbox=True))
    assert [each.toolbox for each in scratch.terminals(bare.id)] == [True]
    terminal.write(b"echo a$((1+1))b; exit 3\n")
    shown = b""
    while data := terminal.read():
        shown += data
    terminal.close()
    assert b"a2b" in shown
    assert terminal.exit_code == 3


def test_it_ends_with_its_container(scratch: Engine, bare: Container) -> None:
    with scratch.exec(bare.id, ExecSpec(("sleep", "1000"), toolbox=True)) as execution:
        scratch.remove(bare.id, force=True)
        assert execution.wait(timeout_s=20) == 137
        assert eventually(lambda: not os.path.exists(f"/proc/{execution.pid}"))
    assert groups(scratch, bare.id) == []
    scratch.start(scratch.create(ContainerSpec(image="scratch", command=("/sleep", "1000"), name="after")).id)
    scratch.remove("after", force=True)


def test_a_container_starts_again_right_after_it(scratch: Engine, bare: Container) -> None:
    with scratch.exec(bare.id, ExecSpec(("sleep", "1000"), toolbox=True)):
        scratch.restart(bare.id, timeout_s=0)
    assert run(scratch, bare, "ls /container/sleep")[1] == "/container/sleep\n"


@pytest.mark.parametrize("user", ["0", "1000"])
def test_nothing_of_the_host_is_in_reach(scratch: Engine, bare: Container, tmp_path: Path, user: str) -> None:
    sentinel = tmp_path / "sentinel"
    sentinel.write_text("of the host")
    tops = "/ /container /container/proc/1/root /proc/1/root /proc/self/root/../../.. /container/proc/self/cwd"
    script = f"for top in {tops}; do test ! -e $top{sentinel} || echo found; done; for p in /proc/[0-9]*; do "
    script += f"test ! -e $p/root{sentinel} || echo found; done"
    assert run(scratch, bare, script, user=user)[1] == ""


def test_a_hostile_container_gains_nothing_by_it(scratch: Engine, tmp_path: Path) -> None:
    """Privileged, with links to the host, with shared mounts, and with a look at the toolbox's own mounts."""
    sentinel = tmp_path / "sentinel"
    sentinel.write_text("of the host")
    script = f"""
        rmdir /mnt; ln -s {tmp_path} /mnt; ln -s {tmp_path} /container
        mount --make-rshared /; mount -t tmpfs none /opt; exec sleep 1000"""
    spec = ContainerSpec(
        image="wharfie/starter", command=("sh", "-c", script), security=Security(privileged=True), name="hostile"
    )
    hostile = scratch.start(scratch.create(spec).id)
    try:
        assert run(scratch, hostile, "cat /container/mnt/sentinel /container/container/sentinel")[1] == ""
        spec = ExecSpec(("cat",), toolbox=True)
        with scratch.exec(hostile.id, spec) as execution:
            look = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
pid = next(p for p in os.listdir("/proc") if p.isdigit() and open(f"/proc/{{p}}/comm").read() == "cat\\n")
assert libc.setns(os.open(f"/proc/{{pid}}/ns/mnt", os.O_RDONLY), 0x20000) == 0
gone = [p for p in ("/proc/keys", "/proc", "/sys", "/container/proc/keys", "/container/proc", "/dev/null")
        if libc.umount2(p.encode(), 2) == 0]
print(gone, os.path.exists({str(sentinel)!r}), open("/proc/keys").read())
"""
            with scratch.exec(hostile.id, ExecSpec(("python3", "-c", look))) as attack:
                code, out, err = attack.output(timeout_s=20)
            execution.output(timeout_s=20)
        assert (code, out) == (0, b"[] False \n"), err
    finally:
        scratch.remove(hostile.id, force=True)
    assert sentinel.read_text() == "of the host"


def test_one_that_is_paused_or_stopped_says_so(scratch: Engine, bare: Container) -> None:
    scratch.pause(bare.id)
    with pytest.raises(WrongState, match="unpause it first"):
        run(scratch, bare, "true")
    scratch.unpause(bare.id)
    scratch.kill(bare.id, "KILL")
    assert eventually(lambda: scratch.inspect(bare.id).state is State.EXITED)
    with pytest.raises(WrongState, match="start it first"):
        run(scratch, bare, "true")


def test_who_may_not_enter_gets_no_toolbox(scratch: Engine) -> None:
    spec = ContainerSpec(image="wharfie/starter", command=("sleep", "9"), security=Security(privileged=True))
    container = scratch.create(spec)
    with pytest.raises(Denied):
        scratch.exec(container.id, ExecSpec(("true",), toolbox=True), caller=Caller(Role.MEMBER, "m"))
    scratch.remove(container.id)


def test_without_the_starter_image_it_says_what_to_do(scratch: Engine, bare: Container) -> None:
    scratch.remove_image("wharfie/starter")
    with pytest.raises(NotFound, match=r"wharfie/starter:latest, which is not here \(make it"):
        run(scratch, bare, "true")
    assert scratch.inspect(bare.id).state is State.RUNNING
