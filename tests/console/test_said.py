"""What the engine says reaches a Chinese page in Chinese."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.utils import translation

from console import said
from engine import ContainerSpec, Engine, Image

TOP = Path(__file__).resolve().parents[2]


def spoken() -> Iterator[str]:
    """Every text in the source, its places as they are in `said`, but without names."""
    for path in (*(TOP / "engine").rglob("*.py"), *(TOP / "console").rglob("*.py")):
        if path == Path(said.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "%" for part in node.values]
                yield "".join(map(str, parts))


def test_each_sentence_is_one_that_is_said() -> None:
    known = set(spoken())
    assert [each for each in said.SENTENCES if said.PLACE.sub("%", each) not in known] == []
    assert [each for each in said.WORDS if not {each, f"% is not {each}"} & known] == []


def test_english_stays_as_it_is_and_so_does_what_nobody_translated() -> None:
    with translation.override("en"):
        assert said.said("there is no container 'web'") == "there is no container 'web'"
    with translation.override("zh-hans"):
        assert said.said("the moon is full") == "the moon is full"
        assert said.said("'x' is not a moon") == "'x' is not a moon"
        assert said.said("there is no container 'web'") == "没有容器 'web'"
        assert said.said("cannot pause container 'web': it is exited") == "不能暂停容器 'web'\uff1a它已结束"


@pytest.mark.django_db
def test_a_chinese_page_has_the_engine_s_errors_in_chinese(page: Client, engine: Engine, image: Image) -> None:
    page.post("/language/", {"language": "zh-hans", "next": "/"})
    assert "没有容器 &#x27;nowhere&#x27;" in page.get("/containers/nowhere/").content.decode()
    engine.create(ContainerSpec("team/empty:1", name="web"))
    toast = page.post("/containers/web/pause/", headers={"HX-Request": "true"}).content.decode()
    assert "不能暂停容器 &#x27;web&#x27;\uff1a它尚未启动" in toast
    assert "请先启动它" in toast
    form = {"image": "team/empty:1", "name": "web", "network": "none", "act": "create"}
    assert "已被占用" in page.post("/containers/-/create/", form).content.decode()
    wrong = page.post("/containers/-/create/", form | {"memory": "lots", "labels": "x"}).content.decode()
    assert "&#x27;lots&#x27; 不是有效的大小" in wrong
    assert "&#x27;x&#x27; 不是有效的标签" in wrong


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
