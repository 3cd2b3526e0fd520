"""What stands around every page: empty lists, what cannot be loaded, an engine that is down, drawings, copy buttons."""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml
from collections import Counter
from pathlib import Path

import pytest
from django.test import Client

from console import gateway
from engine import Config, ContainerSpec, Engine, Image, errors
from tests.console.conftest import HTMX

pytestmark = pytest.mark.django_db
TOP = Path(__file__).resolve().parents[2]
DOWN = errors.Unavailable("the launcher does not answer", hint="start it")


def fail(*arguments: object, **options: object) -> None:
    raise DOWN


def test_each_drawing_has_a_name_of_its_own_and_is_there() -> None:
    symbols = xml.parse(TOP / "static/icons.svg").getroot()
    names = [each.get("id") for each in symbols]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    drawn = Counter(path.get("d") for each in symbols for path in each)
    assert [path for path, count in drawn.items() if count > 1] == []
    templates = "".join(path.read_text() for path in (TOP / "templates").rglob("*.html"))
    assert set(re.findall(r'{% icon "(\w+)"', templates)) <= set(names)


def test_a_page_that_cannot_be_loaded_says_why_and_tries_again(
    page: Client, host: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "listing", fail)
    answer = page.get("/containers/?q=web")
    assert (answer.status_code, answer["Refresh"]) == (503, "5")
    shown = answer.content.decode()
    assert "The launcher does not answer" in shown
    assert 'href="/containers/?q=web"' in shown
    assert "Refresh" not in page.post("/containers/-/bulk/", {"act": "stop", "all": "yes"}), "nothing is done twice"


def test_a_list_that_cannot_be_fetched_again_says_so_in_its_place(
    page: Client, host: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "listing", fail)
    answer = page.get("/containers/?order=cpu", headers=HTMX | {"HX-Target": "list"})
    shown = answer.content.decode()
    assert (answer.status_code, answer.get("HX-Retarget")) == (503, None)
    assert "This cannot be loaded" in shown
    assert "The launcher does not answer. Start it." in shown
    assert 'hx-get="/containers/?order=cpu" hx-target="#list"' in shown
    assert 'role="alert"' in shown
    again = page.get("/containers/?order=cpu", headers=HTMX | {"HX-Target": "list", "HX-Trigger": "again"})
    assert 'role="alert"' not in again.content.decode(), "who hears the page is told once"
    assert page.get("/containers/", headers=HTMX)["HX-Retarget"] == "#toasts", "what is no list has no such place"


def test_a_store_that_is_refused_is_said_on_every_page(
    page: Client, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHARFIE_ROOT", str(config.root))
    monkeypatch.setenv("WHARFIE_RUN", str(config.run))
    with Engine(config) as engine:
        version = engine.paths.version
        instance = engine.paths.instance
        kept = instance.read_text()
    version.write_text("99")
    monkeypatch.setattr(gateway, "_engine", None)
    try:
        for path in ("/", "/containers/", "/volumes/"):
            answer = page.get(path)
            assert (answer.status_code, answer["Refresh"]) == (500, "5")
            assert "has layout" in answer.content.decode()
            assert "Try now" in answer.content.decode()
        version.write_text("1")
        assert page.get("/volumes/").status_code == 200
    finally:
        if gateway._engine:
            gateway._engine.close()
    assert instance.read_text() == kept


def test_pages_say_that_nobody_serves_the_engine_until_somebody_does(page: Client, host: Engine) -> None:
    shown = page.get("/volumes/").content.decode()
    assert "No launcher serves" in shown
    assert "none can be started" in shown
    assert "No launcher serves" in page.get("/engine/", headers=HTMX).content.decode()


def test_with_a_launcher_there_is_nothing_to_say(page: Client, image: Image) -> None:
    assert page.get("/engine/", headers=HTMX).content.decode().strip() == ""
    assert "none can be started" not in page.get("/volumes/").content.decode()


@pytest.mark.parametrize("address", ["/events/?name=nothing", "/jobs/?q=nothing", "/containers/?q=nothing"])
def test_what_matches_nothing_keeps_its_filter(page: Client, image: Image, engine: Engine, address: str) -> None:
    engine.create(ContainerSpec(image="team/empty:1", name="web"))
    shown = page.get(address).content.decode()
    assert "None match" in shown
    assert "Clear the filter" in shown
    assert 'class="empty none"' not in shown, "which hides the form that one would mend"
    assert 'value="nothing"' in shown


def test_without_containers_the_next_act_depends_on_the_images(page: Client, image: Image, engine: Engine) -> None:
    first = page.get("/containers/", headers=HTMX).content.decode()
    assert 'href="/containers/-/create/"' in first
    assert "See the images" not in first
    engine.remove_image(image.id)
    assert "See the images" in page.get("/containers/", headers=HTMX).content.decode()


def copies(page: Client, address: str) -> set[str]:
    """What can be copied there."""
    return set(re.findall(r'data-copy="[^"]*"[^>]* aria-label="([^"]+)"', page.get(address).content.decode()))


def test_what_one_takes_elsewhere_has_a_copy_button(page: Client, image: Image, engine: Engine) -> None:
    container = engine.create(ContainerSpec(image="team/empty:1", name="web", command=("true",)))
    assert copies(page, "/containers/web/") == {"Copy the id", "Copy the command"}
    assert copies(page, "/containers/web/config/") == {"Copy the id", "Copy the command", "Copy the compose file"}
    assert f'data-copy="{container.id}"' in page.get("/containers/web/files/").content.decode()
    form = {"image": "team/empty:1", "name": "two", "network": "none"}
    shown = page.post("/containers/-/equivalents/", form, headers=HTMX).content.decode()
    assert "Copy the compose file" in shown


def test_a_new_user_s_link_can_be_copied(page: Client, host: Engine) -> None:
    shown = page.post("/users/create/", {"username": "mate", "role": "member"}, follow=True).content.decode()
    assert "Copy the link" in shown
