"""The device rules of cgroup v2: a small eBPF program attached to the group; bpf(2), linux/bpf.h.

BPF_PROG_TYPE_CGROUP_DEVICE gets struct bpf_cgroup_dev_ctx {access_type, major, minor} and returns 1 to allow.
"""

from __future__ import annotations

import ctypes
import os
import struct

from engine.linux.syscall import Syscall, flags, pointer, size

_PROG_LOAD, _PROG_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE, _ATTACH_DEVICE = 15, 6
_KINDS = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*

_bpf = Syscall("bpf", flags, pointer, size)


def _instruction(code: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | destination, offset, immediate)


def device_program(rules: tuple[str, ...]) -> bytes:
    """The program that allows rules written as in cgroup v1 (``c MAJOR:MINOR rwm``, MINOR may be ``*``)."""
    load_word, and_immediate, shift_right, jump_not_equal, move, leave = 0x61, 0x57, 0x77, 0x55, 0xB7, 0x95
    jump_if_any = 0x45
    program = [
        _instruction(load_word, 2, 1, 0),  # r2 = access_type
        _instruction(0xBF, 3, 2),  # r3 = r2
        _instruction(and_immediate, 2, immediate=0xFFFF),  # its low half is the kind of device
        _instruction(shift_right, 3, immediate=16),  # its high half what is asked for
        _instruction(load_word, 4, 1, 4),  # r4 = major
        _instruction(load_word, 5, 1, 8),  # r5 = minor
    ]
    for rule in rules:
        kind, number, access = rule.split()
        major, _, minor = number.partition(":")
        refused = sum(bit for letter, bit in _ACCESS.items() if letter not in access)
        # Each test that fails jumps behind the two that allow.
        tests = [(jump_not_equal, 2, _KINDS[kind]), (jump_not_equal, 4, int(major))]
        tests += [] if minor == "*" else [(jump_not_equal, 5, int(minor))]
        tests += [(jump_if_any, 3, refused)] if refused else []
        for left, (code, register, value) in zip(range(len(tests) + 1, 1, -1), tests, strict=True):
            program.append(_instruction(code, register, offset=left, immediate=value))
        program += [_instruction(move, 0, immediate=1), _instruction(leave)]
    program += [_instruction(move, 0, immediate=0), _instruction(leave)]
    return b"".join(program)


def restrict_devices(directory: str, rules: tuple[str, ...]) -> None:
    """Allow the processes of a v2 group these devices and no others. The program lives as long as the group."""
    program = device_program(rules)
    code = ctypes.create_string_buffer(program, len(program))
    license_ = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = ctypes.create_string_buffer(
        struct.pack(
            "<IIQQ", _TYPE_CGROUP_DEVICE, len(program) // 8, ctypes.addressof(code), ctypes.addressof(license_)
        ),
        128,
    )
    program_fd = _bpf(_PROG_LOAD, ctypes.addressof(attributes), 128)
    try:
        group_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            attach = ctypes.create_string_buffer(struct.pack("<IIII", group_fd, program_fd, _ATTACH_DEVICE, 0), 128)
            _bpf(_PROG_ATTACH, ctypes.addressof(attach), 128, path=directory)
        finally:
            os.close(group_fd)
    finally:
        os.close(program_fd)
