"""Programs sign in with a token: `Authorization: Bearer …` (RFC 6750), below /api/ and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _

from console.accounts.models import ApiToken
from console.accounts.throttle import Throttle

PREFIX = "/api/"
SAFE = ("GET", "HEAD", "OPTIONS")


class BearerMiddleware:
    """Lets nothing below /api/ be reached without a token that is good for it, and looks at no cookie there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._uses = Throttle(tries=600, window_s=60)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer 401, 403 or 429 in JSON, or pass on with ``request.user`` and ``request.token`` set."""
        if not request.path_info.startswith(PREFIX):
            return self.get_response(request)
        kind, _space, shown = request.headers.get("Authorization", "").partition(" ")
        token = ApiToken.find(shown.strip()) if kind.lower() == "bearer" else None
        if token is None:
            return refusal(401, _("This needs a token that is good: Authorization: Bearer …"), **CHALLENGE)
        if wait_s := self._uses.retry_after_s(token.token_hash):
            return refusal(429, _("Too many requests"), **{"Retry-After": str(wait_s)})
        need = ApiToken.Scope.READ if request.method in SAFE else ApiToken.Scope.WRITE
        if not token.allows(need):
            return refusal(403, _("This token may only read"))
        request.user, request.token = token.user, token
        request._dont_enforce_csrf_checks = True  # no other site can send this header for somebody
        return self.get_response(request)


CHALLENGE = {"WWW-Authenticate": "Bearer"}


def refusal(status: int, message: str, hint: str = "", **headers: str) -> JsonResponse:
    """An error as programs read it."""
    return JsonResponse({"error": message, "hint": hint}, status=status, headers=headers)
