"""How a launcher ends: who has come to it is served, and its control groups go with it, whatever it ended of."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from console.supervisor import answering
from engine.config import Config
from engine.errors import BrokeOff, Unsupported
from engine.launcher import start
from engine.launcher.client import LauncherClient
from engine.linux import unix
from engine.shim import protocol
from engine.storage.instance import instance_id
from tests.conftest import eventually, stop_launcher
from tests.leaks import instance_groups
from tests.soak import amount

ASKERS = 4
ENDS = amount(8, 100)


@pytest.mark.parametrize("in_the_way", ["launcher.sock", "launcher.log"])
def test_one_that_cannot_begin_leaves_no_group(config: Config, in_the_way: str) -> None:
    (config.run / in_the_way / "something").mkdir(parents=True)
    begun = subprocess.run(start.command(config, idle=False), capture_output=True, text=True, timeout=30, check=False)
    assert begun.returncode != 0
    assert in_the_way in begun.stderr
    assert not instance_groups(instance_id(config))


def test_who_asks_while_one_ends_is_answered_by_it_or_by_the_next(config: Config) -> None:
    """Nobody is told that it broke off: what a request that is no start does might be half done then."""
    client = LauncherClient(config, instance_id(config), spawn=True)
    over = threading.Event()
    answered = dict.fromkeys(range(ASKERS), -1)  # how many had ended when each was answered last

    def ask(number: int) -> None:
        while not over.is_set():
            with pytest.raises(Unsupported, match="unknown request"):
                client.call("nothing", {})
            answered[number] = len(ended)

    ended: set[int] = set()
    with ThreadPoolExecutor(ASKERS) as pool:
        asking = [pool.submit(ask, number) for number in answered]
        until_s = time.monotonic() + amount(60, 300)
        while len(ended) < ENDS and time.monotonic() < until_s and not any(each.done() for each in asking):
            pid = answering(f"{config.run}/launcher.sock")
            if pid and pid not in ended and min(answered.values()) == len(ended):  # nobody waits for longer than one
                os.kill(pid, signal.SIGTERM)
                ended.add(pid)
            time.sleep(0.001 * (len(ended) % 7))
        over.set()
        for each in asking:
            each.result(30)
    assert len(ended) >= ENDS / 2
    stop_launcher(config)
    assert eventually(lambda: not instance_groups(instance_id(config)))


def test_a_request_that_nobody_has_read_is_sent_again(config: Config) -> None:
    """As when a launcher is killed: its child ahead has the socket a moment longer, and leaves with who has come."""
    client = LauncherClient(config, instance_id(config), spawn=True)
    path = f"{config.run}/launcher.sock"
    left = unix.bind(path)
    left.listen()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(client.call, "nothing", {})
        assert select.select([left], (), (), 10)[0], "it has come"
        os.unlink(path)
        left.close()
        with pytest.raises(Unsupported, match="unknown request"):
            asking.result(30)
    stop_launcher(config)


def test_a_request_that_was_read_is_not_sent_again(config: Config) -> None:
    """Whoever read it may have done half of it."""
    client = LauncherClient(config, instance_id(config), spawn=True)
    path = f"{config.run}/launcher.sock"
    with unix.bind(path) as listener, ThreadPoolExecutor(1) as pool:
        listener.listen()
        listener.setblocking(True)
        asking = pool.submit(client.call, "nothing", {})
        with listener.accept()[0] as connection:
            connection.setblocking(True)
            assert protocol.receive(connection)
        with pytest.raises(BrokeOff):
            asking.result(30)
        assert not select.select([listener], (), (), 0)[0], "it has not come again"
    os.unlink(path)
