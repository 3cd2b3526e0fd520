"""Layers on each other against a model that is a dict: what is there, what it holds, and what whiteouts took away."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests import leaks
from tests.engine.archives import separate
from tests.engine.archives.tars import END, directory, file, symlink
from tests.soak import HOURS, amount

Parts = tuple[bytes, ...]
PATHS = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=3).map(tuple)
KINDS = st.sampled_from(["file", "file", "directory", "link", "gone", "gone", "opaque"])
ENTRIES = st.lists(
    st.tuples(KINDS, PATHS, st.binary(max_size=6)),
    min_size=1, max_size=7, unique_by=lambda entry: (entry[0] in ("gone", "opaque"), entry[1]),
)  # fmt: skip
Entry = tuple[str, Parts, bytes]


def written(kind: str, parts: Parts, data: bytes) -> bytes:
    """An entry as it is in an archive."""
    path = b"/".join(parts)
    if kind == "gone":
        return file(b"/".join((*parts[:-1], b".wh." + parts[-1])))
    if kind == "opaque":
        return file(path + b"/.wh..wh..opq")
    if kind == "link":
        return symlink(path, b"to-" + data.hex().encode())
    return directory(path) if kind == "directory" else file(path, data)


class Layers(RuleBasedStateMachine):
    """A path means None for a directory, or what kind of leaf it is and what it holds."""

    unpacker: separate.Unpacker
    top: Path

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[Parts, tuple[str, bytes] | None] = {}
        self.place = Path(tempfile.mkdtemp(dir=self.top))
        (self.place / "0").mkdir()  # two at least, or it is no overlay
        self.layers = [self.place / "0"]

    def _gone(self, parts: Parts, *, itself: bool) -> None:
        below = [path for path in self.model if path[: len(parts)] == parts and (itself or path != parts)]
        for path in below:
            del self.model[path]

    def _made(self, parts: Parts) -> None:
        """A directory and those above it, in place of what is none."""
        for end in range(1, len(parts) + 1):
            if self.model.get(parts[:end]) is not None:
                del self.model[parts[:end]]
            self.model[parts[:end]] = None

    @rule(entries=ENTRIES)
    def layer(self, entries: list[Entry]) -> None:
        leaves = {parts for kind, parts, _ in entries if kind in ("file", "link")}
        # Within one layer nothing lies below a leaf, and no whiteout does.
        entries = [
            (kind, parts, data)
            for kind, parts, data in entries
            if not leaves & {parts[:end] for end in range(1, len(parts) + (kind == "opaque"))}
        ]
        for kind, parts, _ in entries:  # whiteouts speak of the layers below, wherever in the archive they are
            if kind in ("gone", "opaque"):
                self._gone(parts, itself=kind == "gone")
        for kind, parts, data in entries:
            self._made(parts if kind in ("directory", "opaque") else parts[:-1])
            if kind in ("file", "link"):
                self._gone(parts, itself=True)
                self.model[parts] = (kind, b"to-" + data.hex().encode() if kind == "link" else data)
        target = self.place / str(len(self.layers))
        target.mkdir()
        archive = b"".join(written(*entry) for entry in entries)
        answer = self.unpacker.unpack(archive + END, target)
        assert answer["code"] == 0, entries
        self.layers.append(target)
        assert self._found() == self.model

    def _found(self) -> dict[Parts, tuple[str, bytes] | None]:
        """What a container sees of them: through overlayfs, the topmost first."""
        merged = self.place / "merged"
        merged.mkdir(exist_ok=True)
        lower = ":".join(str(layer) for layer in reversed(self.layers))
        subprocess.run(["mount", "-t", "overlay", "none", "-o", f"ro,lowerdir={lower}", merged], check=True)
        try:
            found: dict[Parts, tuple[str, bytes] | None] = {}
            for path in merged.rglob("*"):
                parts = tuple(part.encode() for part in path.relative_to(merged).parts)
                if not os.path.lexists(path):  # overlayfs lists a whiteout that hides nothing, but has nothing there
                    continue
                if path.is_symlink():
                    found[parts] = ("link", str(path.readlink()).encode())
                else:
                    found[parts] = None if path.is_dir() else ("file", path.read_bytes())
            return found
        finally:
            subprocess.run(["umount", merged], check=True)


def test_layers_are_together_what_the_model_says() -> None:
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm", prefix=f"{leaks.NAME}{leaks.session()}-") as top,
        separate.Unpacker() as unpacker,
    ):
        kind = type("Layers", (Layers,), {"unpacker": unpacker, "top": Path(top)})
        chosen = settings(
            max_examples=amount(25, 1000),
            stateful_step_count=amount(4, 8),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate] if not HOURS else [Phase.generate, Phase.shrink],
        )
        run_state_machine_as_test(kind, settings=chosen)
