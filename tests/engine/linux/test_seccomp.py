"""The default filter, run by a small interpreter of classic BPF over every system call number."""

from __future__ import annotations

import errno
import struct

import pytest

from engine.linux import seccomp
from engine.linux.numbers import X86_64

X86, I386 = 0xC000003E, 0x40000003
ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PROGRAM = [
    struct.unpack_from("HBBI", seccomp.compile_default(), at) for at in range(0, len(seccomp.compile_default()), 8)
]


def decide(number: int, argument: int = 0, arch: int = X86) -> int:
    data = struct.pack("IIQQ", number & 0xFFFFFFFF, arch, 0, argument)
    accumulator, at = 0, 0
    while True:
        code, true, false, value = PROGRAM[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            accumulator = struct.unpack_from("I", data, value)[0]
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += true if holds else false


def test_other_abis_are_killed() -> None:
    assert decide(1, arch=I386) == KILL
    assert decide(0x40000000 | 1) == KILL


def test_every_known_call_is_decided_as_listed() -> None:
    by_argument = {"clone", "clone3", "socket", "personality"}
    wrong = {
        name: hex(decide(number))
        for name, number in X86_64.items()
        if name not in by_argument and decide(number) != (EPERM if name in seccomp.REFUSED else ALLOW)
    }
    assert wrong == {}


def test_every_refused_name_has_a_number() -> None:
    assert set(X86_64) >= seccomp.REFUSED


@pytest.mark.parametrize("number", [337, 400, 423, max(X86_64.values()) + 1, 1000, 0x3FFFFFFF])
def test_an_unknown_call_looks_unimplemented(number: int) -> None:
    assert decide(number) == ENOSYS


def test_clone3_sends_libc_to_clone_which_may_make_no_namespace() -> None:
    assert decide(X86_64["clone3"]) == ENOSYS
    assert decide(X86_64["clone"], 0x11) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert decide(X86_64["clone"], flag | 0x11) == EPERM


@pytest.mark.parametrize(
    ("family", "verdict"), [(1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW), (38, EPERM), (40, EPERM)]
)
def test_sockets_of_families_that_reach_past_namespaces_are_refused(family: int, verdict: int) -> None:
    assert decide(X86_64["socket"], family) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(0, ALLOW), (0xFFFFFFFF, ALLOW), (0x20008, ALLOW), (0x40000, EPERM)])
def test_personality_cannot_turn_off_address_randomisation(value: int, verdict: int) -> None:
    assert decide(X86_64["personality"], value) == verdict


def test_a_decision_takes_few_steps() -> None:
    assert len(PROGRAM) < 256, "jumps are 8 bits wide"
