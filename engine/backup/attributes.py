"""Extended attributes that go into a backup, and how those that name user ids change with a container's range.

xattr(7); acl(5) and linux/posix_acl_xattr.h; capabilities(7), "File capabilities", linux/capability.h.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator

# What overlayfs must find again; its other marks name this disk's inodes.
_OVERLAY = ("trusted.overlay.opaque", "trusted.overlay.redirect")
_ACLS = ("system.posix_acl_access", "system.posix_acl_default")
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_NAMED = (0x02, 0x08)  # ACL_USER, ACL_GROUP: the entries with an id
_CAPABILITY_ROOT_AT = 20  # struct vfs_ns_cap_data: after magic and two pairs of masks

Shift = Callable[[int], int]


def kept(name: str) -> bool:
    """Whether an attribute is the files' own, and not this host's."""
    return name.startswith("user.") or name in (*_OVERLAY, *_ACLS, "security.capability")


def read(path: str) -> Iterator[tuple[str, bytes]]:
    """Those of one file."""
    for name in os.listxattr(path):
        if kept(name) and "=" not in name:  # a pax record ends its key there
            try:
                yield name, os.getxattr(path, name)
            except OSError as error:
                if error.errno != errno.ENODATA:  # removed since it was listed
                    raise


def shifted(name: str, value: bytes, shift: Shift) -> bytes:
    """The value with every user id in it moved."""
    if name in _ACLS:
        entries = value[4:]
        entries = entries[: len(entries) - len(entries) % _ACL_ENTRY.size]
        moved = (
            _ACL_ENTRY.pack(tag, rights, shift(number) if tag in _ACL_NAMED else number)
            for tag, rights, number in _ACL_ENTRY.iter_unpack(entries)
        )
        return value[:4] + b"".join(moved)
    if name == "security.capability" and len(value) == _CAPABILITY_ROOT_AT + 4:
        root = struct.unpack_from("<I", value, _CAPABILITY_ROOT_AT)[0]
        return value[:_CAPABILITY_ROOT_AT] + struct.pack("<I", shift(root))
    return value
