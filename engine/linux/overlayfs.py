"""An overlay over idmapped layers, as one detached mount. overlayfs.rst, mount_setattr(2), open_tree(2).

    detached   Linux 6.15: the layers are detached mounts, named by descriptor. Nothing is ever attached anywhere.
    attached   Linux 5.19: overlayfs takes only layers of the caller's mount namespace, and an idmapping needs a mount
               of its own. So a helper process attaches them in a namespace that nobody else sees, and hands it out.

What comes out is the same, down to its place in an anonymous mount namespace. Which way this kernel takes is tried.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Sequence

from engine.linux import helper, mount, process

Way = Callable[[Sequence[str], str, str, int | None], int]

# Whatever this kernel's defaults are, the upper directory holds whole files at their own paths: so it can be read as
# the container's changes (`engine.files.upper`).
WHOLE = (("redirect_dir", "off"), ("metacopy", "off"))


def create(layers: Sequence[str], upper: str, work: str, userns_fd: int | None) -> int:
    """A detached, nodev overlay of ``layers`` (lowest first), each idmapped, below ``upper``. The caller closes it.

    Without an upper, "", it is read-only, and there must be two layers at least.
    """
    return way()(layers, upper, work, userns_fd)


@functools.cache
def way() -> Way:
    """The first of the two ways that this kernel takes. Asked by the launcher, so that its forks know."""
    scratch = mount.filesystem("tmpfs")
    try:
        for name in ("a", "b"):  # two, since one layer without an upper is refused
            os.mkdir(name, dir_fd=scratch)
        layers = [("lowerdir+", f"/proc/self/fd/{scratch}/{name}") for name in ("a", "b")]
        os.close(mount.filesystem("overlay", layers))
    except OSError as error:
        # EINVAL: an option that it does not know, or a layer outside of this namespace. Else the start tells the error.
        return attached if error.errno == errno.EINVAL else detached
    finally:
        os.close(scratch)
    return detached


_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def detached(layers: Sequence[str], upper: str, work: str, userns_fd: int | None) -> int:
    """`create`, for a kernel that takes detached mounts as layers."""
    opened: list[int] = []
    try:
        for layer in reversed(layers):
            opened.append(mount.tree(layer, add=mount.NODEV, userns_fd=userns_fd))
        options: list[tuple[str, str | None]] = [("lowerdir+", _name(lower)) for lower in opened]
        # By descriptor, since fsconfig(2) refuses values of more than 255 bytes.
        for key, path in (("upperdir", upper), ("workdir", work)) if upper else ():
            opened.append(os.open(path, _PLACE))
            options.append((key, _name(opened[-1])))
        return mount.filesystem("overlay", [*options, *WHOLE], attributes=mount.NODEV)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def attached(layers: Sequence[str], upper: str, work: str, userns_fd: int | None) -> int:
    """`create`, for any kernel that takes idmapped layers. Forks: only for a process with one thread."""
    return helper.descriptor(lambda: _attach(layers, upper, work, userns_fd))


def _name(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _attach(layers: Sequence[str], upper: str, work: str, userns_fd: int | None) -> int:
    process.unshare(process.CLONE_NEWNS)
    mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
    # On top of / there is always room, and no path leads there: paths begin below it, at the root of before.
    place = mount.filesystem("tmpfs", [("mode", "700")])
    mount.attach(place, os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    os.fchdir(place)
    for number, layer in enumerate(reversed(layers)):
        lower = mount.tree(layer, add=mount.NODEV, userns_fd=userns_fd)
        os.mkdir(str(number))
        mount.move_mount(lower, "", mount.AT_FDCWD, str(number), mount.MOVE_MOUNT_F_EMPTY_PATH)
        os.close(lower)
    # mount(2) takes one page of options. In it 500 of these names fit, overlayfs's own limit; none needs escaping.
    lower_names = ":".join(map(str, range(len(layers))))
    # Opened here, since overlayfs wants them in this mount namespace too, and both by the same mount.
    options = [("lowerdir", lower_names), *WHOLE]
    for key, path in (("upperdir", upper), ("workdir", work)) if upper else ():
        options.append((key, _name(os.open(path, _PLACE))))
    os.mkdir("overlay")
    mount.mount("overlay", "overlay", "overlay", mount.MS_NODEV, ",".join(map("=".join, options)))
    return mount.tree("overlay")
