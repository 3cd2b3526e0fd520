"""What the engine raises. A class says what the caller does next; attributes say about what.

    EngineError
     ├─ InvalidRequest        the request can never work as it is: change it
     │   ├─ CommandNotFound       the command is not in the image (exit code 127)
     │   └─ CommandNotExecutable  the command is there but cannot be invoked (exit code 126)
     ├─ NotFound              no such object: check the name
     ├─ AlreadyExists         the name is taken: choose another, or remove the other object
     ├─ WrongState            the object is in a state that forbids this: change the state first
     ├─ Busy                  somebody uses it: free it first, or try again later
     ├─ Overloaded            there is no room for more work just now: try again in a moment
     ├─ Denied                policy forbids it for this actor
     ├─ Unsupported           this host cannot do it
     ├─ Unavailable           a part of Wharfie does not answer: try again, then look at `doctor`
     ├─ Corrupt               stored or received data is damaged: remove or fetch it again
     └─ KernelError           a system call failed for a reason that no other class explains

Every error has a ``message`` (what happened), a ``hint`` (what to do; may be empty) and an
``exit_code`` for command lines: 125 unless the class says otherwise, as Docker does
(docs.docker.com/reference/cli/docker/container/run, "Exit status").
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar


class EngineError(Exception):
    """Base of all errors that the engine raises on purpose."""

    exit_code = 125

    def __init__(self, message: str, *, hint: str = "", field: str = "", subject: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field  # the part of the request to blame, named as in its spec; may be ""
        self.subject = subject  # the object it is about: a name or an id; may be ""

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def to_wire(self) -> dict[str, str]:
        """The error as plain data, for the sockets between Wharfie's processes."""
        return {
            "class": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "field": self.field,
            "subject": self.subject,
        }


class InvalidRequest(EngineError):
    """The request can never work as it is."""


class CommandNotFound(InvalidRequest):
    """The command does not exist in the container's root filesystem."""

    exit_code = 127


class CommandNotExecutable(InvalidRequest):
    """The command exists but execve(2) refuses it."""

    exit_code = 126


class NotFound(EngineError):
    """No object of that name or id."""


class AlreadyExists(EngineError):
    """The name is taken."""


class WrongState(EngineError):
    """The object's state forbids the act."""


class Busy(EngineError):
    """The object is in use."""


class Overloaded(EngineError):
    """Who would do it has no room for more work at this moment."""


class Denied(EngineError):
    """Policy forbids it."""


class Unsupported(EngineError):
    """This host, kernel or image cannot do it."""


class Unavailable(EngineError):
    """A process of Wharfie does not answer."""


class BrokeOff(Unavailable):
    """Who served this was killed. Whether it had done something is for the caller to find out, who may ask again."""


class Late(Unavailable):
    """No answer in time, but who serves this goes on with it."""


class Corrupt(EngineError):
    """Data on disk or from outside is not what it must be."""


class KernelError(EngineError):
    """A system call failed; ``errno`` and ``call`` say which way."""

    def __init__(self, message: str, *, errno: int = 0, call: str = "", **context: Any) -> None:
        super().__init__(message, **context)
        self.errno = errno
        self.call = call

    @classmethod
    def from_os(cls, error: OSError, doing: str, *, hint: str = "") -> KernelError:
        """Wrap an OSError met while ``doing`` (a gerund phrase: "mounting the overlay")."""
        return cls(f"{doing}: {error}", errno=error.errno or 0, hint=hint or _HINTS.get(error.errno or 0, ""))


_HINTS = {
    errno.ENOSPC: "the disk is full, of bytes or of files: free some",
    errno.EDQUOT: "the disk quota is used up: free some",
    errno.EROFS: "the file system is read-only: look at the kernel's messages",
    errno.EIO: "look at the kernel's messages about this disk",
    errno.EMFILE: "too many files are open in this process: raise its limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this host: raise fs.file-max",
    errno.ENOMEM: "the host is short of memory: free some",
}


F = TypeVar("F", bound=type)


def only_engine_errors(facade: F) -> F:
    """Have the public methods of a class raise EngineError alone: what no part of it explained is a KernelError."""
    for name, method in list(vars(facade).items()):
        if not name.startswith("_") and isinstance(method, FunctionType):
            setattr(facade, name, _explaining(method))
    return facade


def _explaining(method: FunctionType) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except OSError as error:
            raise KernelError.from_os(error, method.__name__.replace("_", " ")) from error

    return call


_BY_NAME = {
    c.__name__: c
    for c in (
        InvalidRequest,
        CommandNotFound,
        CommandNotExecutable,
        NotFound,
        AlreadyExists,
        WrongState,
        Busy,
        Denied,
        Unsupported,
        Unavailable,
        BrokeOff,
        Late,
        Corrupt,
        KernelError,
    )
}


def from_wire(data: dict[str, str]) -> EngineError:
    """The inverse of `EngineError.to_wire`; an unknown class becomes `KernelError`."""
    return _BY_NAME.get(data.get("class", ""), KernelError)(
        data.get("message", "unknown failure"),
        hint=data.get("hint", ""),
        field=data.get("field", ""),
        subject=data.get("subject", ""),
    )
