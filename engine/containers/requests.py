"""What the launcher is told when a container is to start: all that its shim will ever know of it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from engine.containers import roots
from engine.containers.execution import first_session
from engine.containers.records import Records
from engine.containers.spec import Container, ContainerSpec, NetworkMode
from engine.errors import NotFound, Unsupported
from engine.images.spec import Image
from engine.security.confinement import confinement, unseals
from engine.security.spec import HOST
from engine.storage.paths import Paths

INIT_PROGRAMS = ("/usr/bin/tini-static", "/usr/bin/docker-init", "/usr/libexec/docker/docker-init")


class Requests:
    """Makes them, of what stands on record."""

    def __init__(self, instance_id: str, paths: Paths, records: Records) -> None:
        self._instance = instance_id
        self._paths = paths
        self._records = records

    def of(self, container: Container, image: Image) -> dict[str, Any]:
        """The whole of it, as JSON has it. Unsupported when this host lacks what it takes."""
        spec = container.spec
        return {
            "id": container.id,
            "instance": self._instance,
            "uid_base": container.uid_base,
            "rootfs": str(self._paths.rootfs),
            **roots.overlay(self._paths, container.id, image),
            "root_lock": str(self._paths.root_lock(container.id)),
            "etc": etc_files(spec, self._network(spec)),
            "log": str(self._paths.log(container.id)),
            "log_segment_bytes": spec.log_segment_bytes,
            "log_segments": spec.log_segments,
            "record": str(self._paths.run_record(container.id)),
            "request": str(self._paths.request(container.id)),
            "restart": str(self._paths.restart(container.id)),
            "health": dataclasses.asdict(spec.health) if spec.health else None,
            "health_record": str(self._paths.health_record(container.id)),
            "socket": str(self._paths.shim_socket(container.id)),
            "exit": str(self._paths.exit_record(container.id)),
            "tty": spec.tty,
            "stdin": "once" if spec.stdin_once else "open" if spec.stdin else "",
            "terminal": str(self._paths.terminal_socket(container.id, first_session(container))),
            "init": init_program() if spec.init else "",
            "before_ns": container.started_at_ns or 0,
            "custody": str(self._paths.custody),
            "lock": str(self._paths.container_lock(container.id)),
            "events": str(self._paths.events),
            "volumes": roots.mounts(self._paths, spec),
            "tmpfs": [dataclasses.asdict(tmpfs) for tmpfs in spec.tmpfs],
            "argv": list(container.argv),
            "env": list(spec.env),
            "user": spec.user or "",
            "workdir": spec.workdir,
            "hostname": spec.hostname,
            "domainname": spec.domainname,
            "namespaces": self._namespaces(spec),
            "confinement": confinement(spec.security),
            "sealed": spec.namespaces.user != HOST and unseals(spec.security),
            "devices": [dataclasses.asdict(device) for device in spec.security.devices],
            "sysctls": spec.security.sysctls,
            "shm_bytes": spec.security.shm_bytes,
            "read_only": spec.security.read_only,
            "limits": dataclasses.asdict(spec.limits),
        }

    def _namespaces(self, spec: ContainerSpec) -> dict[str, str]:
        """Of each kind: "" its own, "host", or the run record of the container whose it is; `engine.shim.sharing`."""
        kinds = {kind: getattr(spec.namespaces, kind) for kind in ("pid", "ipc", "uts", "user", "network")}
        for kind in kinds:
            if other := spec.namespaces.container(kind):
                kinds[kind] = str(self._paths.run_record(other))
        return kinds | ({"network": HOST} if spec.network is NetworkMode.HOST else {})

    def _network(self, spec: ContainerSpec) -> NetworkMode:
        """The kind of network that it is in, be it another container's."""
        try:
            while spec.network is NetworkMode.CONTAINER:
                spec = self._records.find(spec.namespaces.container("network")).spec
        except NotFound:  # so it does not run either, and the start says so
            return NetworkMode.NONE
        return spec.network


def init_program() -> str:
    """The program that is PID 1 of a container with an init; it needs no library. Unsupported where there is none."""
    for path in INIT_PROGRAMS:
        if os.access(path, os.X_OK):
            return path
    raise Unsupported("this host has no init for containers", hint="apt-get install tini", field="init")


def etc_files(spec: ContainerSpec, network: NetworkMode) -> dict[str, str]:
    """/etc/hosts, hostname and resolv.conf of a container: the host's on its network, else loopback alone."""
    files = {"hostname": f"{spec.hostname}\n"}
    if network is NetworkMode.HOST:
        for name in ("hosts", "resolv.conf"):
            path = Path("/etc") / name
            files[name] = path.read_text() if path.exists() else ""
    else:
        files["hosts"] = f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.0.1 {spec.hostname}\n"
        files["resolv.conf"] = ""
    return files
