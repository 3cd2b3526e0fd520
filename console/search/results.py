"""What a few typed words mean: `vol` is a page, `web` a container, `restart web` an act, `deb` an image to run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override

from console.navigation import BEGINNINGS, Place, begin_with, further, places
from console.search.commands import Command, commands
from engine import Container, Engine
from engine.errors import EngineError

SHOWN = 8  # of each kind; who wants more narrows it down
OFFERED = 5  # containers for a verb without a name
_NAMES = re.compile(r"[^\w -]+ ?")  # between the names that one thing may have
_RUNS = ("running", "starting", "unhealthy", "restarting")
_STATES: dict[str, tuple[str, ...]] = {  # what a container may be in for a verb; for the others in any
    "containers:start": ("created", "exited", "failed"),
    "containers:stop": (*_RUNS, "paused"),
    "containers:restart": (*_RUNS, "paused"),
    "containers:pause": _RUNS,
    "containers:unpause": ("paused",),
    "containers:terminals:list": (*_RUNS, "paused"),
}


@dataclass(frozen=True, slots=True)
class Verb:
    """Something to do to a container, when it is in a state for it."""

    word: str | Promise
    sentence: str | Promise  # with the container's name
    drawing: str
    target: str
    posts: bool = True

    def fits(self, container: Container) -> bool:
        """Whether it makes sense now; the engine has the last word."""
        if self.target == "containers:start":
            return not container.state.alive and container.state != "broken"
        if self.target == "containers:unpause":
            return container.state == "paused"
        if self.target in ("containers:logs", "containers:remove"):
            return True
        return container.state.alive and not (self.target == "containers:pause" and container.state == "paused")


VERBS = (
    Verb(gettext_lazy("Start"), gettext_lazy("Start %(name)s"), "play", "containers:start"),
    Verb(gettext_lazy("Stop"), gettext_lazy("Stop %(name)s"), "stop", "containers:stop"),
    Verb(gettext_lazy("Restart"), gettext_lazy("Restart %(name)s"), "again", "containers:restart"),
    Verb(gettext_lazy("Pause"), gettext_lazy("Pause %(name)s"), "pause", "containers:pause"),
    Verb(gettext_lazy("Unpause"), gettext_lazy("Unpause %(name)s"), "play", "containers:unpause"),
    Verb(
        gettext_lazy("Terminal"), gettext_lazy("Terminal of %(name)s"), "terminal", "containers:terminals:list", False
    ),
    Verb(gettext_lazy("Log"), gettext_lazy("Log of %(name)s"), "logs", "containers:logs", False),
    Verb(gettext_lazy("Remove"), gettext_lazy("Remove %(name)s…"), "trash", "containers:remove", False),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the palette: a link, a form with one button, or a button for a script."""

    drawing: str
    word: str
    url: str
    posts: bool = False
    beside: str = ""
    container: Container | None = None
    offered: bool = False  # nobody has named it: Enter in the field goes to it, and does not do it
    command: Command | None = None


def find(text: str, engine: Engine, admin: bool, here: str = "") -> list[tuple[str, list[Result]]]:
    """Results under their headings, those that were most likely meant first; without words all pages. ``here`` is the
    container on whose page somebody asks, or "": a verb alone means that one."""
    wish = text.casefold()
    containers = _called(wish, engine) if text else []
    named = [
        Result("container", container.name, reverse("containers:details", args=(container.id,)), container=container)
        for container in containers
    ]
    acts = _acts(wish, engine, here)
    own = [_command(command) for command, called in commands() if any(_also(wish, each) for each in called)]
    headings = [(_("Do"), acts), (_("Containers"), named)]
    if not acts and containers and containers[0].name.casefold() == wish:  # itself is meant first
        headings = [*headings[1:], (_("Do"), [_act(verb, containers[0]) for verb in VERBS if verb.fits(containers[0])])]
    headings.append((_("This console"), own))
    pages = [_place(place) for place in [*places(admin), *(further(admin) if wish else [])] if _means(wish, place)]
    begun = [_place(place) for place in BEGINNINGS if _means(wish, place)]
    headings += [(_("Go to"), pages), (_("Begin"), begun)]
    if wish:
        headings += [(_("Images"), _images(wish, engine)), (_("Volumes"), _volumes(wish, engine))]
    return [(heading, results) for heading, results in headings if results]


def _called(wish: str, engine: Engine) -> list[Container]:
    return engine.listing(wish, order="match", count=SHOWN).containers


def _images(wish: str, engine: Engine) -> list[Result]:
    """What one does with an image is to run it."""
    tags = [tag for image in engine.images() for tag in image.tags if wish in tag.casefold()]
    return [Result("image", tag, begin_with(tag), beside=_("Create container")) for tag in tags[:SHOWN]]


def _volumes(wish: str, engine: Engine) -> list[Result]:
    names = [volume.name for volume in engine.volumes() if wish in volume.name.casefold()]
    return [Result("volume", name, f"{reverse('volumes:list')}#volume-{name}") for name in names[:SHOWN]]


def _acts(wish: str, engine: Engine, here: str) -> list[Result]:
    """Acts upon containers, for words that begin as a verb does and go on with a name. A verb alone means the one whose
    page is open; elsewhere the newest are offered, once it is clear which verb it is."""
    begin, _space, name = wish.partition(" ")
    verbs = [verb for verb in VERBS if begin and _begins(begin, verb.word)]
    if not verbs:
        return []
    if not (name.strip() or here):
        return [act for verb in verbs if len(begin) > 2 or begin in _words(verb.word) for act in _offers(verb, engine)]
    try:
        containers = _called(name.strip(), engine) if name.strip() else [engine.inspect(here)]
    except EngineError:  # it was removed, and its page stands there still
        return []
    return [_act(verb, container) for container in containers for verb in verbs if verb.fits(container)][:SHOWN]


def _offers(verb: Verb, engine: Engine) -> list[Result]:
    found = engine.listing(states=_STATES.get(verb.target, ()), count=OFFERED).containers
    return [_act(verb, container, offered=verb.posts) for container in found if verb.fits(container)]


def _act(verb: Verb, container: Container, *, offered: bool = False) -> Result:
    url = reverse(verb.target, args=(container.id,))
    words = str(verb.sentence) % {"name": container.name}
    return Result(verb.drawing, words, url, verb.posts, container.image, offered=offered)


def _command(command: Command) -> Result:
    return Result(command.drawing, str(command.word), command.url, command=command)


def _place(place: Place) -> Result:
    return Result(place.drawing, str(place.word), place.url, beside=str(place.group))


def _words(word: str | Promise) -> list[str]:
    """A word in each language: who knows one may go on using it in another."""
    found = []
    for code, _name in settings.LANGUAGES:
        with override(code):
            found.append(str(word).casefold())
    return found


def _sounds(wish: str, word: str | Promise) -> bool:
    return any(wish in each for each in _words(word))


def _means(wish: str, place: Place) -> bool:
    """Whether a place is called so, or may be."""
    return _sounds(wish, place.word) or (bool(place.also) and _also(wish, place.also))


def _also(wish: str, names: str | Promise) -> bool:
    """Whether one of several names begins so; a single letter begins too many."""
    if not wish or (len(wish) < 2 and wish.isascii()):
        return False
    return any(name.startswith(wish) for each in _words(names) for name in _NAMES.split(each))


def _begins(wish: str, word: str | Promise) -> bool:
    return any(each.startswith(wish) for each in _words(word))
