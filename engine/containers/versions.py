"""What a container was asked to be, now and before: each change of its spec is kept, with when and by whom."""

from __future__ import annotations

import functools

from engine.containers.spec import ContainerSpec
from engine.storage import documents


@functools.lru_cache(2048)
def read_spec(text: str) -> ContainerSpec:
    """A row's spec, of which nothing is ever changed in place. ValueError when it is damaged."""
    return documents.load(ContainerSpec, text)
