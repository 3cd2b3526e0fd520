"""Containers for programs: list, look, create, change, start, stop, restart."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console import gateway
from console.accounts.models import ApiToken
from engine import Caller, Container, ContainerSpec, Limits, NetworkMode, RestartPolicy, Role, errors, names

CREATED = {"image": str, "name": str, "command": list, "env": list, "network": str}
CHANGED = {"name": str, "memory": str, "cpus": float, "pids": int, "restart": str}
KINDS = {
    str: gettext_lazy("a string"), list: gettext_lazy("a list of strings"), float: gettext_lazy("a number"),
    int: gettext_lazy("a whole number"),
}  # fmt: skip


def _caller(request: HttpRequest) -> Caller:
    """Who asks: the token's maker, and a member unless the token is for admins' acts."""
    found = gateway.caller(request.user)
    return found if request.token.allows(ApiToken.Scope.ADMIN) else Caller(Role.MEMBER, found.name)


@login_not_required  # the middleware of tokens has let it through
@require_http_methods(["GET", "HEAD", "POST"])
def collection(request: HttpRequest) -> JsonResponse:
    """All containers, the newest first; a POST creates one, which does not run yet."""
    engine = gateway.engine()
    if request.method != "POST":
        return JsonResponse({"containers": [_brief(each) for each in engine.containers()]})
    container = engine.create(_spec(request.body), caller=_caller(request))
    return JsonResponse(_full(container), status=201)


@login_not_required
@require_safe
def one(request: HttpRequest, ref: str) -> JsonResponse:
    """A container by name, id or the beginning of an id."""
    return JsonResponse(_full(gateway.engine().inspect(ref)))


@login_not_required
@require_POST
def update(request: HttpRequest, ref: str) -> JsonResponse:
    """Change what is given, at once and for each later start: all of it, or nothing when it is refused."""
    wish = _wish(request.body, CHANGED)
    if not wish:
        raise errors.InvalidRequest(_("No change is given"), hint=_("known: %(names)s") % {"names": ", ".join(CHANGED)})
    memory = names.size_bytes(wish["memory"], "memory") if "memory" in wish else None
    limits = Limits(memory_bytes=memory, cpus=wish.get("cpus"), pids=wish.get("pids"))
    restart = RestartPolicy.parse(wish["restart"]) if "restart" in wish else None
    made = gateway.engine().update(ref, limits, restart, name=wish.get("name", ""), caller=_caller(request))
    return JsonResponse(_full(made))


@login_not_required
@require_POST
def start(request: HttpRequest, ref: str) -> JsonResponse:
    """It runs when this answers."""
    return JsonResponse(_full(gateway.engine().start(ref)))


@login_not_required
@require_POST
def stop(request: HttpRequest, ref: str) -> JsonResponse:
    """Its stop signal, and SIGKILL when its time is over; answers when it has ended."""
    return JsonResponse(_full(gateway.engine().stop(ref, caller=_caller(request))))


@login_not_required
@require_POST
def restart(request: HttpRequest, ref: str) -> JsonResponse:
    """Stopped as `stop` does, and started again."""
    return JsonResponse(_full(gateway.engine().restart(ref, caller=_caller(request))))


def _spec(body: bytes) -> ContainerSpec:
    """What container a program asks for."""
    wish = _wish(body, CREATED)
    if not wish.get("image"):
        raise errors.InvalidRequest(_("The body is no object with an image"), hint='{"image": "…", "name": "…"}')
    if wish.get("network", "none") not in (NetworkMode.NONE, NetworkMode.HOST):
        raise errors.InvalidRequest(_("network must be none or host"), field="network")
    return ContainerSpec(
        image=wish["image"],
        name=wish.get("name", ""),
        command=tuple(wish["command"]) if "command" in wish else None,
        env=tuple(wish.get("env", ())),
        network=NetworkMode(wish.get("network", "none")),
    )


def _wish(body: bytes, known: dict[str, type]) -> dict[str, Any]:
    """What a program sent; InvalidRequest for what is not an object of known fields."""
    try:
        wish: Any = json.loads(body)
    except ValueError as error:
        raise errors.InvalidRequest(_("The body is not JSON: %(why)s") % {"why": error}) from error
    if not isinstance(wish, dict):
        raise errors.InvalidRequest(_("The body is no object"), hint='{"name": "…"}')
    for name, value in wish.items():
        kind = known.get(name)
        if kind is None:
            raise errors.InvalidRequest(
                _("%(name)s is not known here") % {"name": name},
                hint=_("known: %(names)s") % {"names": ", ".join(known)},
            )
        if not _is(value, kind):
            expected = KINDS[kind]
            raise errors.InvalidRequest(_("%(name)s must be %(kind)s") % {"name": name, "kind": expected}, field=name)
    return wish


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):  # which Python counts among the numbers
        return False
    if kind is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, (int, float) if kind is float else kind)


def _brief(container: Container) -> dict[str, Any]:
    return {
        "id": container.id,
        "name": container.name,
        "image": container.image,
        "state": container.state.value,
        "created_at_ns": container.created_at_ns,
        "started_at_ns": container.started_at_ns,
    }


def _full(container: Container) -> dict[str, Any]:
    ended = container.exit
    return _brief(container) | {
        "image_id": container.image_id,
        "argv": list(container.argv),
        "network": container.spec.network.value,
        "limits": {
            "memory_bytes": container.spec.limits.memory_bytes,
            "cpus": container.spec.limits.cpus,
            "pids": container.spec.limits.pids,
        },
        "restart": str(container.spec.restart),
        "restarts": container.restarts,
        "exit": None if ended is None else {"code": ended.code, "signal": ended.signal, "oom": ended.oom_killed},
    }
