"""What the palette finds: pages and acts by their words in either language, containers by name."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import translation

from console.search.results import find
from engine import ContainerSpec, Engine, Image

pytestmark = pytest.mark.django_db


def words(text: str, engine: Engine, admin: bool = True) -> list[str]:
    return [result.word for _heading, results in find(text, engine, admin) for result in results]


@pytest.fixture
def web(image: Image, engine: Engine) -> Engine:
    for name in ("web", "web-cache"):
        engine.create(ContainerSpec(image="team/empty:1", name=name))
    return engine


def test_a_few_letters_find_pages_and_beginnings(web: Engine) -> None:
    assert words("vol", web) == ["Volumes"]
    assert words("creat", web) == ["Create container"]
    assert words("user", web) == ["Users"]
    assert words("user", web, admin=False) == []
    assert words("nothing is called so", web) == []


def test_a_verb_and_a_name_are_an_act_that_makes_sense_now(web: Engine) -> None:
    assert words("start web-c", web) == ["Start web-cache"]
    assert words("re web-c", web) == ["Remove web-cache…"]  # what does not run cannot be restarted
    assert words("stop web", web) == []
    assert words("web", web) == ["web-cache", "web"]


def test_chinese_and_english_words_both_work_in_chinese(web: Engine) -> None:
    with translation.override("zh-hans"):
        assert words("启动 web-c", web) == words("start web-c", web) == ["启动 web-cache"]
        assert words("卷", web) == words("volumes", web) == ["卷"]


def test_without_scripts_the_palette_is_a_page_with_forms(page: Client, web: Engine) -> None:
    shown = page.get("/search/", {"q": "start web-c"}).content.decode()
    assert f'action="/containers/{web.inspect("web-cache").id}/start/"' in shown
    assert "<html" in shown
    fragment = page.get("/search/", {"q": "<b>"}, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in fragment
    assert "&lt;b&gt;" in fragment
