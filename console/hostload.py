"""What the whole host uses now."""

from __future__ import annotations

import os
from typing import Any


def figures() -> dict[str, Any]:
    """Its load, and bytes of memory that are not to be had."""
    import psutil  # only who shows the host pays for it

    memory = psutil.virtual_memory()
    return {
        "cpus": os.cpu_count() or 1,
        "load": round(os.getloadavg()[0], 2),
        "mem": memory.total - memory.available,
        "limit": memory.total,
    }


def cpu() -> float:
    """Cores in use since it was asked last: there is one who asks, the recorder."""
    import psutil

    return round(psutil.cpu_percent() * (os.cpu_count() or 1) / 100, 2)
