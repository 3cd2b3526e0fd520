"""English and Chinese: who gets which, and that what is compiled is what is written."""

from __future__ import annotations

import gettext
import re
import subprocess
from pathlib import Path

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import translation

from engine import Engine

pytestmark = pytest.mark.django_db
CATALOGUE = Path(__file__).resolve().parents[2] / "locale/zh_Hans/LC_MESSAGES/django.po"


def catalogue(compiled: Path) -> dict[object, str]:
    """What a compiled catalogue says, without its header."""
    with compiled.open("rb") as file:
        entries: dict[object, str] = vars(gettext.GNUTranslations(file))["_catalog"]
    return {source: words for source, words in entries.items() if source}


def test_the_browser_s_language_is_taken_until_somebody_chooses(client: Client) -> None:
    assert "登录" in client.get("/sign-in/", headers={"Accept-Language": "zh-CN,zh;q=0.9"}).content.decode()
    answer = client.post("/language/", {"language": "en", "next": "/sign-in/"})
    assert (answer.status_code, answer["Location"]) == (302, "/sign-in/")
    chosen = client.get("/sign-in/", headers={"Accept-Language": "zh-CN"}).content.decode()
    assert '<html lang="en">' in chosen
    assert "<h1>Sign in" in chosen


def test_a_chosen_language_is_that_of_every_page(page: Client, host: Engine) -> None:
    page.post("/language/", {"language": "zh-hans", "next": "/containers/"})
    shown = page.get("/containers/").content.decode()
    assert '<html lang="zh-hans">' in shown
    assert "还没有容器" in shown
    assert "这里还没有运行任何容器" in page.get("/").content.decode()


def test_what_django_says_of_a_password_is_translated() -> None:
    with translation.override("zh-hans"), pytest.raises(ValidationError) as refused:
        validate_password("12345")
    assert len(refused.value.messages) == 3
    assert not [text for text in refused.value.messages if re.search("[A-Za-z]{3}", text)]


def test_choosing_a_language_leads_to_no_other_site(client: Client) -> None:
    answer = client.post("/language/", {"language": "en", "next": "https://elsewhere.example/"})
    assert answer["Location"] == "/"


def test_what_is_compiled_is_what_is_written(tmp_path: Path) -> None:
    fresh = tmp_path / "django.mo"
    subprocess.run(["msgfmt", "--check-format", CATALOGUE, "-o", fresh], check=True)
    assert catalogue(CATALOGUE.with_suffix(".mo")) == catalogue(fresh), "run `make messages`"
