"""Every piece that pages are made of, in every state: to look at, to test, and to take from."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django import forms
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

COLOURS = (
    *("page", "surface", "raised", "hover", "well", "field", "line", "edge", "ink", "ink-2", "ink-3", "vest", "mark"),
    *("ok", "busy", "idle", "warn", "bad", "bad-soft", "s1", "s2", "s3", "s4", "s5", "s6"),
)
LOADS = (0, 0.04, 0.4, 0.86, 0.97, 1)


class Sample(forms.Form):
    """A field of each kind; `wrong` is filled in wrongly."""

    plain = forms.CharField(label="Name", help_text="Empty: Wharfie chooses one", required=False)
    wrong = forms.IntegerField(label="Memory")
    chosen = forms.ChoiceField(label="Restart", choices=[("no", "Never"), ("always", "Always")])
    many = forms.CharField(label="Variables", widget=forms.Textarea(attrs={"rows": 3, "class": "mono"}), required=False)
    off = forms.CharField(label="Not now", disabled=True, required=False, initial="cannot be changed")


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """The page."""
    sprite = Path(finders.find("icons.svg") or "").read_text()
    context: dict[str, Any] = {
        "colours": COLOURS,
        "loads": LOADS,
        "icons": re.findall(r'symbol id="([a-z]+)"', sprite),
        "form": Sample({"plain": "", "wrong": "lots", "chosen": "no", "many": "A=1"}),
        "points": _points(),
        "states": (
            ("ok", _("Running")),
            ("busy", _("Starting up")),
            ("", _("Stopped")),
            ("warn", _("Paused")),
            ("bad", _("Failed")),
        ),
    }
    return render(request, "styleguide/show.html", context)


def _points() -> list[tuple[str, float, float | None]]:
    """Figures of two containers, with a gap in those of the second."""
    start = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
    return [
        (
            (start + timedelta(minutes=i)).isoformat(),
            (i * 7 % 11) / 10 + 0.4,
            None if 20 < i < 26 else (i * 5 % 7) / 5 + 1,
        )
        for i in range(48)
    ]
