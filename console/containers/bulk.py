"""One act upon many containers, with a result for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from typing import NamedTuple

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy
from django.views.decorators.http import require_POST

from console import gateway, jobs
from console.containers import filters, stopping
from engine import Caller, Container, Engine, State, errors

AT_ONCE = 16  # side by side: most of a stop is waiting
SOON = 25  # so many are done while somebody waits; more are a job, and are removed only by who has typed how many
NAMED = 50  # in what is asked before a removal; the others are counted
TITLES = {
    "start": gettext_lazy("Start containers"), "stop": gettext_lazy("Stop containers"),
    "restart": gettext_lazy("Restart containers"), "pause": gettext_lazy("Pause containers"),
    "unpause": gettext_lazy("Unpause containers"), "kill": gettext_lazy("Kill containers"),
    "remove": gettext_lazy("Remove containers"),
}  # fmt: skip
DONE = {
    "start": ngettext_lazy("Started %(n)d container.", "Started %(n)d containers.", "n"),
    "stop": ngettext_lazy("Stopped %(n)d container.", "Stopped %(n)d containers.", "n"),
    "restart": ngettext_lazy("Restarted %(n)d container.", "Restarted %(n)d containers.", "n"),
    "pause": ngettext_lazy("Paused %(n)d container.", "Paused %(n)d containers.", "n"),
    "unpause": ngettext_lazy("Unpaused %(n)d container.", "Unpaused %(n)d containers.", "n"),
    "kill": ngettext_lazy("Killed %(n)d container.", "Killed %(n)d containers.", "n"),
    "remove": ngettext_lazy("Removed %(n)d container.", "Removed %(n)d containers.", "n"),
}
REACHED = {
    "start": (State.RUNNING,), "unpause": (State.RUNNING,), "pause": (State.PAUSED,), "kill": (State.EXITED,),
}  # fmt: skip


class Result(NamedTuple):
    """How it went with one."""

    name: str
    error: str  # "" when it went well


class Wish(NamedTuple):
    """What to do to each, for whom, and since when: what was brought about since then is done."""

    act: str
    caller: Caller
    since_ns: int
    patience: stopping.Patience | None = None


def _start(engine: Engine, container: Container, wish: Wish) -> None:
    engine.start(container.id)


def _stop(engine: Engine, container: Container, wish: Wish) -> None:
    stopping.stop(container, wish.caller, wish.patience)


def _restart(engine: Engine, container: Container, wish: Wish) -> None:
    stopping.restart(container, wish.caller, wish.patience)


def _pause(engine: Engine, container: Container, wish: Wish) -> None:
    engine.pause(container.id)


def _unpause(engine: Engine, container: Container, wish: Wish) -> None:
    engine.unpause(container.id)


def _kill(engine: Engine, container: Container, wish: Wish) -> None:
    engine.kill(container.id, caller=wish.caller)


def _remove(engine: Engine, container: Container, wish: Wish) -> None:
    engine.remove(container.id, force=True, caller=wish.caller)


ACTS: dict[str, Callable[[Engine, Container, Wish], None]] = {
    "start": _start, "stop": _stop, "restart": _restart, "pause": _pause, "unpause": _unpause, "kill": _kill,
    "remove": _remove,
}  # fmt: skip


@require_POST
def act(request: HttpRequest) -> HttpResponse:
    """Do it to each that was chosen. A removal is asked about first: what goes is listed."""
    wish = request.POST.get("act", "")
    if wish not in ACTS:
        raise errors.InvalidRequest(_("Nothing was chosen to do"), hint=_("press one of the buttons"))
    engine = gateway.engine()
    ids = _chosen(request, engine)
    if not ids:
        raise errors.InvalidRequest(_("No container is chosen"), hint=_("tick some in the list"))
    if wish == "remove" and request.POST.get("sure") != "yes":
        return _ask(request, engine, ids)
    if wish == "remove" and len(ids) > SOON and request.POST.get("typed", "").strip() != str(len(ids)):
        raise errors.InvalidRequest(
            _("The typed number is not %(n)d") % {"n": len(ids)}, hint=_("type how many containers go")
        )
    if len(ids) > SOON or (wish in stopping.ACTS and any(_takes_long(engine, container_id) for container_id in ids)):
        record = jobs.begin(request.user, str(TITLES[wish]), do, act=wish, ids=ids, since_ns=time.time_ns())
        return gateway.go(request, record.get_absolute_url())
    chosen_act = Wish(wish, gateway.caller(request.user), time.time_ns())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = [each.result() for each in _begun(pool, chosen_act, ids)]
    failed = [result for result in results if result.error]
    if not failed:
        return _well(request, DONE[wish] % {"n": len(results)})
    return _answer(request, "results", {"failed": failed, "well": [each for each in results if not each.error]})


def _chosen(request: HttpRequest, engine: Engine) -> list[str]:
    """The ids of those that were ticked, of those that were asked about, or of all that the list's filter leaves."""
    if request.POST.get("all"):
        found = engine.listing(request.POST.get("q", "").strip(), filters.statuses(request.POST.get("state", "")))
        return [container.id for container in found.containers]
    return list(dict.fromkeys([*request.POST.getlist("id"), *request.POST.get("ids", "").split()]))


