"""What a row of the list shows. Each kind of row is rendered once a page, and filled in for each row of that kind:
rendering every row costs ten times as much."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from console.containers.stopping import is_stopping
from console.templatetags.wharfie import brief, moment, state
from engine import Container


@dataclass(frozen=True, slots=True)
class Row:
    """One container in the list."""

    id: str
    name: str
    image: str
    page: str  # its own address
    acts: str  # where the addresses of what can be done to it begin
    owner: str
    running: bool
    live: bool  # it has a process, so a terminal can be opened in it
    stopping: bool
    broken: bool
    host_root: bool  # root inside is root of the host
    state: SafeString
    brief: str | SafeString
    created: str | SafeString


def rows(containers: Sequence[Container], owners: Mapping[str, str]) -> list[Row]:
    """Containers as rows, with who created them."""
    top = reverse("containers:list")  # once: it costs as much as the rest of a row
    return [_row(container, top, owners.get(container.id, "")) for container in containers]


def _row(container: Container, top: str, owner: str) -> Row:
    stopping = is_stopping(container.id)
    return Row(
        id=container.id,
        name=container.name or container.short_id,
        image=container.image,
        page=f"{top}{container.name or container.id}/",
        acts=f"{top}{container.id}/",  # a name may look like another one's short id
        owner=owner,
        running=container.state.alive,
        live=container.state == "running",
        stopping=stopping,
        broken=container.state == "broken",
        host_root=container.spec.namespaces.user == "host",
        state=state(container, stopping),
        brief=brief(container),
        created=moment(container.created_at_ns),
    )


_HOLE = re.compile("\x02([a-z]+)\x03")
_FILLED = ("id", "name", "image", "page", "acts", "owner", "state", "brief", "created")
_HOLES = {field: mark_safe(f"\x02{field}\x03") for field in _FILLED}


def _escaped(text: str) -> str:
    """As templates do, but for less than `conditional_escape` costs: there are 450 of them on a dense page."""
    return text if isinstance(text, SafeString) else escape(text)


def drawn(rows: Sequence[Row]) -> SafeString:
    """The rows as the table has them. What is filled in is escaped, and no text can bring a hole of its own."""
    kinds: dict[Row, str] = {}
    done = []
    for row in rows:
        kind = dataclasses.replace(row, **_HOLES)
        if kind not in kinds:
            kinds[kind] = render_to_string("containers/_row.html", {"row": kind})
        texts = {field: _escaped(getattr(row, field) or "–") for field in _FILLED}
        done.append(_HOLE.sub(lambda hole, texts=texts: texts[hole[1]], kinds[kind]))  # type: ignore[misc]
    return mark_safe("".join(done))
