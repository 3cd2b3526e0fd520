"""What can be done to the console itself from the palette: another look or language, the keys, and leaving it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


@dataclass(frozen=True, slots=True)
class Command:
    """A button. The page's scripts hear one that has `press`, as its attribute data-… and the value of that; another
    one sends `fields` to `target`, which leads to another page."""

    drawing: str
    word: str | Promise
    also: str | Promise  # what else one may call it, with commas
    press: tuple[str, str] | None = None
    target: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """Where it is sent."""
        return reverse(self.target) if self.target else ""


_THEME = pgettext_lazy("also", "theme, colours, colors, appearance, settings")
_COMMANDS = (
    Command("moon", _("Theme: night"), pgettext_lazy("also", "dark, black, night"), ("theme-set", "dark")),
    Command("sun", _("Theme: day"), pgettext_lazy("also", "light, bright, day"), ("theme-set", "light")),
    Command("theme", _("Theme: as the system's"), pgettext_lazy("also", "auto"), ("theme-set", "")),
    Command("keyboard", _("Keyboard shortcuts"), pgettext_lazy("also", "keys, hotkeys, help"), ("opens", "keys")),
    Command("leave", _("Sign out"), pgettext_lazy("also", "log out, logout, log off, exit, quit, leave"),
            target="accounts:sign-out"),
)  # fmt: skip
_LANGUAGE = pgettext_lazy("also", "language, settings, chinese")


def commands() -> Iterator[tuple[Command, list[str | Promise]]]:
    """All of them, each with what it is called."""
    for command in _COMMANDS:
        theme = [_THEME] if command.press and command.press[0] == "theme-set" else []
        yield command, [command.word, command.also, *theme]
    for code, name in settings.LANGUAGES:
        yield Command("pen", name, _LANGUAGE, target="language", fields=(("language", code),)), [name, _LANGUAGE]
