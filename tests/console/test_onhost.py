"""Pages name the commands of the Wharfie that serves them."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from console import onhost
from engine import Config, Image, __version__

TOP = Path(__file__).resolve().parents[2]


def test_in_its_directory_make_does_it() -> None:
    known = onhost.commands(TOP)
    assert (known.link, known.start, known.stop) == ("sudo make link", "sudo make run", "")
    for target in (known.link, known.start, known.down):
        assert f"\n{target.rpartition(' ')[2]}: ## " in (TOP / "Makefile").read_text()


@pytest.mark.parametrize(("prefix", "wharfie"), [("/usr/local", "sudo wharfie"), ("/opt", "sudo /opt/sbin/wharfie")])
@pytest.mark.parametrize("booted", [True, False])
def test_what_is_installed_has_a_command_and_perhaps_a_service(
    monkeypatch: pytest.MonkeyPatch, prefix: str, wharfie: str, booted: bool
) -> None:
    monkeypatch.setattr("os.path.isdir", lambda path: booted)
    known = onhost.commands(Path(prefix) / "lib/wharfie")
    assert (known.wharfie, known.link, known.down) == (wharfie, f"{wharfie} setup_link", f"{wharfie} down")
    assert known.start == ("sudo systemctl start wharfie" if booted else f"{wharfie} serve")
    assert known.stop == ("sudo systemctl stop wharfie" if booted else "")
    assert onhost.here(known, Path("/srv/w"), Config.run) == known
    installer = (TOP / "scripts/install").read_text()
    assert "Makefile" not in installer  # by which it is told from a checkout
    assert '"$DESTDIR$PREFIX/sbin/wharfie"' in installer


def test_a_store_elsewhere_is_named() -> None:
    known = onhost.commands(TOP)
    assert onhost.here(known, Config.root, Config.run) == known
    elsewhere = onhost.here(known, Path("/srv/my store"), Config.run)
    assert elsewhere.down == "sudo WHARFIE_ROOT='/srv/my store' make down"
    assert elsewhere.stop == ""


@pytest.mark.django_db
def test_pages_say_so(page: Client, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onhost, "COMMANDS", onhost.commands(Path("/usr/local/lib/wharfie")))
    system = page.get("/system/").content.decode()
    assert "sudo wharfie restore" in system
    assert "make" not in system.partition("How to restore one")[2].partition("</details>")[0]
    assert f'<dt>Wharfie</dt><dd class="mono">{__version__}</dd>' in system
    assert "sudo wharfie setup_link" in Client().get("/sign-in/").content.decode()
