"""Messages between Wharfie's processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from engine.shim import protocol

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_two_messages_that_arrive_together_are_read_one_by_one(pair: Pair) -> None:
    left, right = pair
    read_end, write_end = os.pipe()
    protocol.send(left, {"step": "mapped"})
    protocol.send(left, {"step": "go"}, [write_end])
    os.close(write_end)
    assert protocol.receive(right) == ({"step": "mapped"}, [])
    message = protocol.receive(right)
    assert message is not None
    assert message[0] == {"step": "go"}
    os.write(message[1][0], b"x")
    os.close(message[1][0])
    assert os.read(read_end, 2) == b"x"
    os.close(read_end)


def test_the_end_is_none(pair: Pair) -> None:
    pair[0].close()
    assert protocol.receive(pair[1]) is None


@pytest.mark.parametrize("data", [b"\x05", b"\x05\0\0\0ab", b"\xff\xff\xff\xff{}"], ids=["length", "body", "too long"])
def test_a_message_cut_short_is_an_error(pair: Pair, data: bytes) -> None:
    pair[0].sendall(data)
    pair[0].close()
    with pytest.raises(EOFError):
        protocol.receive(pair[1])


def test_descriptors_of_nonsense_are_closed(pair: Pair) -> None:
    read_end, write_end = os.pipe()
    socket.send_fds(pair[0], [b"\x02\0\0\0no"], [write_end])
    os.close(write_end)
    with pytest.raises(ValueError, match="Expecting value"):
        protocol.receive(pair[1])
    assert os.read(read_end, 1) == b"", "the copy was closed, so the pipe has no writer left"
    os.close(read_end)
