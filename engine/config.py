"""Where Wharfie keeps things on this host: three environment variables and their defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InvalidRequest


@dataclass(frozen=True)
class Config:
    """The directories of one instance of the engine."""

    root: Path = Path("/var/lib/wharfie")  # persists
    run: Path = Path("/run/wharfie")  # gone at reboot, rightly

    @classmethod
    def from_environment(cls) -> Config:
        """Read WHARFIE_ROOT and WHARFIE_RUN; both must be absolute paths."""
        config = cls(
            root=Path(os.environ.get("WHARFIE_ROOT") or cls.root),
            run=Path(os.environ.get("WHARFIE_RUN") or cls.run),
        )
        for variable, path in (("WHARFIE_ROOT", config.root), ("WHARFIE_RUN", config.run)):
            if not path.is_absolute() or ".." in path.parts:
                raise InvalidRequest(
                    f"{variable}={path} is not an absolute path", hint=f"set {variable} to a full path"
                )
        return config
