"""The Chinese catalogue is complete: a string that nobody translated fails here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
CATALOGUE = Path("locale/zh_Hans/LC_MESSAGES/django.po")


def entries(catalogue: Path, *which: str) -> str:
    """The entries of one kind, as gettext itself tells them; the header is none."""
    command = ["msgattrib", "--no-wrap", "--no-obsolete", *which, catalogue]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.sub(r"\A.*?(\n\n|\Z)", "", told, count=1, flags=re.DOTALL)


def test_every_string_is_translated(tmp_path: Path) -> None:
    for part in ("console", "templates", "locale", "manage.py", "engine"):
        source = TOP / part
        shutil.copytree(source, tmp_path / part) if source.is_dir() else shutil.copy(source, tmp_path)
    (tmp_path / "static").mkdir()
    command = [sys.executable, "manage.py", "makemessages", "--locale", "zh_Hans", "--no-location", "--no-obsolete"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    fresh = tmp_path / CATALOGUE
    assert entries(fresh, "--untranslated") == "", "translate these in locale/ after `make messages`"
    assert entries(fresh, "--only-fuzzy") == ""
    assert entries(fresh) == entries(TOP / CATALOGUE), "run `make messages`"
