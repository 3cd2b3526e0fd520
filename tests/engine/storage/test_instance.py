"""Who is at work on a store."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from engine import Config
from engine.linux import files, process
from engine.storage import instance


@pytest.mark.parametrize(
    ("change", "occupied"),
    [
        ({}, True),
        ({"start_time": 1}, False),
        ({"start_time": 1, "resting": True}, True),
        ({"resting": True, "shim_start_time": 1}, False),
        ({"boot_id": "another"}, False),
        ({"pid": "text"}, False),
    ],
)
def test_a_container_occupies_its_store_between_two_runs_too(
    tmp_path: Path, change: dict[str, object], occupied: bool
) -> None:
    own, began = os.getpid(), process.start_time(os.getpid())
    record = {"pid": own, "start_time": began, "shim_pid": own, "shim_start_time": began}
    (tmp_path / "shims").mkdir()
    (tmp_path / "shims" / "one.json").write_text(json.dumps(record | {"boot_id": process.boot_id()} | change))
    assert instance.occupied(tmp_path) is occupied


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", "{", "null"])
def test_a_damaged_record_occupies_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "shims").mkdir()
    (tmp_path / "shims" / "one.json").write_text(text)
    assert not instance.occupied(tmp_path)


def test_directories_of_containers_lie_apart_where_the_file_system_can(config: Config, tmp_path: Path) -> None:
    paths = instance.prepare(config)
    told = subprocess.run(["lsattr", "-d", paths.containers], capture_output=True, text=True, check=True).stdout
    assert "T" in told.split()[0], "the tests' disk is ext4"
    assert instance.prepare(config).containers == paths.containers
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    try:
        files.spread(str(tmp_path))  # which has no such flag
    finally:
        subprocess.run(["umount", tmp_path], check=True)
