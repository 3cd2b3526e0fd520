"""A console over an engine of its own: the real one, so that nothing passes here that would fail there."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.core.cache import cache
from django.db import connections
from django.test import Client
from django.utils import translation

from console import gateway
from console.accounts import adapter
from console.accounts import views as accounts
from console.accounts.models import User
from console.accounts.throttle import Throttle
from engine import Engine, Image
from engine.config import Config
from engine.storage import instance
from engine.storage.paths import Paths
from tests.conftest import new_config, stop_launcher
from tests.console import serving
from tests.console.serving import Serve, Visitor
from tests.small_disks import mounted

SMALL_DISK_BYTES = 512 * 2**20
PASSWORD = "correct horse battery"
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _language() -> Iterator[None]:
    """A request in another language leaves that to its thread, and so to the next test."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def _own_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    """Every page asks whether the engine answers, in tests that have none too: that is never the host's own."""
    monkeypatch.setenv("WHARFIE_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("WHARFIE_RUN", str(tmp_path / "run"))
    monkeypatch.setattr(gateway, "_engine", None)
    yield
    if gateway._engine and gateway._engine.config.root == tmp_path / "root":
        gateway._engine.close()


@pytest.fixture(autouse=True)
def own_settings(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Nothing here reads or writes the host's own instance."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # speed; nothing of value is hashed
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    settings.PATHS = Paths(Config(root=tmp_path, run=tmp_path))
    fresh = Throttle(tries=5, window_s=60)
    monkeypatch.setattr(accounts, "tries", fresh)
    monkeypatch.setattr(adapter, "tries", fresh)
    cache.clear()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """console.db is a file here too: jobs write to it from threads, and a database in memory locks tables, not rows."""
    name = str(tmp_path_factory.mktemp("console") / "console.db")
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = name
    yield
    # The thread that serves asynchronous tests lives on, with a connection of its own.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def host(config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The console's engine, without a launcher: it lists and remembers, and cannot start."""
    with Engine(config) as engine:
        monkeypatch.setattr(gateway, "_engine", engine)
        yield engine


@pytest.fixture
def image(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Image:
    """An image in the console's engine, with a launcher that can unpack and start."""
    monkeypatch.setattr(gateway, "_engine", engine)
    return engine.load_image(root_filesystem(), name="team/empty:1")[0]


def root_filesystem() -> io.BytesIO:
    """The tar of a root filesystem in which nothing can run."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("bin", "etc"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    archive.seek(0)
    return archive


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_superuser("captain", password=PASSWORD)


@pytest.fixture
def page(client: Client, user: User) -> Client:
    """A browser that is signed in."""
    client.force_login(user)
    return client


@contextmanager
def served(config: Config) -> Iterator[Serve]:
    """A console; at the end it is gone, and its launcher."""
    running = Serve(config)
    try:
        yield running
    finally:
        running.end()
        stop_launcher(config)


@pytest.fixture
def serve(config: Config) -> Iterator[Serve]:
    with served(config) as running:
        yield running


@pytest.fixture(scope="module")
def modules_serve() -> Iterator[Serve]:
    """One for all tests of a module that share it."""
    with new_config() as config, served(config) as running:
        yield running


@pytest.fixture(scope="module")
def modules_captain(modules_serve: Serve) -> Visitor:
    """Its admin."""
    return serving.captain(modules_serve)


@pytest.fixture
def small(config: Config, tmp_path: Path) -> Iterator[Serve]:
    """A console whose store is on a disk of its own, with room for one large upload at a time."""
    image = tmp_path / "disk.img"
    image.touch()
    os.truncate(image, SMALL_DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with mounted("-o", "loop", str(image), at=config.root):
        own = Config(root=config.root / "store", run=config.run)
        own.root.mkdir(mode=0o700)
        with served(own) as running:
            yield running
        instance.release(instance.instance_id(own))
    image.unlink()


@pytest.fixture
def mate(small: Serve) -> Visitor:
    """The admin of that console."""
    return serving.captain(small)
