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


def test_images_are_found_to_be_run_and_volumes_in_their_list(web: Engine) -> None:
    web.create_volume("empty-hold")
    found = [(result.word, result.url) for _heading, results in find("EMPTY", web, admin=False) for result in results]
    assert found[-2:] == [
        ("team/empty:1", "/containers/-/create/?image=team%2Fempty%3A1"),
        ("empty-hold", "/volumes/#volume-empty-hold"),
    ]
    assert "team/empty:1" not in words("", web)


def test_a_verb_and_a_name_are_an_act_that_makes_sense_now(web: Engine) -> None:
    assert words("start web-c", web) == ["Start web-cache"]
    assert words("re web-c", web) == ["Remove web-cache…"]  # what does not run cannot be restarted
    assert words("stop web", web) == []


def test_a_name_is_meant_before_another_that_holds_it_and_brings_its_acts(web: Engine) -> None:
    assert words("web", web) == ["web", "web-cache", "Start web", "Log of web", "Remove web…"]
    assert words("start web", web) == ["Start web", "Start web-cache"]
    web.create(ContainerSpec(image="team/empty:1", name="newest-web"))
    assert words("we", web) == ["web-cache", "web", "newest-web"]
    assert words("team", web)[0] == "newest-web", "found by their image, the newest first"


def test_a_verb_alone_means_the_container_whose_page_is_open(page: Client, web: Engine) -> None:
    def heard(path: str) -> str:
        headers = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{path}"}
        return page.get("/search/", {"q": "start"}, headers=headers).content.decode()

    assert "Start web<" in heard("/containers/web/logs/?q=start")
    assert "Start web-cache<" in heard(f"/containers/{web.inspect('web-cache').id}/")
    assert "data-offered" not in heard("/containers/web/"), "it is this one that is meant"
    assert "Start web" not in heard("/containers/gone/")
    for path in ("/containers/", "/volumes/web/remove/", "//", "[", ""):
        assert heard(path).count("data-offered") == 2, path


def test_a_verb_alone_is_offered_for_the_containers_that_it_fits(web: Engine) -> None:
    assert words("start", web) == ["Start web-cache", "Start web"]
    assert words("stop", web) == words("restart", web) == [], "neither runs"
    assert "Start web" not in words("st", web), "it may be meant for something else"
    with translation.override("zh-hans"):
        assert words("启动", web) == ["启动 web-cache", "启动 web"]


def test_the_console_s_own_acts_and_pages_are_found_by_other_words(page: Client, web: Engine) -> None:
    for wish, found in {
        "sign out": "Sign out", "logout": "Sign out", "dark": "Theme: night", "theme": "Theme: day",
        "language": "简体中文", "settings": "Account and security", "password": "Account and security",
        "backup": "Backups", "help": "Keyboard shortcuts",
    }.items():  # fmt: skip
        assert found in words(wish, web), wish
    assert "Backups" not in words("backup", web, admin=False)
    with translation.override("zh-hans"):
        for wish, found in {"退出": "退出登录", "主题": "主题\uff1a深色", "密码": "账户与安全", "备份": "备份"}.items():
            assert found in words(wish, web), wish
    shown = page.get("/search/", {"q": "dark"}, headers={"HX-Request": "true"}).content.decode()
    assert 'data-theme-set="dark"' in shown
    shown = page.get("/search/", {"q": "sign out"}, headers={"HX-Request": "true"}).content.decode()
    assert '<form method="post" action="/sign-out/" data-leaves>' in shown


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