def _ask(request: HttpRequest, engine: Engine, ids: list[str]) -> HttpResponse:
    """What goes. The answer brings back just these, whatever else has come to match meanwhile."""
    chosen = [each for each in (_found(engine, container_id) for container_id in ids) if each]
    context = {
        "chosen": chosen,
        "named": chosen[:NAMED],
        "others": len(chosen[NAMED:]),
        "ids": " ".join(each.id for each in chosen),
        "living": any(each.state.alive for each in chosen),
        "many": len(chosen) > SOON,
        "size": engine.size([each.id for each in chosen]),
    }
    return _answer(request, "ask", context, changed=False)


@jobs.repeatable(resumes=True)  # what is done already is left alone
def do(job: jobs.Job, *, act: str, ids: list[str], since_ns: int) -> jobs.Results:
    """The same as a job: its log has a line for each, and it fails when one did."""
    wish = Wish(act, job.caller, since_ns, job.check)
    failed = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = _begun(pool, wish, ids)
        try:
            for number, future in enumerate(as_completed(waiting), 1):
                result = future.result()
                failed += bool(result.error)
                job.say(f"{result.name}: {result.error or _('done')}")
                job.progress(number, len(ids), _("containers"))
        except jobs.Cancelled:
            for future in waiting:
                future.cancel()
            raise
    if failed:
        words = ngettext("%(n)d container failed", "%(n)d containers failed", failed) % {"n": failed}
        raise errors.Busy(words, hint=_("the log says why"))
    return [(_("All containers"), reverse("containers:list"))]


def _well(request: HttpRequest, words: str) -> HttpResponse:
    """All went well: nothing that somebody would have to close."""
    if request.htmx:
        return _answer(request, "well", {"text": words})
    messages.success(request, words)
    return gateway.go(request, reverse("containers:list"))


def _answer(request: HttpRequest, name: str, context: dict[str, object], *, changed: bool = True) -> HttpResponse:
    page = f"containers/bulk/_{name}.html" if request.htmx else f"containers/bulk/{name}.html"
    response = render(request, page, context)
    if request.htmx and changed:
        response["HX-Trigger"] = "wharfie:changed"
    return response


def _found(engine: Engine, container_id: str) -> Container | None:
    try:
        return engine.inspect(container_id)
    except errors.NotFound:  # somebody was faster
        return None


def _begun(pool: ThreadPoolExecutor, wish: Wish, ids: list[str]) -> list[Future[Result]]:
    """Each in a thread, which knows who asks (`acting` is of a context) and in what language (of a thread)."""
    engine, language = gateway.engine(), translation.get_language()
    return [pool.submit(copy_context().run, _done, engine, wish, container_id, language) for container_id in ids]


def _takes_long(engine: Engine, container_id: str) -> bool:
    container = _found(engine, container_id)
    return container is not None and stopping.takes_long(container)


def _done(engine: Engine, wish: Wish, container_id: str, language: str) -> Result:
    name = container_id[:12]
    try:
        container = engine.inspect(container_id)
        name = container.name
        if not _is_reached(container, wish):
            ACTS[wish.act](engine, container, wish)
    except errors.EngineError as error:
        if wish.act == "remove" and isinstance(error, errors.NotFound):
            return Result(name, "")
        with translation.override(language):
            return Result(name, gateway.sentences(error))
    return Result(name, "")


def _is_reached(container: Container, wish: Wish) -> bool:
    """Whether it is as it is to be: always so, or since a process that was killed did it."""
    if wish.act == "restart":
        return container.state is State.RUNNING and (container.started_at_ns or 0) > wish.since_ns
    return container.state in REACHED.get(wish.act, ())
