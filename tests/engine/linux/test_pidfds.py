"""Who has a number, on every kernel that tests run on: they do not say the same of one that a dead process has left."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from engine.linux import pidfds, process


@pytest.fixture
def left_to_a_session() -> Iterator[int]:
    """The number of a session whose leader is dead and reaped, while a process in it goes on."""
    wait, end = os.pipe()
    leader = os.fork()
    if leader == 0:
        os.setsid()
        os.close(end)
        if os.fork() == 0:
            os.read(wait, 1)
        os._exit(0)
    os.close(wait)
    os.waitpid(leader, 0)
    yield leader
    os.close(end)


def test_what_is_only_a_sessions_number_is_nobodys(left_to_a_session: int) -> None:
    os.kill(-left_to_a_session, 0)  # a number in use
    with pytest.raises(ProcessLookupError):
        pidfds.of(left_to_a_session)
    assert pidfds.opened(left_to_a_session, 0) is None
    pidfds.kill(left_to_a_session, 0, 0)


def test_a_threads_number_is_nobodys() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        with pytest.raises(ProcessLookupError):
            pidfds.of(thread.native_id)
    finally:
        over.set()
        thread.join()


def test_a_number_counts_with_the_time_at_which_its_process_began() -> None:
    began = process.start_time(os.getpid())
    assert began is not None
    mine = pidfds.opened(os.getpid(), began)
    assert mine is not None
    os.close(mine)
    assert pidfds.opened(os.getpid(), began + 1) is None
