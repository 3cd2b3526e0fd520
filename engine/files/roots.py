"""What a worker gets to see: a container's root, an image's, or a directory of the host. Made by the host's root.

running     a copy of the whole mount tree of its own namespace: volumes, tmpfs and all. What is written there is
            written to the same file systems; the copy itself ends with the worker
stopped     its overlay and its volumes, mounted as a start would; nobody else has it mounted, see
            `engine.containers.roots`
image       its layers, read-only
changes     a container's upper directory at /upper, and its image at /image
directory   one directory of the host, ids on disk as they are
"""

from __future__ import annotations

import os
from typing import Any

from engine.archives import sandbox
from engine.archives.sandbox import Furnish
from engine.errors import InvalidRequest, WrongState
from engine.linux import helper, mount, overlayfs, pidfds, process
from engine.shim import rootfs

_CONFINED = mount.NOSUID | mount.NODEV | mount.NOEXEC


def furnish(root: dict[str, Any], directory: int | None, init: int | None) -> Furnish:
    """How to make the mounts that a request's ``root`` asks for; ``directory`` is the one of the host, ``init`` what
    `life` gave."""
    if root["kind"] == "running" and init is not None:
        return lambda _userns: [("/", _confined(helper.descriptor(lambda: _tree_of(init))))]
    if root["kind"] == "stopped":
        return lambda userns: _stopped(root, userns)
    if root["kind"] == "image":
        return lambda userns: [("/", _image(root, userns))]
    if root["kind"] == "changes":
        return lambda userns: _changes(root, userns)
    if root["kind"] != "directory" or directory is None:
        raise InvalidRequest(f"there is no root of kind {root['kind']!r}")
    return sandbox.directory(directory)


def life(root: dict[str, Any]) -> int | None:
    """A pidfd of a running container's first process, which the caller closes; WrongState when it has ended."""
    if root["kind"] != "running":
        return None
    pidfd = pidfds.opened(root["pid"], root["start_time"])
    if pidfd is None:
        raise WrongState("the container has just ended", hint="try again")
    return pidfd


def _tree_of(init: int) -> int:
    """In a helper: the whole tree of a container's mount namespace, detached. No path in it is looked up, and no
    number: by now its pid may be another's."""
    process.setns(init, process.CLONE_NEWNS)
    flag = mount.OPEN_TREE_CLONE | mount.OPEN_TREE_CLOEXEC | mount.AT_RECURSIVE
    return mount.open_tree(mount.AT_FDCWD, "/", flag)


def _confined(tree: int) -> int:
    """Nothing in it is executed, and no device opened. Private: a container may have made its mounts shared, and
    then what it mounts from now on would come along, unconfined; pivot_root(2) takes no such root either."""
    try:
        mount.mount_setattr(
            tree, "", mount.AT_EMPTY_PATH | mount.AT_RECURSIVE, add=_CONFINED, propagation=mount.MS_PRIVATE
        )
    except BaseException:
        os.close(tree)
        raise
    return tree


def _stopped(root: dict[str, Any], userns: int) -> list[tuple[str, int]]:
    trees = [("/", _confined(rootfs.overlay(root["layers"], root["upper"], root["work"], userns)))]
    try:
        for volume, tree in zip(root["volumes"], rootfs.volumes(root["volumes"], userns), strict=True):
            trees.append((volume["target"], tree))
    except BaseException:
        for _, tree in trees:
            os.close(tree)
        raise
    return trees


def _image(root: dict[str, Any], userns: int) -> int:
    return _confined(overlayfs.create(root["layers"], "", "", userns))


def _changes(root: dict[str, Any], userns: int) -> list[tuple[str, int]]:
    trees = [("/", mount.filesystem("tmpfs", [("size", "64k")], attributes=_CONFINED))]
    try:
        for name in ("upper", "image"):
            os.mkdir(name, dir_fd=trees[0][1])
        trees.append(("/upper", mount.tree(root["upper"], add=_CONFINED | mount.RDONLY)))
        trees.append(("/image", _image(root, userns)))
    except BaseException:
        for _, tree in trees:
            os.close(tree)
        raise
    return trees
