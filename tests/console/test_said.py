"""What the engine says reaches a Chinese page in Chinese."""

from __future__ import annotations

import ast
import dataclasses
import errno
import os
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.utils import translation

from console import said
from console.spoken import KERNEL, PATTERNS, WORD, WORDS, Source
from engine import ContainerSpec, Engine, HealthCheck, Image, LogPattern
from engine.errors import InvalidRequest

TOP = Path(__file__).resolve().parents[2]


ENGINE = Source(TOP)
# What goes to somebody who says it and cannot be read from the source, and why it needs no translation.
EXPLAINED = {
    "error.strerror or str(error)": "the kernel's words",
    "os.strerror(error.errno or 0)": "the kernel's words",
    "error.args[0].replace(_LINES, b'', 1).decode('utf-8', 'replace').partition(': ')": "among the PATTERNS",
    "unreadable(paths)": "SQLite's words", "unreadable": "SQLite's words",
    "str(error)": "what the compiler of seccomp profiles says of one, for who writes them",
    "step": "what a shim was doing when the kernel refused",
    "request['op']": "a name in the launcher's protocol, before the kernel's words",
    "method.__name__.replace('_', ' ')": "the name of an act, before the kernel's words",
    "str(group)": "a path", "name": "a path, or what a check is called where it is made",
    "platform.python_version()": "a number", "platform.machine()": "a name",
    "name.removesuffix('_s').replace('_', ' ')": "is among the WORDS",
    "message": "is read where it is given", "each": "is read where it is given",
    "error.hint": "is read where it is given",
}  # fmt: skip


def test_all_that_the_engine_says_can_be_read_from_its_source() -> None:
    unread = {ast.unparse(node) for _where, node, texts in ENGINE.spoken() if texts is None}
    assert unread - EXPLAINED.keys() == set(), "write it where it is said, or explain here what needs no translation"
    assert EXPLAINED.keys() - unread == set(), "explains what is not there"
    assert len(ENGINE.texts()) > 500


def test_a_new_error_of_the_engine_is_noticed() -> None:
    source = Source(TOP)
    source.add(
        "engine/new.py",
        "def f(n):\n    hint = 'give it a rest' if n else 'try harder'\n    raise Busy(f'{n!r} is no moon', hint=hint)",
    )
    assert set(source.texts()) - set(ENGINE.texts()) == {"give it a rest", "try harder", "%(n)s is no moon"}


@pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES if code != "en"])
def test_each_of_its_sentences_is_recognised(language: str) -> None:
    wrong = []
    with translation.override(language):
        for text in ENGINE.texts():
            names = said.PLACE.findall(text)
            values = {name: "a label" if name == "what" else f"<{name}>" for name in names}
            told = translation.pgettext(said.CONTEXT, text)
            words = {name: said.said(value) for name, value in values.items()}
            if said.said(text % values if names else text) != (told % words if names else told):
                wrong.append(text)
    assert wrong == []


def test_what_pages_alone_say_is_marked() -> None:
    source = Source(TOP)
    for path in (TOP / "console").glob("*/**/*.py"):
        if not {"management", "migrations"} & {*path.parts}:
            source.add(path.relative_to(TOP).as_posix(), path.read_text())
    said_by_pages = ((where, node, texts) for where, node, texts in source.spoken() if where.count("/") > 1)
    unmarked = [
        (where, text) for where, _node, texts in said_by_pages
        for text in texts or () if where.startswith("console/") and WORD.search(said.PLACE.sub("", text))
    ]  # fmt: skip
    assert {text for _where, text in unmarked} == {'{"image": "…", "name": "…"}', '{"name": "…"}'}  # words of JSON


def test_words_in_places_are_the_engine_s() -> None:
    known = {
        node.value
        for path in (TOP / "engine").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    times = {field.name.removesuffix("_s").replace("_", " ") for field in dataclasses.fields(HealthCheck)}
    assert WORDS - known - times == set()
    assert KERNEL - {os.strerror(number) for number in errno.errorcode} == set()


def test_english_stays_as_it_is_and_so_does_what_nobody_translated() -> None:
    with translation.override("en"):
        assert said.said("there is no container 'web'") == "there is no container 'web'"
    with translation.override("zh-hans"):
        assert said.said("'web' cannot be executed: Permission denied") == "无法执行 \u201cweb\u201d\uff1a权限不足"
        assert said.said("the moon is full") == "the moon is full"
        assert said.said("'x' is not a moon") == "'x' is not a moon"
        assert said.said("there is no container 'web'") == "没有容器 \u201cweb\u201d"
        assert said.said("cannot pause container 'web': it is exited") == "不能暂停容器 \u201cweb\u201d\uff1a它已结束"


@pytest.mark.django_db
def test_a_chinese_page_has_the_engine_s_errors_in_chinese(page: Client, engine: Engine, image: Image) -> None:
    page.post("/language/", {"language": "zh-hans", "next": "/"})
    assert "没有容器 \u201cnowhere\u201d" in page.get("/containers/nowhere/").content.decode()
    engine.create(ContainerSpec("team/empty:1", name="web"))
    toast = page.post("/containers/web/pause/", headers={"HX-Request": "true"}).content.decode()
    assert "不能暂停容器 \u201cweb\u201d\uff1a它尚未启动" in toast
    assert "请先启动它" in toast
    form = {"image": "team/empty:1", "name": "web", "network": "none", "act": "create"}
    assert "已被占用" in page.post("/containers/-/create/", form).content.decode()
    wrong = page.post("/containers/-/create/", form | {"memory": "lots", "labels": "x"}).content.decode()
    assert "\u201clots\u201d 不是有效的大小" in wrong
    assert "\u201cx\u201d 不是有效的标签" in wrong


@pytest.mark.django_db(transaction=True)
def test_acts_on_many_at_once_know_who_asks_and_in_what_language(page: Client, engine: Engine, image: Image) -> None:
    page.post("/language/", {"language": "zh-hans", "next": "/"})
    made = [engine.create(ContainerSpec("team/empty:1", name=name)) for name in ("one", "two")]
    wish = {"act": "pause", "id": [container.id for container in made]}
    shown = page.post("/containers/-/bulk/", wish).content.decode()
    assert "不能暂停容器 \u201cone\u201d\uff1a它尚未启动" in shown
    page.post("/containers/-/bulk/", wish | {"act": "remove", "sure": "yes"})
    removed = [event for event in engine.events() if event.action == "remove"]
    assert [event.detail.get("by") for event in removed] == ["captain", "captain"]


@pytest.mark.django_db
def test_a_refusal_by_policy_is_chinese(
    client: Client, engine: Engine, image: Image, django_user_model: object
) -> None:
    client.force_login(django_user_model.objects.create_user("mate"))  # type: ignore[attr-defined]
    client.post("/language/", {"language": "zh-hans", "next": "/"})
    form = {"image": "team/empty:1", "name": "web", "network": "host", "act": "create"}
    answer = client.post("/containers/-/create/", form)
    assert answer.status_code == 403
    assert "--network host 仅限管理员" in answer.content.decode()


@pytest.mark.parametrize(
    "pattern",
    ["(a", "a)", "[a", "*a", "a**", "a{2000}", "(?<a", "\\", "[z-a]", "\\8", "[[:foo:]]", "(?z)", "(?P<>a)", "\\pX"],
)
def test_what_is_wrong_with_a_pattern_is_chinese(pattern: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        LogPattern(pattern, regex=True)
    why = caught.value.message.removeprefix("not a regular expression: ").partition(" in “")[0]
    assert why in PATTERNS
    with translation.override("zh-hans"):
        assert why not in said.said(caught.value.message)
