"""What `Security` means to a process of the container: the plain data that `engine.shim` carries out."""

from __future__ import annotations

from typing import Any

from engine.linux import capabilities as capability
from engine.linux import seccomp
from engine.security.profile import compile_profile
from engine.security.spec import UNCONFINED, Security

# getrlimit(2); by Docker's names.
ULIMITS = {
    "cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7, "memlock": 8, "as": 9,
    "locks": 10, "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15,
}  # fmt: skip
DEFAULT = frozenset(capability.DEFAULT)


def every_capability() -> frozenset[str]:
    """All that this kernel knows."""
    return frozenset(capability.ALL[: capability.last() + 1])


def plain(names: tuple[str, ...]) -> frozenset[str]:
    """Capabilities as `engine.linux.capabilities` names them; ALL stays."""
    return frozenset(name.upper().removeprefix("CAP_") for name in names)


def capabilities(security: Security) -> frozenset[str]:
    """What root of the container has. As in Docker: ALL first, then what is dropped, then what is added by name."""
    added, dropped = plain(security.cap_add), plain(security.cap_drop)
    start = every_capability() if security.privileged or "ALL" in added else DEFAULT
    return (frozenset() if "ALL" in dropped else start - dropped) | (added - {"ALL"})


def confinement(security: Security, *, privileged: bool = False) -> dict[str, Any]:
    """For a process of the container; ``privileged`` for a command that runs in it with every capability.

    InvalidRequest for a seccomp profile that cannot be compiled.
    """
    held = capabilities(security)
    return {
        "capabilities": capability.mask(every_capability() if privileged else held),
        "filter": _filter(security.seccomp, held),
        "ulimits": {ULIMITS[each.name]: [each.soft, each.hard] for each in security.ulimits},
        "groups": list(security.group_add),
        "oom_score_adj": security.oom_score_adj,
    }


def unseals(security: Security) -> bool:
    """Whether its processes could take mounts apart, if those were not locked."""
    return "SYS_ADMIN" in capabilities(security) or bool(security.seccomp)


def _filter(wanted: str, held: frozenset[str]) -> str | None:
    """A program in hexadecimal; "" for none, None for the one that the shim has at hand."""
    if wanted == UNCONFINED:
        return ""
    if wanted:
        return compile_profile(wanted, held).hex()
    if seccomp.OPENED_BY.keys().isdisjoint(held):
        return None
    return seccomp.compile_default(held).hex()
