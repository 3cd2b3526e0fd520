"""Docker's flags for what is mounted, as Docker reads them."""

from __future__ import annotations

import pytest

from console.commandline import parser
from console.mounts import Mounts, mounts
from engine import BindMount, TmpfsMount, VolumeMount
from engine.errors import InvalidRequest


def parsed(*flags: str) -> Mounts:
    return mounts(parser().parse_args(["run", *flags, "image"]))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("-v", "data:/d"), VolumeMount("data", "/d")),
        (("-v", "data:/d:ro,nocopy"), VolumeMount("data", "/d", True, copy=False)),
        (("-v", "/host:/d"), BindMount("/host", "/d")),
        (("-v", "/host:/d:ro"), BindMount("/host", "/d", True)),
        (("--tmpfs", "/t"), TmpfsMount("/t")),
        (("--tmpfs", "/t:size=64m,mode=700,exec,ro"), TmpfsMount("/t", 2**26, 0o700, True, True)),
        (("--mount", "source=data,target=/d"), VolumeMount("data", "/d")),
        (
            ("--mount", "type=volume,src=data,dst=/d,ro,volume-nocopy,volume-subpath=a/b"),
            VolumeMount("data", "/d", True, "a/b", False),
        ),
        (("--mount", 'type=bind,"src=/a,b",destination=/d,readonly=true'), BindMount("/a,b", "/d", True)),
        (("--mount", "type=bind,src=/a,dst=/d,bind-propagation=rprivate"), BindMount("/a", "/d")),
        (("--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770"), TmpfsMount("/t", 2**20, 0o1770)),
    ],
)
def test_flags(flags: tuple[str, ...], expected: object) -> None:
    assert [mount for group in parsed(*flags) for mount in group] == [expected]


@pytest.mark.parametrize(
    "flags",
    [
        ("-v", "data"), ("-v", "/host"), ("-v", "/host:d"), ("-v", "/host:/d:nocopy"), ("-v", "data:/d:z"),
        ("--tmpfs", "/t:size=x"), ("--tmpfs", "/t:mode=9"), ("--tmpfs", "/t:uid=5"),
        ("--mount", ""), ("--mount", "type=volume,dst=/d"), ("--mount", "type=npipe,src=a,dst=/d"),
        ("--mount", "type=bind,src=/a"), ("--mount", "type=bind,src=/a,dst=/d,bind-propagation=shared"),
        ("--mount", "type=tmpfs,dst=/t,src=a"), ("--mount", "type=volume,src=a,dst=/d,volume-opt=o=bind"),
        ("--mount", "src=a,src=b,dst=/d"), ("--mount", "src=a,dst=/d,readonly=perhaps"), ("--mount", "src,dst=/d"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused_with_a_hint(flags: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(*flags)
    assert caught.value.hint
