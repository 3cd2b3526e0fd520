"""Profiles in Docker's format: what they mean, and hostile ones."""

from __future__ import annotations

import errno
import json
import random
from typing import Any

import pytest

from engine.errors import InvalidRequest
from engine.linux.numbers import X86_64
from engine.security.profile import MAX_BYTES, compile_profile
from tests.engine.linux.test_seccomp import ALLOW, EPERM, I386, KILL, decide

NEEDED = {"names": ["execve", "exit_group", "write"], "action": "SCMP_ACT_ALLOW"}
DENY: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [NEEDED]}
NONE: frozenset[str] = frozenset()


def verdict(profile: dict[str, Any], name: str, *arguments: int, capabilities: frozenset[str] = NONE) -> int:
    program = compile_profile(json.dumps(profile), capabilities)
    return decide(X86_64[name], *arguments, program=program)


def entry(*names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW"} | more


def deny(*entries: dict[str, Any]) -> dict[str, Any]:
    """A profile that allows these entries, and what a start needs."""
    return DENY | {"syscalls": [NEEDED, *entries]}


def test_the_default_action_meets_what_no_rule_names() -> None:
    assert verdict(DENY, "mount") == EPERM
    assert verdict(DENY | {"defaultErrnoRet": errno.ENOSYS}, "mount") == 0x50000 | errno.ENOSYS
    assert verdict({"defaultAction": "SCMP_ACT_ALLOW"}, "mount") == ALLOW
    assert verdict({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": None}, "read") == ALLOW


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("SCMP_ACT_ALLOW", ALLOW),
        ("SCMP_ACT_LOG", 0x7FFC0000),
        ("SCMP_ACT_TRAP", 0x30000),
        ("SCMP_ACT_KILL", 0),
        ("SCMP_ACT_KILL_THREAD", 0),
        ("SCMP_ACT_KILL_PROCESS", KILL),
        ("SCMP_ACT_ERRNO", EPERM),
    ],
)
def test_every_action_of_the_format(action: str, value: int) -> None:
    rules = [NEEDED, {"names": ["chmod"], "action": action}]
    profile = {"defaultAction": "SCMP_ACT_TRAP", "syscalls": rules}
    assert verdict(profile, "chmod") == value


def test_conditions_on_several_arguments_must_all_hold_and_on_one_are_alternatives() -> None:
    both = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]
    either = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]
    profile = deny(entry("chmod", args=both), entry("fchmod", args=either))
    assert [verdict(profile, "chmod", a, b) for a, b in ((1, 2), (1, 1), (2, 2))] == [ALLOW, EPERM, EPERM]
    assert [verdict(profile, "fchmod", a) for a in (1, 2, 3)] == [ALLOW, ALLOW, EPERM]


