"""The form that asks for a container: its texts as a spec, and a spec as its texts."""

from __future__ import annotations

import dataclasses
import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from console import gateway, isolation, limits, mounts, spelling, text, upkeep
from console.containers.fields import FLAGS, FOR_ADMINS, SECTIONS, Fields, Section
from engine import (
    Caller,
    ContainerSpec,
    HealthCheck,
    Image,
    NetworkMode,
    RestartMode,
    RestartPolicy,
    Role,
    Security,
    default_limits,
    errors,
    names,
)

# Where the engine's word for what is wrong is no field of the form.
PLACES = {"binds": "volumes", "log": "log_segment", "timeout": "stop_timeout_s", "restart": "restarts"}
LOOKED_AT, TOLD = 50, 8  # lines of a field that is wrong, and of those that are wrong themselves
RATE_WORDS = tuple(kind for _field, kind in spelling.RATES)


class CreateForm(Fields):
    """A valid one has the spec that it asks for, without what the image or the host says anyway."""

    spec: ContainerSpec
    missing_volume = ""  # the name of one that is asked for and not there

    def __init__(
        self,
        *args: Any,
        images: Sequence[Image] = (),
        caller: Caller,
        check: Callable[[ContainerSpec], None] = lambda spec: None,
        opened: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.flag = FLAGS.get(name, "")  # type: ignore[attr-defined]
        self.check = check  # InvalidRequest, NotFound or AlreadyExists, naming the field, for what no caller can have
        self.opened = opened  # sections, by who sends it
        self.tags = [tag for image in images for tag in (image.tags or (image.short_id,))]
        self.fields["image"].widget.attrs["list"] = "images"
        self.admin = caller.role is Role.ADMIN
        if not self.admin:
            for name in FOR_ADMINS:
                del self.fields[name]
            network: Any = self.fields["network"]  # what is not offered is still the engine's to refuse
            network.widget.choices = [choice for choice in network.choices if choice[0] == NetworkMode.NONE]
        default = default_limits()
        total = text.size((default.memory_bytes or 0) * 2)
        self.fields["memory"].help_text = _("Such as 512m or 2g. Empty: half of this host's %(total)s") % {
            "total": total
        }
        self.fields["cpus"].help_text = _("Such as 0.5. Empty: all %(n)d of this host's") % {"n": default.cpus}
        self.fields["pids"].help_text = _("Guards against fork bombs. Empty: %(n)d") % {"n": default.pids}
        if self.admin:
            self.fields["volumes"].help_text = _(
                "One volume:/path or /directory/of/the/host:/path a line, with :ro to forbid writing"
            )

    def sections(self) -> Iterator[tuple[Section, list[list[forms.BoundField]], bool]]:
        """Each with its fields, and whether it is open."""
        for section in SECTIONS:
            rows = [[self[name] for name in row if name in self.fields] for row in section.rows]
            used = any(self[name].errors or self._set(name) for name in section.names if name in self.fields)
            yield section, [row for row in rows if row], used or f"section-{section.name}" in self.opened

    def _set(self, name: str) -> bool:
        return self[name].value() not in (None, "", False, "False", self.fields[name].initial)

    def clean(self) -> dict[str, Any]:
        """The spec, or an error at each field that it cannot be made of."""
        data = {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}
        if "image" not in data:
            self.add_error("image", _("Choose an image."))
        while True:  # each wrong field is marked and left out, and the rest looked at again
            try:
                spec = _spec(data)
                self.check(spec)
                break
            except (errors.InvalidRequest, errors.NotFound, errors.AlreadyExists) as error:
                place = _place(error)
                for each in self._faults(place, data.get(place)) or [error]:
                    self.blame(each)
                wrong = [name for name in data if name == place or name.startswith(f"{place}_")]
                wrong = wrong or [name for name in data if place.startswith(f"{name}_")]
                if not wrong:
                    break
                for name in wrong:
                    del data[name]
        if not self.errors:
            self.spec = spec
        return self.cleaned_data

    def _faults(self, name: str, value: object) -> list[errors.EngineError]:
        """What is wrong with each line of a field of several, on its own: who corrects one wants to know of all."""
        lines = text.lines(value)[:LOOKED_AT] if isinstance(value, str) else []
        found: dict[str, errors.EngineError] = {}
        for line in lines if len(lines) > 1 else ():
            try:
                self.check(_spec({name: line}))
            except (errors.InvalidRequest, errors.NotFound, errors.AlreadyExists) as error:
                if _place(error) == name:
                    found.setdefault(error.message, error)
        return list(found.values())[:TOLD]

    def blame(self, error: errors.EngineError) -> None:
        """Show an engine's error at the field that it is about."""
        place = _place(error)
        if isinstance(error, errors.NotFound) and place == "volumes":
            self.missing_volume = self.missing_volume or error.subject
        self.add_error(place if place in self.fields else None, gateway.sentences(error))


def _spec(data: Mapping[str, Any]) -> ContainerSpec:
    return ContainerSpec(**{"image": "", **{k: v for part in PARTS for k, v in part(data).items()}})


def _place(error: errors.EngineError) -> str:
    """The name of the field that an error is about."""
    if error.field == "network" and isinstance(error, errors.NotFound):
        return "network_of"
    return PLACES.get(error.field, error.field)


def _at(field: str, make: Callable[[], Any]) -> Any:
    """Name the field of an error that does not."""
    try:
        return make()
    except errors.InvalidRequest as error:
        error.field = error.field or field
        raise


def _identity(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in ("image", "name", "user", "workdir", "hostname", "domainname") if name in data}


def _words(data: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: data[name].replace("\r\n", "\n") for name in ("command", "entrypoint") if name in data}
    return {name: names.words(text, name) for name, text in given.items()}


def _variable(line: str) -> str:
    """An entry, as a line of a shell's script too. InvalidRequest when no shell could ever name it."""
    entry = spelling.entry(line.removeprefix("export "))
    name = entry.partition("=")[0]
    if name.split() not in ([], [name]):
        raise errors.InvalidRequest(
            _("A variable's name has no spaces: %(name)s") % {"name": name}, hint=_("write NAME=value"), field="env"
        )
    return entry


def _lists(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "env": names.environment([_variable(line) for line in text.lines(data.get("env", ""))]),
        "labels": names.labels([spelling.entry(line) for line in text.lines(data.get("labels", ""))]),
    }


def _switches(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in ("init", "tty", "stdin", "stop_signal", "stop_timeout_s") if name in data}


def _log(data: Mapping[str, Any]) -> dict[str, Any]:
    found = {"log_segment_bytes": names.size_bytes(data["log_segment"], "log")} if "log_segment" in data else {}
    return found | ({"log_segments": data["log_segments"]} if "log_segments" in data else {})


def _limits(data: Mapping[str, Any]) -> dict[str, Any]:
    rates: dict[str, list[str]] = {f"device_{kind.replace('-', '_')}": [] for kind in RATE_WORDS}
    for line in text.lines(data.get("io", "")):
        kind, _space, rate = line.partition(" ")
        if kind not in RATE_WORDS:
            hint = _("begin the line with %(words)s") % {"words": ", ".join(RATE_WORDS)}
            raise errors.InvalidRequest(_("“%(line)s” is not a rate of a disk") % {"line": line}, hint=hint, field="io")
        rates[f"device_{kind.replace('-', '_')}"].append(rate.strip())
    same = ("memory", "memory_swap", "cpus", "cpu_shares", "cpuset_cpus", "cpuset_mems")
    options = {name: data.get(name) for name in same} | {"pids_limit": data.get("pids")}
    options |= {"blkio_weight": data.get("io_weight"), "hugetlb": text.lines(data.get("huge_pages", ""))}
    return {"limits": _at("huge_pages", lambda: limits.limits(Namespace(**options, **rates)))}


def _mounts(data: Mapping[str, Any]) -> dict[str, Any]:
    lines = text.lines(data.get("volumes", ""))
    long = [line for line in lines if line.startswith(("type=", '"type='))]
    short = [line for line in lines if line not in long]
    asked = Namespace(volume=short, mount=long, tmpfs=text.lines(data.get("tmpfs", "")))
    return _at("volumes", lambda: mounts.mounts(asked))._asdict()  # type: ignore[no-any-return]


def _sharing(data: Mapping[str, Any]) -> dict[str, Any]:
    kind = data.get("network", NetworkMode.NONE.value)
    network = f"container:{data.get('network_of', '')}" if kind == NetworkMode.CONTAINER else kind
    if network == "container:":
        hint = _("name a container")
        raise errors.InvalidRequest(_("Whose network it shares is not said"), hint=hint, field="network_of")
    options = Namespace(network=network, **{each: data.get(each, "") for each in ("pid", "ipc", "uts", "userns")})
    return {"network": isolation.network(options), "namespaces": isolation.namespaces(options)}


def _security(data: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: data.get(name, "").replace(",", " ").split() for name in ("cap_add", "cap_drop", "group_add")}
    options = Namespace(
        privileged=bool(data.get("privileged")), read_only=bool(data.get("read_only")), security_opt=[],
        device=text.lines(data.get("devices", "")), sysctl=text.lines(data.get("sysctls", "")),
        ulimit=text.lines(data.get("ulimits", "")), shm_size=data.get("shm_bytes"),
        oom_score_adj=data.get("oom_score_adj", 0), **lists,
    )  # fmt: skip
    seccomp = data.get("seccomp", "").strip()
    return {"security": dataclasses.replace(isolation.security(options), seccomp=seccomp)}


def _upkeep(data: Mapping[str, Any]) -> dict[str, Any]:
    restart = RestartPolicy(RestartMode(data.get("restart") or RestartMode.NO), data.get("restarts", 0))
    times = ("health_interval", "health_timeout", "health_start_period", "health_start_interval")
    for name in times:
        if name in data:
            _at(name, lambda name=name: upkeep.seconds(data[name]))  # type: ignore[misc]
    options = Namespace(
        health_cmd=data.get("health"), health_retries=data.get("health_retries"),
        no_healthcheck=bool(data.get("no_health")), **{name: data.get(name) for name in times},
    )  # fmt: skip
    return {"restart": restart, "health": _at("health", lambda: upkeep.health(options))}


PARTS: tuple[Callable[[Mapping[str, Any]], dict[str, Any]], ...] = (
    _identity, _words, _lists, _switches, _log, _limits, _mounts, _sharing, _security, _upkeep,
)  # fmt: skip


def initial(spec: ContainerSpec) -> dict[str, Any]:
    """The texts of a form that asks for this; the inverse of `CreateForm.spec`."""
    wanted, security, check = spec.limits, spec.security, spec.health
    usual, usual_check = ContainerSpec(""), HealthCheck(())
    swap = wanted.memory_swap_bytes
    texts: dict[str, Any] = {
        name: getattr(spec, name) for name in ("image", "name", "user", "workdir", "hostname", "domainname", "init",
                                               "tty", "stdin", "stop_signal")
    } | {name: getattr(wanted, name) for name in ("cpus", "pids", "cpu_shares", "cpuset_cpus", "cpuset_mems",
                                                  "io_weight")}  # fmt: skip
    texts |= {name: shlex.join(words) for name in ("command", "entrypoint") if (words := getattr(spec, name))}
    texts |= {
        "memory": wanted.memory_bytes and spelling.size(wanted.memory_bytes),
        "memory_swap": swap and ("-1" if swap == -1 else spelling.size(swap)),
        "io": _joined(f"{kind} {rate}" for each in wanted.io for kind, rate in spelling.disk(each)),
        "huge_pages": _joined(
            f"{spelling.size(each.page_bytes)}={spelling.size(each.limit_bytes)}" for each in wanted.huge_pages
        ),
        "stop_timeout_s": None if spec.stop_timeout_s == usual.stop_timeout_s else spec.stop_timeout_s,
        "env": _joined(map(spelling.line, spec.env)),
        "labels": _joined(spelling.line(f"{name}={value}") for name, value in spec.labels.items()),
        "volumes": _joined([*map(spelling.volume, spec.volumes), *map(spelling.bind, spec.binds)]),
        "tmpfs": _joined(map(spelling.tmpfs, spec.tmpfs)),
        "network": spec.network.value,
        "network_of": spec.namespaces.container("network"),
        "restart": spec.restart.mode.value,
        "restarts": spec.restart.most or None,
        "no_health": check is not None and not check.test,
        "log_segment": None if spec.log_segment_bytes == usual.log_segment_bytes else f"{spec.log_segment_bytes}b",
        "log_segments": None if spec.log_segments == usual.log_segments else spec.log_segments,
        "cap_add": " ".join(security.cap_add),
        "cap_drop": " ".join(security.cap_drop),
        "group_add": " ".join(security.group_add),
        "devices": _joined(map(spelling.device, security.devices)),
        "sysctls": _joined(f"{name}={value}" for name, value in security.sysctls.items()),
        "ulimits": _joined(map(spelling.ulimit, security.ulimits)),
        "userns": spec.namespaces.user,
        "shm_bytes": None if security.shm_bytes == Security().shm_bytes else spelling.size(security.shm_bytes),
        "oom_score_adj": security.oom_score_adj or None,
    } | {name: getattr(security, name) for name in ("privileged", "seccomp", "read_only")}  # fmt: skip
    texts |= {kind: getattr(spec.namespaces, kind) for kind in ("pid", "ipc", "uts")}
    if check is not None and check.test:
        texts["health"] = spelling.health(check)
        for name in ("interval", "timeout", "start_period", "start_interval"):
            value = getattr(check, f"{name}_s")
            texts[f"health_{name}"] = None if value == getattr(usual_check, f"{name}_s") else spelling.seconds(value)
        texts["health_retries"] = None if check.retries == usual_check.retries else check.retries
    return texts


def _joined(lines: Any) -> str:
    return "\n".join(lines)
