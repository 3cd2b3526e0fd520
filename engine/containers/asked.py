"""What somebody asked for when they created a container: its spec without the defaults that were filled in."""

from __future__ import annotations

import dataclasses

from engine import policy
from engine.containers.create import DEFAULT_PATH
from engine.containers.spec import Container, ContainerSpec, HealthCheck
from engine.images.spec import Image


def asked(container: Container, image: Image) -> ContainerSpec:
    """A request that makes such a container again: what is as the image or the host says anyway is left out."""
    spec, config = container.spec, image.config
    default = policy.default_limits()
    limits = spec.limits
    swap = limits.memory_swap_bytes
    usual = {f"PATH={DEFAULT_PATH}", *(["TERM=xterm"] if spec.tty else []), *config.env}
    return dataclasses.replace(
        spec,
        env=tuple(entry for entry in spec.env if entry not in usual),
        user=None if spec.user == config.user else spec.user,
        workdir=None if spec.workdir == (config.workdir or "/") else spec.workdir,
        hostname="" if spec.hostname == container.short_id else spec.hostname,
        stop_signal=None if spec.stop_signal == (config.stop_signal or "SIGTERM") else spec.stop_signal,
        health=None if spec.health == config.health else spec.health or HealthCheck(()),
        namespaces=dataclasses.replace(spec.namespaces, uid_base=None),
        limits=dataclasses.replace(
            limits,
            memory_bytes=None if limits.memory_bytes == default.memory_bytes else limits.memory_bytes,
            memory_swap_bytes=None if swap == limits.memory_bytes else swap,
            cpus=None if limits.cpus == default.cpus else limits.cpus,
            pids=None if limits.pids == default.pids else limits.pids,
        ),
    )
