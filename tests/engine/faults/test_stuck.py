"""Processes that nothing ends for a while, and disks that answer late (F10, F14, F35)."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine import Container, ContainerSpec, Engine, EngineError, ExecSpec, Limits, State
from engine.containers import stopping
from tests import leaks
from tests.conftest import eventually, wait_readable
from tests.engine.conftest import groups
from tests.engine.faults.injection import Actor
from tests.engine.faults.test_acts import assert_whole
from tests.images import busybox_rootfs

FUSE_INIT = 26
LATE = "delay_enter=200000"  # microseconds; strace(1)


@contextmanager
def dead_file_server(container: Container, path: str) -> Iterator[int]:
    """A file system in a container whose server takes questions and answers none, until it is closed: fuse(4).

    Yields the descriptor at which it would be asked. Who waits for an answer that was taken cannot be killed.
    """
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={server},rootmode=40000,user_id=0,group_id=0,allow_other"
        command = ["/bin/busybox", "mount", "-t", "fuse", "-o", options, "none", path]
        subprocess.run(["nsenter", "-t", str(container.pid), "-m", *command], pass_fds=[server], check=True)
        question = os.read(server, 2**20)
        _, opcode, unique = struct.unpack_from("=IIQ", question)
        assert opcode == FUSE_INIT
        body = struct.pack("=IIIIHHIIHHI", 7, 31, 0, 0, 8, 8, 2**16, 1, 16, 0, 0).ljust(64, b"\0")
        os.write(server, struct.pack("=IiQ", 16 + len(body), 0, unique) + body)
        yield server
    finally:
        os.close(server)


@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="this kernel has no FUSE")
def test_a_process_that_waits_for_a_dead_file_server_is_said_in_time_and_holds_up_nobody(
    dock: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F14: killed and still there, in an uninterruptible wait; who breaks the connection off frees it."""
    monkeypatch.setattr(stopping, "AFTER_KILL_S", 1.0)
    stuck, other = (dock.start(dock.create(ContainerSpec("busybox", command=("sleep", "1000"))).id) for _ in range(2))
    with (
        dead_file_server(stuck, "/opt") as server,
        dock.exec(stuck.id, ExecSpec(("cat", "/opt/file"), stdin=False)) as execution,
    ):
        assert wait_readable(server, timeout_s=20)
        os.read(server, 2**20)
        assert eventually(lambda: leaks.state(execution.pid) in "SD")
        began = time.monotonic()
        with pytest.raises(EngineError, match="does not die") as caught:
            dock.stop(stuck.id, 0)
        assert time.monotonic() - began < 10
        assert caught.value.hint
        assert leaks.state(execution.pid) == "D"
        assert dock.stop(other.id, 0).state is State.EXITED
        assert dock.inspect(stuck.id).state is State.RUNNING, "which is the truth"
    assert dock.wait(stuck.id, timeout_s=10).code == 137


def test_one_whose_out_of_memory_killer_was_turned_off_is_ended_all_the_same(dock: Engine) -> None:
    """F10: by hand, in its v1 group; Wharfie has no such option. What waits for memory there dies of SIGKILL, and the
    group goes. On cgroup v2 nobody can turn it off."""
    fills = "trap '' TERM; read go; x=$(yes | busybox head -c 100000000); sleep 1000"
    spec = ContainerSpec("busybox", command=("sh", "-c", fills), stdin=True, limits=Limits(memory_bytes=16 * 2**20))
    container = dock.start(dock.create(spec).id)
    controls = [group / "memory.oom_control" for group in groups(dock, container.id)]
    controls = [control for control in controls if control.exists()]
    for control in controls:
        control.write_text("1")
    typed = dock.input(container.id)
    os.write(typed, b"go\n")
    os.close(typed)
    if controls:
        assert eventually(lambda: "under_oom 1" in controls[0].read_text(), 30)
        assert dock.inspect(container.id).state is State.RUNNING, "nobody was killed"
        dock.kill(container.id)
    assert dock.wait(container.id, timeout_s=20).code == 137
    dock.start(container.id)
    for control in controls:
        control.write_text("1")
    dock.remove(container.id, force=True)
    assert not groups(dock, container.id)


def test_an_engine_on_a_slow_disk_is_slow_and_right(dock: Engine, tmp_path: Path) -> None:
    """F35: each call that waits for the disk takes a fifth of a second. All is whole, and who only looks waits for
    nobody."""
    archive = busybox_rootfs(tmp_path / "second.tar", second="of its own\n")
    acts = (
        "engine.create(ContainerSpec('busybox', 'slow', ('sleep', '1000')))",
        "engine.start('slow')",
        "engine.update('slow', Limits(pids=77))",
        "engine.stop('slow', 0)",
        "engine.commit('slow', CommitSpec(name='made'))",
        "engine.remove('slow')",
        f"engine.load_image(Path({str(archive)!r}), name='second')",
    )
    with Actor(dock) as actor, ThreadPoolExecutor(1) as pool:
        late = 0
        for act in acts:
            done = pool.submit(actor.act, act, "fsync,fdatasync,syncfs", "1+", LATE)
            while not done.done():
                began = time.monotonic()
                dock.containers()
                assert time.monotonic() - began < 2
                eventually(done.done, timeout_s=0.1)
            answer, struck = done.result()
            assert answer == {}, act
            late += struck
            assert_whole(dock)
    assert late >= 4
    assert {tag for image in dock.images() for tag in image.tags} >= {"made:latest", "second:latest"}
