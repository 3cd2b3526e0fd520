"""Where one can go, and what one can begin, from every page: the navigation, the palette and the keys read this."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


@dataclass(frozen=True, slots=True)
class Place:
    """A page. `key` follows g on the keyboard; `group` is the heading that it stands under."""

    group: str | Promise
    target: str  # the name of its address
    drawing: str  # its icon
    word: str | Promise
    key: str = ""
    admins: bool = False  # members may not go there, and do not see it
    also: str | Promise = ""  # what else one may call it, with commas
    part: str = ""  # of the page, where it is not all of it

    @property
    def noun(self) -> str:
        """What all addresses of this part of the console have in common."""
        return self.target.partition(":")[0]

    @property
    def url(self) -> str:
        """Its address."""
        return reverse(self.target) + (f"#{self.part}" if self.part else "")


RUN, STORE, WATCH, MANAGE = _("Run"), _("Store"), _("Watch"), _("Manage")

PLACES = (
    Place(RUN, "overview", "overview", _("Overview"), "o"),
    Place(RUN, "containers:list", "container", _("Containers"), "c"),
    Place(STORE, "images:list", "image", _("Images"), "i"),
    Place(STORE, "volumes:list", "volume", _("Volumes"), "v"),
    Place(WATCH, "events:list", "clock", _("Events"), "e"),
    Place(MANAGE, "jobs:list", "jobs", _("Jobs"), "j", also=pgettext_lazy("also", "tasks")),
    Place(MANAGE, "users:list", "user", _("Users"), "u", admins=True),
    Place(MANAGE, "system:report", "system", _("System"), "s",
          also=pgettext_lazy("also", "settings, host, versions, checks, doctor, status")),
)  # fmt: skip

# What is no page of its own in the navigation, and is looked for by its name.
FURTHER = (
    Place(MANAGE, "mfa_index", "user", _("Account and security"), also=pgettext_lazy(
        "also", "password, profile, settings, preferences, passkeys, authenticator app, two-factor, 2fa, sessions, "
        "api tokens, recovery codes")),
    Place(MANAGE, "system:report", "volume", _("Backups"), admins=True, part="backups",
          also=pgettext_lazy("also", "back up now, restore")),
    Place(MANAGE, "system:report", "system", _("Disk"), part="disk",
          also=pgettext_lazy("also", "space, storage, usage")),
)  # fmt: skip

# What begins something new; `group` is what the palette shows beside it.
BEGINNINGS = (
    Place(RUN, "containers:create", "plus", _("Create container"), also=pgettext_lazy("also", "new, run")),
    Place(STORE, "images:import", "in", _("Import image"), also=pgettext_lazy("also", "new, load, upload")),
)


def begin_with(image: str) -> str:
    """The address of the form for a container from this image."""
    return f"{reverse('containers:create')}?{urlencode({'image': image})}"


def places(admin: bool) -> list[Place]:
    """Those that the user may go to."""
    return [place for place in PLACES if admin or not place.admins]


def further(admin: bool) -> list[Place]:
    """The same of those that only who looks for them finds."""
    return [place for place in FURTHER if admin or not place.admins]


def groups(admin: bool) -> list[tuple[str | Promise, list[Place]]]:
    """The navigation: headings and the places below them, each heading once."""
    shown = places(admin)
    headings = dict.fromkeys(place.group for place in shown)
    return [(heading, [place for place in shown if place.group == heading]) for heading in headings]
