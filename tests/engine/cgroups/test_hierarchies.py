"""cgroup v1 as systemd mounts it: some controllers together, in one hierarchy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.cgroups import v1
from engine.shim.mounts import v1_view

OF_SYSTEMD = """\
12:cpu,cpuacct:/user.slice
11:net_cls,net_prio:/
10:memory:/user.slice
9:pids:/user.slice/user-0.slice
1:name=systemd:/init.scope
0::/init.scope
"""


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(v1, "MOUNT", str(tmp_path))
    for cached in (v1.controllers, v1.hierarchies):
        cached.cache_clear()
    yield tmp_path
    for cached in (v1.controllers, v1.hierarchies):
        cached.cache_clear()


def test_a_hierarchy_of_two_controllers_gets_one_group(mounted: Path) -> None:
    for name in ("memory", "cpu,cpuacct", "pids", "devices"):
        (mounted / name).mkdir()
    for name in ("cpu", "cpuacct"):
        (mounted / name).symlink_to("cpu,cpuacct")
    assert v1.controllers() == ("memory", "cpu", "cpuacct", "pids", "devices")
    assert v1.hierarchies() == ("memory", "cpu", "pids", "devices")
    (mounted / "unified").mkdir()
    (mounted / "unified/cgroup.procs").touch()
    v1.hierarchies.cache_clear()
    assert v1.hierarchies()[-1] == "unified"
    group = v1.Group("0" * 12, "engine")
    group.create(confined=False)
    made = {str(path.relative_to(mounted)) for path in mounted.rglob("engine")}
    parent = f"wharfie-{'0' * 12}/engine"
    assert made == {f"{name}/{parent}" for name in ("memory", "cpu,cpuacct", "pids", "devices", "unified")}
    group.remove()
    assert not list(mounted.rglob("engine"))


def test_a_container_sees_it_by_all_its_controllers() -> None:
    assert v1_view(OF_SYSTEMD) == [["cpu", "cpuacct"], ["memory"], ["pids"]]
