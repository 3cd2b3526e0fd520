"""One act upon many containers, with a result for each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from console import gateway, jobs
from console.containers import filters
from console.containers.stopping import stopping
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


class Result(NamedTuple):
    """How it went with one."""

    name: str
    error: str  # "" when it went well


def _start(engine: Engine, container: Container, caller: Caller) -> None:
    engine.start(container.id)


def _stop(engine: Engine, container: Container, caller: Caller) -> None:
    with stopping(container.id):
        engine.stop(container.id, caller=caller)


def _restart(engine: Engine, container: Container, caller: Caller) -> None:
    with stopping(container.id):
        engine.restart(container.id, caller=caller)


def _pause(engine: Engine, container: Container, caller: Caller) -> None:
    engine.pause(container.id)


def _unpause(engine: Engine, container: Container, caller: Caller) -> None:
    engine.unpause(container.id)


def _kill(engine: Engine, container: Container, caller: Caller) -> None:
    engine.kill(container.id, caller=caller)


def _remove(engine: Engine, container: Container, caller: Caller) -> None:
    engine.remove(container.id, force=True, caller=caller)


ACTS: dict[str, Callable[[Engine, Container, Caller], None]] = {
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
    caller = gateway.caller(request.user)
    if len(ids) > SOON:
        return gateway.go(
            request, jobs.begin(request.user, str(TITLES[wish]), _work(wish, ids, caller)).get_absolute_url()
        )
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda container_id: _done(engine, wish, container_id, caller), ids))
    failed = [result for result in results if result.error]
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


def _work(wish: str, ids: list[str], caller: Caller) -> jobs.Work:
    """The same as a job: its log has a line for each, and it fails when one did."""

    def work(job: jobs.Job) -> jobs.Results:
        engine = gateway.engine()
        failed = 0
        with ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = [pool.submit(_done, engine, wish, container_id, caller) for container_id in ids]
            try:
                for number, future in enumerate(waiting, 1):
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

    return work


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


def _done(engine: Engine, wish: str, container_id: str, caller: Caller) -> Result:
    name = container_id[:12]
    try:
        container = engine.inspect(container_id)
        name = container.name
        if not (wish == "start" and container.state is State.RUNNING):
            ACTS[wish](engine, container, caller)
    except errors.EngineError as error:
        return Result(name, gateway.sentences(error))
    return Result(name, "")