def test_masks() -> None:
    args = [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    profile = deny(entry("clone", args=args))
    assert (verdict(profile, "clone", 0x11), verdict(profile, "clone", 0x10000011)) == (ALLOW, EPERM)


def test_a_rule_with_conditions_goes_before_one_without_wherever_it_stands() -> None:
    refuse = {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
              "args": [{"index": 1, "value": 0o4000, "valueTwo": 0o4000, "op": "SCMP_CMP_MASKED_EQ"}]}  # fmt: skip
    for rules in ([refuse, entry("chmod")], [entry("chmod"), refuse]):
        profile = deny(*rules)
        assert (verdict(profile, "chmod", 0, 0o4755), verdict(profile, "chmod", 0, 0o755)) == (EPERM, ALLOW)


def test_rules_for_capabilities() -> None:
    profile = deny(
        entry("mount", "umount2", includes={"caps": ["CAP_SYS_ADMIN"]}),
        entry("chroot", excludes={"caps": ["CAP_SYS_CHROOT"]}),
    )
    admin = frozenset(["SYS_ADMIN", "SYS_CHROOT"])
    assert (verdict(profile, "mount"), verdict(profile, "mount", capabilities=admin)) == (EPERM, ALLOW)
    assert (verdict(profile, "chroot"), verdict(profile, "chroot", capabilities=admin)) == (ALLOW, EPERM)


def test_rules_for_architectures_and_kernels() -> None:
    profile = deny(
        entry("chmod", includes={"arches": ["arm64"]}),
        entry("chown", includes={"arches": ["amd64", "x32"]}),
        entry("ptrace", includes={"minKernel": "4.8"}),
        entry("lchown", includes={"minKernel": "900.0"}),
        entry("fchown", excludes={"minKernel": "4.8"}),
    )
    names = ("chmod", "chown", "ptrace", "lchown", "fchown")
    assert [verdict(profile, name) for name in names] == [EPERM, ALLOW, ALLOW, EPERM, EPERM]


def test_foreign_abis_stay_closed_whatever_the_profile_says() -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW",
               "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]}  # fmt: skip
    program = compile_profile(json.dumps(profile), NONE)
    assert decide(1, arch=I386, program=program) == KILL
    assert decide(0x40000001, program=program) == KILL


def test_names_of_other_architectures_are_skipped() -> None:
    assert verdict(deny(entry("clock_settime64", "arm_fadvise64_64", "read")), "read") == ALLOW


ONE = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "not an object"),
        ("null", "not an object"),
        ("{}", "no defaultAction"),
        ('{"defaultAction": "SCMP_ACT_ERRNO"}', "does not allow execve"),
        ('{"defaultAction": "SCMP_ACT_KILL_PROCESS"}', "does not allow execve"),
        (json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            entry("execve", action="SCMP_ACT_KILL"),
            entry("execve", action="SCMP_ACT_TRAP", args=[{"index": 5, "op": "SCMP_CMP_EQ"}])]}),
            "does not allow execve"),
        ('{"defaultAction": null}', "no defaultAction"),
        ('{"defaultAction": 1}', "defaultAction"),
        ('{"defaultAction": "ALLOW"}', "defaultAction"),
        ('{"defaultAction": "SCMP_ACT_NOTIFY"}', "SCMP_ACT_NOTIFY"),
        ('{"defaultAction": "SCMP_ACT_TRACE"}', "SCMP_ACT_TRACE"),
        ('{"defaultAction": "SCMP_ACT_ERRNO", "defaultAction": "SCMP_ACT_ALLOW"}', "twice"),
        ('{"DefaultAction": "SCMP_ACT_ALLOW"}', "DefaultAction"),
        ('{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": NaN}', "NaN"),
        ('{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": -1}', "defaultErrnoRet"),
        ('{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}', "defaultErrnoRet"),
        ('{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": true}', "defaultErrnoRet"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}', "SCMP_ACT_ERRNO only"),
        (json.dumps(DENY | {"architectures": ["SCMP_ARCH_AARCH64"]}), "SCMP_ARCH_X86_64"),
        (json.dumps(DENY | {"archMap": [{"architecture": "SCMP_ARCH_S390X"}]}), "SCMP_ARCH_X86_64"),
        (json.dumps(DENY | {"archMap": [{}]}), "no architecture"),
        (json.dumps(DENY | {"listenerPath": "/run/x"}), "listenerPath"),
        (json.dumps(DENY | {"flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}), "flags"),
        (json.dumps(DENY | {"syscalls": {}}), "not a list"),
        (json.dumps(DENY | {"syscalls": [1]}), "not an object"),
        (json.dumps(DENY | {"syscalls": [{}]}), "needs an action"),
        (json.dumps(DENY | {"syscalls": [{"names": ["read"]}]}), "needs an action"),
        (json.dumps(DENY | {"syscalls": [entry("read", name="read")]}), "either names or a name"),
        (json.dumps(DENY | {"syscalls": [entry("read") | {"names": "read"}]}), "not a list"),
        (json.dumps(DENY | {"syscalls": [entry("read") | {"names": [0]}]}), "a system call"),
        (json.dumps(DENY | {"syscalls": [entry("read", action="SCMP_ACT_OPEN")]}), "SCMP_ACT_OPEN"),
        (json.dumps(DENY | {"syscalls": [entry("read", errnoRet=5)]}), "SCMP_ACT_ERRNO only"),
        (json.dumps(DENY | {"syscalls": [entry("read", privileged=True)]}), "privileged"),
        (json.dumps(DENY | {"syscalls": [entry("read", includes={"caps": ["CAP_ROOT"]})]}), "CAP_ROOT"),
        (json.dumps(DENY | {"syscalls": [entry("read", includes={"caps": "CAP_KILL"})]}), "not a list"),
        (json.dumps(DENY | {"syscalls": [entry("read", includes={"minKernel": "new"})]}), "version"),
        (json.dumps(DENY | {"syscalls": [entry("read", args=[ONE | {"index": 6}])]}), "index"),
        (json.dumps(DENY | {"syscalls": [entry("read", args=[ONE | {"value": 2**64}])]}), "value"),
        (json.dumps(DENY | {"syscalls": [entry("read", args=[ONE | {"value": 1.5}])]}), "value"),
        (json.dumps(DENY | {"syscalls": [entry("read", args=[ONE | {"op": "EQ"}])]}), "op"),
        (json.dumps(DENY | {"syscalls": [entry("read", args=[{"index": 0}])]}), "an index and an op"),
        (json.dumps(DENY | {"syscalls": [entry("read"), entry("read", action="SCMP_ACT_KILL")]}), "differently"),
        (json.dumps(DENY | {"syscalls": [entry("read", comment="x" * MAX_BYTES)]}), "larger"),
        (json.dumps(deny(*[
            entry("read", args=[ONE | {"value": 2**40 + number}]) for number in range(2000)])), "4096"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        compile_profile(text, NONE)
    assert why in refused.value.message
    assert refused.value.field == "seccomp"
    assert len(refused.value.message) < 400


def test_mutated_profiles_are_used_or_refused_and_nothing_else_happens() -> None:
    choice = random.Random(4)
    text = json.dumps(deny(entry("read", args=[ONE], includes={"caps": ["CAP_KILL"]})))
    pieces = ["{", "}", "[", "]", '"', ",", ":", "null", "1e999", "-0", "\\u0000", "\ud800", "9" * 30, "true"]
    for _ in range(3000):
        at = choice.randrange(len(text))
        mutated = text[:at] + choice.choice(pieces) + text[at + choice.randrange(6) :]
        try:
            program = compile_profile(mutated, NONE)
        except InvalidRequest:
            continue
        assert decide(1, program=program) in (ALLOW, EPERM)
