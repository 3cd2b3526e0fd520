"""Pages for errors that are not the engine's."""

from __future__ import annotations

import sys

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from console import database, gateway
from engine.errors import Busy, Denied, InvalidRequest, KernelError, NotFound


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400, also for a Host header that this console does not answer to."""
    return HttpResponse(
        _("Bad request. If this address is right, add its host name to WHARFIE_HOSTS.") + "\n",
        content_type="text/plain; charset=utf-8",
        status=400,
    )


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403."""
    return gateway.answer(request, Denied(_("You may not do that")))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404 for an address that no page has."""
    return gateway.answer(request, NotFound(_("There is no page at this address"), hint=_("start from the overview")))


def too_many(request: HttpRequest) -> HttpResponse:
    """429 for who tries codes or passkeys faster than a person does."""
    response = gateway.answer(request, Busy(_("Too many tries"), hint=_("wait a few minutes and try again")))
    response.status_code = 429
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 for a database that cannot be used now: the traceback is in the console's log, not on the page."""
    if fault := database.explained(sys.exception()):
        request.user = AnonymousUser()  # whose page it is, is in the database
        return gateway.answer(request, fault)
    return gateway.answer(request, KernelError(_("The console failed to answer"), hint=_("its log says why")))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form that did not come from this browser's own page."""
    error = InvalidRequest(_("This form is too old or came from another site"), hint=_("load the page again and retry"))
    response = gateway.answer(request, error)
    response.status_code = 403
    return response
