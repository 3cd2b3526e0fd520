"""A container's spec as a compose file (compose-spec.io). Scalars are JSON's, which YAML reads as they are."""

from __future__ import annotations

import json
import re
from typing import Any

from console import spelling
from engine import ContainerSpec, NetworkMode, Security

Node = dict[str, Any]
DEFAULT_NAME = "app"


def compose(spec: ContainerSpec) -> str:
    """The file's text, with a remark for each option that compose has no word for."""
    service = _service(spec)
    document: Node = {"services": {spec.name or DEFAULT_NAME: {key: value for key, value in service.items() if value}}}
    if spec.volumes:
        # They are there, under just these names.
        document["volumes"] = {each.volume: {"external": True} for each in spec.volumes}
    lacking = [name for name in ("cpuset_mems", "huge_pages") if getattr(spec.limits, name)]
    remarks = "".join(f"# Compose has no word for {name}.\n" for name in lacking)
    return remarks + "\n".join(_block(document, 0)) + "\n"


def _service(spec: ContainerSpec) -> Node:
    security, namespaces, limits = spec.security, spec.namespaces, spec.limits
    swap = limits.memory_swap_bytes
    return {
        "image": spec.image,
        "container_name": spec.name,
        "entrypoint": list(spec.entrypoint or ()),
        "command": list(spec.command or ()),
        "environment": {name: value if sign else None for name, sign, value in map(_variable, spec.env)},
        "user": spec.user,
        "working_dir": spec.workdir,
        "hostname": spec.hostname,
        "domainname": spec.domainname,
        "network_mode": namespaces.network if spec.network is NetworkMode.CONTAINER else spec.network.value,
        "pid": namespaces.pid,
        "ipc": namespaces.ipc,
        "uts": namespaces.uts,
        "userns_mode": namespaces.user,
        "mem_limit": limits.memory_bytes and spelling.size(limits.memory_bytes),
        "memswap_limit": swap and (-1 if swap == -1 else spelling.size(swap)),
        "cpus": limits.cpus,
        "pids_limit": limits.pids,
        "cpu_shares": limits.cpu_shares,
        "cpuset": limits.cpuset_cpus,
        "blkio_config": _disks(spec),
        "volumes": _mounts(spec),
        "tmpfs": [spelling.tmpfs(each) for each in spec.tmpfs],
        "privileged": security.privileged,
        "cap_add": list(security.cap_add),
        "cap_drop": list(security.cap_drop),
        "devices": [f"{each.source}:{each.target}:{each.access}" for each in security.devices],
        "security_opt": _seccomp(security),
        "sysctls": dict(security.sysctls),
        "ulimits": {each.name: {"soft": each.soft, "hard": each.hard} for each in security.ulimits},
        "group_add": list(security.group_add),
        "read_only": security.read_only,
        "shm_size": security.shm_bytes != Security().shm_bytes and spelling.size(security.shm_bytes),
        "oom_score_adj": security.oom_score_adj,
        "restart": spec.restart.mode != "no" and str(spec.restart),
        "healthcheck": _health(spec),
        "init": spec.init,
        "tty": spec.tty,
        "stdin_open": spec.stdin,
        "stop_signal": spec.stop_signal,
        "stop_grace_period": _grace(spec.stop_timeout_s),
        "labels": dict(spec.labels),
    }


def _variable(entry: str) -> tuple[str, str, str]:
    return entry.partition("=")


def _disks(spec: ContainerSpec) -> Node:
    config: Node = {"weight": spec.limits.io_weight} if spec.limits.io_weight else {}
    for limit in spec.limits.io:
        for kind, text in spelling.disk(limit):
            path, _, rate = text.rpartition(":")
            config.setdefault(f"device_{kind.replace('-', '_')}", []).append({"path": path, "rate": rate})
    return config


def _mounts(spec: ContainerSpec) -> list[Node]:
    found: list[Node] = []
    for each in spec.volumes:
        options: Node = ({} if each.copy else {"nocopy": True}) | ({"subpath": each.subpath} if each.subpath else {})
        found.append({"type": "volume", "source": each.volume, "target": each.target, "read_only": each.read_only})
        if options:
            found[-1]["volume"] = options
    for bind in spec.binds:
        found.append({"type": "bind", "source": bind.source, "target": bind.target, "read_only": bind.read_only})
    return found


def _seccomp(security: Security) -> list[str]:
    if not security.seccomp:
        return []
    return [f"seccomp:{'unconfined' if security.seccomp == 'unconfined' else spelling.PROFILE}"]


def _health(spec: ContainerSpec) -> Node:
    check = spec.health
    if check is None:
        return {}
    if not check.test:
        return {"disable": True}
    times = {
        name: spelling.seconds(getattr(check, f"{name}_s"))
        for name in ("interval", "timeout", "start_period", "start_interval")
    }
    return {"test": ["CMD", *check.test], **times, "retries": check.retries}


def _grace(seconds: float) -> str:
    if seconds == ContainerSpec("").stop_timeout_s or seconds < 0:
        return ""
    return spelling.seconds(seconds)


def _block(node: Node, depth: int) -> list[str]:
    lines = []
    for key, value in node.items():
        head = f"{'  ' * depth}{_scalar(key)}:"
        if isinstance(value, dict):
            lines += [head, *_block(value, depth + 1)] if value else [f"{head} {{}}"]
        elif isinstance(value, list):
            lines += [head, *(f"{'  ' * depth}  - {_flow(each)}" for each in value)]
        else:
            lines.append(f"{head} {_scalar(value)}")
    return lines


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    return _scalar(value)


PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/")
_UNPRINTABLE = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")  # YAML 1.2, 5.1
WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}  # which YAML 1.1 takes for something else


def _scalar(value: Any) -> str:
    """Compose puts variables in the place of $NAME, and takes $$ for a $."""
    if not isinstance(value, str):
        return json.dumps(value)
    text = value.replace("$", "$$")
    if set(text) <= PLAIN and text and text.casefold() not in WORDS:
        return text
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
