"""Wharfie's engine: runs containers on this Linux host. A library; it knows nothing of Django.

    from engine import ContainerSpec, Engine

    with Engine() as engine:
        container = engine.create(ContainerSpec(image="wharfie/starter", command=("echo", "hello")))
        engine.start(container.id)
        print(engine.wait(container.id).code)

Names load at first use: the launcher imports `engine.linux` and `engine.shim` through this package
and must not pay for the rest.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "BindMount": "engine.volumes.spec",
    "Change": "engine.containers.changes",
    "ChangeKind": "engine.containers.changes",
    "CommitSpec": "engine.containers.spec",
    "Caller": "engine.security.spec",
    "Config": "engine.config",
    "Container": "engine.containers.spec",
    "ContainerSpec": "engine.containers.spec",
    "Counters": "engine.cgroups.counters",
    "Device": "engine.security.spec",
    "DirectoryEntry": "engine.containers.browsing",
    "DirectoryPage": "engine.containers.browsing",
    "EndedBy": "engine.containers.spec",
    "Engine": "engine.api",
    "EngineError": "engine.errors",
    "DiskUsage": "engine.metrics.spec",
    "Event": "engine.events",
    "EventFilter": "engine.events",
    "ExecSpec": "engine.containers.spec",
    "Execution": "engine.containers.pipes",
    "ExitRecord": "engine.containers.spec",
    "FilePart": "engine.containers.browsing",
    "Health": "engine.containers.spec",
    "HealthCheck": "engine.containers.spec",
    "HealthResult": "engine.containers.spec",
    "Figure": "engine.metrics.history",
    "History": "engine.metrics.history",
    "HugePages": "engine.containers.spec",
    "Image": "engine.images.spec",
    "ImageConfig": "engine.images.spec",
    "IoLimit": "engine.containers.spec",
    "Layer": "engine.images.spec",
    "STARTER": "engine.images.spec",
    "Limits": "engine.containers.spec",
    "Listing": "engine.containers.listing",
    "LogLine": "engine.containers.logs",
    "LogPage": "engine.containers.logrows",
    "LogPages": "engine.containers.logpages",
    "LogPattern": "engine.containers.logsearch",
    "LogPlace": "engine.containers.logrows",
    "LogRow": "engine.containers.logrows",
    "LogTail": "engine.containers.logs",
    "LogWatch": "engine.containers.logs",
    "Namespaces": "engine.security.spec",
    "NetworkMode": "engine.containers.spec",
    "Process": "engine.metrics.spec",
    "ProcessWatch": "engine.containers.processes",
    "RestartMode": "engine.containers.spec",
    "RestartPolicy": "engine.containers.spec",
    "Outgoing": "engine.containers.files",
    "PathStat": "engine.containers.spec",
    "Role": "engine.security.spec",
    "Sample": "engine.metrics.spec",
    "Series": "engine.metrics.history",
    "Security": "engine.security.spec",
    "State": "engine.containers.spec",
    "Terminal": "engine.containers.execution",
    "TerminalInfo": "engine.containers.spec",
    "TmpfsMount": "engine.volumes.spec",
    "TreeSize": "engine.metrics.spec",
    "Ulimit": "engine.security.spec",
    "Version": "engine.containers.versions",
    "Volume": "engine.volumes.spec",
    "VolumeMount": "engine.volumes.spec",
    "WaitFor": "engine.containers.spec",
    "Wanted": "engine.containers.logsearch",
    "default_limits": "engine.policy",
    "acting": "engine.events",
    "for_admins": "engine.policy",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
