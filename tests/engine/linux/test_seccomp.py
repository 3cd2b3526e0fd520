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
DEFAULT = seccomp.compile_default()


def decide(number: int, *arguments: int, arch: int = X86, program: bytes = DEFAULT) -> int:
    """What a filter says to a call, and never more than 4096 steps later; linux/filter.h."""
    values = [argument & (2**64 - 1) for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("IIQ6Q", number & 0xFFFFFFFF, arch, 0, *values)
    accumulator, at = 0, 0
    while True:
        code, true, false, value = struct.unpack_from("HBBI", program, at * 8)
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator = struct.unpack_from("I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            at += value
        else:
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[code]
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
    ("family", "verdict"), [*((family, ALLOW) for family in (1, 2, 10, 16)), *((f, EPERM) for f in (15, 33, 38, 40))]
)
def test_sockets_of_families_that_reach_past_namespaces_are_refused(family: int, verdict: int) -> None:
    assert decide(X86_64["socket"], family) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(0, ALLOW), (0xFFFFFFFF, ALLOW), (0x20008, ALLOW), (0x40000, EPERM)])
def test_personality_cannot_turn_off_address_randomisation(value: int, verdict: int) -> None:
    assert decide(X86_64["personality"], value) == verdict


@pytest.mark.parametrize("family", [15, 33, 38, 40])
def test_the_kernel_takes_an_int_and_so_no_high_half_hides_one(family: int) -> None:
    assert decide(X86_64["socket"], 0x1_0000_0000 | family) == EPERM
    assert decide(X86_64["personality"], 0x1_0000_0000) == EPERM


@pytest.mark.parametrize("capability", seccomp.OPENED_BY)
def test_a_capability_opens_its_own_calls_and_no_others(capability: str) -> None:
    program = seccomp.compile_default([capability])
    opened = {name for name in seccomp.REFUSED if decide(X86_64[name], program=program) != decide(X86_64[name])}
    assert opened == seccomp.OPENED_BY[capability]
    assert {decide(X86_64[name], program=program) for name in opened} == {ALLOW}


def test_no_capability_opens_a_user_namespace_or_a_foreign_abi() -> None:
    program = seccomp.compile_default(seccomp.OPENED_BY)
    assert decide(X86_64["clone"], 0x10000000, program=program) == EPERM
    assert decide(X86_64["clone"], 0x20000, program=program) == ALLOW
    assert decide(X86_64["clone3"], program=program) == ENOSYS
    assert decide(1, arch=I386, program=program) == KILL


def _holds(test: seccomp.Condition, argument: int) -> bool:
    value, masked = test.value, test.masked
    return {
        "EQ": argument == value, "NE": argument != value, "LT": argument < value, "LE": argument <= value,
        "GT": argument > value, "GE": argument >= value, "MASKED_EQ": argument & value == masked,
    }[test.operation]  # fmt: skip


EDGES = [0, 1, 5, 6, 7, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**32 + 6, 2**40 + 6, 2**63, 2**64 - 1]


@pytest.mark.parametrize("operation", ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"])
@pytest.mark.parametrize("value", [0, 6, 2**32 - 1, 2**32 + 6, 2**64 - 1])
@pytest.mark.parametrize("action", [ALLOW, EPERM])
def test_a_comparison_holds_as_it_does_in_python(operation: str, value: int, action: int) -> None:
    """Where the kernel may see the low half alone, whole and half must agree to allow, and one is enough to refuse."""
    test = seccomp.Condition(3, operation, value, value & 6 if operation == "MASKED_EQ" else 0)
    other = EPERM if action == ALLOW else ALLOW
    program = seccomp.compile_rules({39: [seccomp.Rule(action, (test,)), seccomp.Rule(other)]}, ENOSYS)
    for argument in EDGES:
        views = {
            _holds(test, argument),
            _holds(test, argument & 0xFFFFFFFF) if value < 2**32 else _holds(test, argument),
        }
        holds = all(views) if action == ALLOW else any(views)
        assert decide(39, 0, 0, 0, argument, program=program) == (action if holds else other), hex(argument)


def test_all_comparisons_of_a_rule_must_hold() -> None:
    rule = seccomp.Rule(ALLOW, tuple(seccomp.Condition(index, "GE", 2**33 + index) for index in range(6)))
    program = seccomp.compile_rules({7: [rule]}, EPERM)
    right = [2**33 + index for index in range(6)]
    assert decide(7, *right, program=program) == ALLOW
    for index in range(6):
        assert decide(7, *right[:index], right[index] - 1, *right[index + 1 :], program=program) == EPERM


def test_long_filters_jump_far_and_too_long_ones_are_refused() -> None:
    many = {n: [seccomp.Rule(ALLOW if n % 2 else EPERM)] for n in range(800)}
    program = seccomp.compile_rules(many, ENOSYS)
    assert [decide(n, program=program) for n in range(801)] == [ALLOW if n % 2 else EPERM for n in range(800)] + [
        ENOSYS
    ]
    chain = [seccomp.Rule(ALLOW, (seccomp.Condition(0, "EQ", 2**40 + value),)) for value in range(100)]
    program = seccomp.compile_rules({3: chain}, EPERM)
    assert (decide(3, 2**40 + 99, program=program), decide(3, 99, program=program)) == (ALLOW, EPERM)
    with pytest.raises(ValueError, match="4096"):
        seccomp.compile_rules(dict.fromkeys(range(20), chain), EPERM)


def test_a_filter_is_small() -> None:
    assert len(DEFAULT) // 8 < 256
