"""console.db of other versions."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from engine import Config
from tests.console.serving import TOP, Serve

TABLES = "SELECT name FROM sqlite_master WHERE name = 'django_session'"


def manage(config: Config, *arguments: str) -> None:
    environment = os.environ | {"WHARFIE_ROOT": str(config.root), "WHARFIE_RUN": str(config.run)}
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=TOP, env=environment, check=True, capture_output=True)


def migrate(config: Config) -> subprocess.CompletedProcess[str]:
    """As the web process does, before it serves."""
    environment = os.environ | {"WHARFIE_ROOT": str(config.root), "WHARFIE_RUN": str(config.run)}
    script = (
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'console.settings'; django.setup();"
        "from console.migration import migrate; migrate()"
    )
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True)


def copies(config: Config) -> list[Path]:
    return sorted((config.root / "backups").glob("*"))


def test_what_was_before_is_kept(config: Config) -> None:
    migrate(config)
    assert copies(config) == [], "a new database has nothing to keep"
    migrate(config)
    assert copies(config) == [], "nor has one that is up to date"
    manage(config, "migrate", "sessions", "zero")
    migrate(config)
    (kept,) = copies(config)
    assert kept.name.startswith("console-v")
    with closing(sqlite3.connect(kept)) as old, closing(sqlite3.connect(config.root / "console.db")) as new:
        assert old.execute(TABLES).fetchone() is None
        assert new.execute(TABLES).fetchone() is not None


def test_a_step_that_fails_leaves_what_was_before(config: Config) -> None:
    migrate(config)
    manage(config, "migrate", "sessions", "zero")
    with closing(sqlite3.connect(config.root / "console.db")) as database:
        database.execute("CREATE TABLE django_session (this_is_in_the_way TEXT)")
        before = list(database.iterdump())
    told = migrate(config)
    assert told.returncode != 0
    assert "It is as it was before" in told.stderr
    assert str(copies(config)[0]) in told.stderr
    with closing(sqlite3.connect(config.root / "console.db")) as database:
        assert list(database.iterdump()) == before


def test_a_newer_one_is_refused_and_left_alone(config: Config) -> None:
    migrate(config)
    with closing(sqlite3.connect(config.root / "console.db")) as database, database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('accounts', '9999_x', '2030-01-01')"
        )
    serve = Serve(config)
    try:
        serve.until(r"newer Wharfie: it has accounts\.9999_x; this one knows accounts\.0\w+ at most")
    finally:
        serve.end()
    assert copies(config) == []


def test_accounts_of_before_second_factors_and_tokens_are_kept(config: Config) -> None:
    config.root.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(config.root / "console.db")) as database:
        database.executescript((TOP / "tests/fixtures/console-2.sql").read_text())
    told = migrate(config)
    assert told.returncode == 0, told.stderr
    assert [path.name.split("-")[0] for path in copies(config)] == ["console"]
    script = (
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'console.settings'; django.setup();"
        "from django.contrib.auth import authenticate as a; from console.accounts.models import *;"
        "c = a(username='captain', password='correct horse battery'); m = User.objects.get(username='mate');"
        "print(c.is_superuser, m.is_superuser, SetupLink.objects.get().user, c.password.split('$')[0])"
    )
    environment = os.environ | {"WHARFIE_ROOT": str(config.root), "WHARFIE_RUN": str(config.run)}
    said = subprocess.run([sys.executable, "-c", script], cwd=TOP, env=environment, capture_output=True, text=True)
    assert said.stdout.split() == ["True", "False", "None", "argon2"], said.stderr
