"""What is removed is gone at once, and deleted behind the answer."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine import ContainerSpec, Engine
from engine.storage import atomic
from engine.storage.trash import Trash


def test_a_removal_answers_before_its_files_are_deleted(dock: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    container = dock.create(ContainerSpec("busybox", command=("true",)))
    dock.create_volume("cargo")
    may_go_on = threading.Event()
    delete = atomic.delete

    def wait(grave: Path) -> None:
        may_go_on.wait(10)
        delete(grave)

    monkeypatch.setattr(atomic, "delete", wait)
    with Engine(dock.config) as engine:
        engine.remove(container.id)
        engine.remove_volume("cargo")
        assert (engine.containers(), engine.volumes()) == ([], [])
        assert os.listdir(engine.paths.volumes) == []
        assert len(os.listdir(engine.paths.trash)) == 2
        engine.create_volume("cargo")
        may_go_on.set()
    assert os.listdir(dock.paths.trash) == [], "closing waits for the last"


def test_what_cannot_be_deleted_is_said_and_keeps_nobody_from_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("trash", "stuck", "next"):
        (tmp_path / name).mkdir()
    delete = atomic.delete

    def refuse(grave: Path) -> None:
        if (grave / "mounted").exists():
            raise OSError(16, "Device or resource busy")
        delete(grave)

    monkeypatch.setattr(atomic, "delete", refuse)
    (tmp_path / "stuck" / "mounted").mkdir()
    trash = Trash(tmp_path / "trash")
    for name in ("stuck", "next", "absent"):
        trash.discard(tmp_path / name)
    trash.close()
    (left,) = os.listdir(tmp_path / "trash")
    assert f"{tmp_path}/trash/{left}, tried again" in capfd.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["trash"]
