"""Which containers somebody of this console is stopping: it takes as long as they like, and the pages say so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_stopping: Counter[str] = Counter()
_lock = threading.Lock()


@contextmanager
def stopping(container_id: str) -> Iterator[None]:
    """While it is being stopped."""
    with _lock:
        _stopping[container_id] += 1
    try:
        yield
    finally:
        with _lock:
            _stopping[container_id] -= 1
            if not _stopping[container_id]:
                del _stopping[container_id]


def is_stopping(container_id: str) -> bool:
    """Whether anybody is."""
    return container_id in _stopping
