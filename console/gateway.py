"""The one place where the web meets the engine: holds it, and turns its errors into answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from console import said
from engine import errors

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser

    from engine import Caller, Engine

log = logging.getLogger(__name__)

# An error takes the status of the nearest class above it that is named here.
STATUS: dict[type[errors.EngineError], int] = {
    errors.InvalidRequest: 400,
    errors.Denied: 403,
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.WrongState: 409,
    errors.Busy: 409,
    errors.Overloaded: 429,
    errors.Corrupt: 500,
    errors.KernelError: 500,
    errors.Unsupported: 501,
    errors.Unavailable: 503,
    errors.EngineError: 500,
}

PASSING = (errors.Unavailable, errors.Corrupt)  # until somebody starts or mends what is missing: pages try again
RETRY_AFTER_S = 5  # how soon a program may ask again that was told to ask later
REGIONS = ("list", "facts")  # ids of what a page fetches again: there it is said, and tried again, in place

_engine: Engine | None = None
_lock = threading.Lock()


def engine() -> Engine:
    """This process's engine, made at first use. It never starts a launcher: the supervisor keeps one up."""
    global _engine
    with _lock:
        if _engine is None:
            from engine import Engine

            _engine = Engine(spawn_launcher=False)
        return _engine


def caller(user: AbstractUser | AnonymousUser) -> Caller:
    """Who asks, for the engine."""
    from engine import Caller, Role

    return Caller(Role.ADMIN if user.is_active and user.is_superuser else Role.MEMBER, user.get_username())


def note(kind: str, action: str, object_id: str, name: str, **detail: Any) -> None:
    """An event, by whoever the request is of. Nobody is kept from anything because the engine cannot note it."""
    try:
        engine().event_log.publish(kind, action, object_id, name, **detail)
    except errors.EngineError as error:
        log.warning("%s of %s is not among the events: %s", action, name, error)


def for_admins(user: AbstractUser | AnonymousUser, words: str) -> None:
    """Denied, in those words, to everybody else."""
    from engine import Role

    if caller(user).role is not Role.ADMIN:
        raise errors.Denied(words, hint=_("ask an admin"))


def status_of(error: errors.EngineError) -> int:
    """The HTTP status that says what the caller should do next (RFC 9110, section 15)."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def title_of(status: int) -> str:
    """A few words for the head of an error page."""
    return {
        400: _("That cannot work"),
        403: _("Not allowed"),
        404: _("Not found"),
        409: _("Not now"),
        429: _("Too much at once"),
        501: _("This host cannot do it"),
        503: _("Wharfie is not complete"),
    }.get(status, _("Something failed"))


def sentences(error: errors.EngineError) -> str:
    """An error for reading: what happened, and what to do."""
    return said.joined(map(said.sentence, filter(None, (error.message, error.hint))))


def blame(form: BaseForm, error: errors.EngineError) -> None:
    """Show an engine's error at the form's field that it is about, with what to do."""
    form.add_error(error.field if error.field in form.fields else None, sentences(error))


def answer(request: HttpRequest, error: errors.EngineError) -> HttpResponse:
    """The page for an error, or a toast when a fragment was asked for."""
    response = _answer(request, error, status_of(error))
    if isinstance(error, errors.Overloaded):
        response["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _answer(request: HttpRequest, error: errors.EngineError, status: int) -> HttpResponse:
    if getattr(request, "token", None):  # a program's
        return JsonResponse({"error": error.message, "hint": error.hint or ""}, status=status)
    retries = request.method == "GET" and isinstance(error, PASSING)
    context = {"error": error, "title": title_of(status), "status": status, "retries": retries}
    if getattr(request, "htmx", False):
        if request.method == "GET" and request.htmx.target in REGIONS:
            return render(request, "shell/lost.html", {"text": sentences(error)}, status=status)
        response = render(request, "shell/toast.html", {"level": "error", "text": sentences(error)}, status=status)
        if request.htmx.target != "toasts":  # htmx looks for another one beside the button, which may be gone by now
            response["HX-Retarget"] = "#toasts"
        response["HX-Reswap"] = "beforeend"
        return response
    response = render(request, "shell/error.html", context, status=status)
    if retries:
        response["Refresh"] = "5"  # the page says so; it needs no script
    return response


def _led_back(request: HttpRequest, refusal: HttpResponse) -> HttpResponse:
    """A page for whoever loads again what a form has led to: nothing is there to look at, but before it is."""
    above, _slash, _name = request.path.rstrip("/").rpartition("/")
    query = request.META.get("QUERY_STRING")
    error = errors.InvalidRequest(_("There is nothing to look at here: a form was sent to this address"))
    context = {"error": error, "title": _("Nothing here"), "back": f"{above}/?{query}" if query else f"{above}/"}
    response = render(request, "shell/error.html", context, status=405)
    response["Allow"] = refusal["Allow"]
    return response


class EngineErrorMiddleware:
    """Answers for every view that lets an engine's error pass; what a view does is told as the act of who asked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on."""
        from engine import acting

        with acting(request.user.get_username()):
            response = self.get_response(request)
        if response.status_code == 405 and request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return _led_back(request, response)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Turn an engine's error into an answer; anything else is a fault and stays one."""
        return answer(request, exception) if isinstance(exception, errors.EngineError) else None


def go(request: HttpRequest, url: str) -> HttpResponse:
    """Send the browser to another page, from a form or from htmx."""
    if getattr(request, "htmx", False):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return HttpResponse(status=303, headers={"Location": url})
