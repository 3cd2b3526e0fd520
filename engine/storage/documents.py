"""JSON documents back into the dataclasses that they were made of, with every value of its type.

What is stored may be damaged, or of another version: then it is one ValueError, and never an object that breaks
whoever looks at it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
from collections.abc import Callable
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Reader = Callable[[Any], Any]


def dump(value: Any) -> str:
    """A dataclass as JSON."""
    return json.dumps(dataclasses.asdict(value))


def load(kind: type[T], text: str | bytes) -> T:
    """The inverse of `dump`; fields that the text does not have take their defaults. ValueError when it is damaged."""
    return build(kind, parse(text))


def parse(text: str | bytes) -> Any:
    """json.loads(), whose only error is ValueError."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def build(kind: type[T], value: Any) -> T:
    """A value, as JSON has it, as a ``kind``: a dataclass, or what `get_type_hints` says of its fields. ValueError."""
    what: Any = kind  # whose types are hashable, as the cache wants them
    built: T = _reader(what)(value)
    return built


@functools.cache
def _reader(kind: Any) -> Reader:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):  # of which there is only X | None
        (inner,) = (_reader(each) for each in arguments if each is not types.NoneType)
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        return _sequence(_reader(arguments[0]))
    if origin is dict:
        return _mapping(_reader(arguments[1]))
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if kind is Any:
        return lambda value: value
    if issubclass(kind, enum.Enum):
        return lambda value: kind(value)
    return _plain(kind)


def _plain(kind: type) -> Reader:
    fitting = {int, float} if kind is float else {kind}

    def read(value: Any) -> Any:
        if type(value) not in fitting:  # exactly: True is an int to isinstance()
            raise ValueError(f"{kind.__name__} expected, not {type(value).__name__}")
        return value

    return read


def _sequence(item: Reader) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not list:
            raise ValueError(f"list expected, not {type(value).__name__}")
        return tuple(map(item, value))

    return read


def _mapping(item: Reader) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"object expected, not {type(value).__name__}")
        return {key: item(each) for key, each in value.items()}

    return read


def _dataclass(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(kind)}

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"object expected, not {type(value).__name__}")
        try:
            return kind(**{name: readers[name](each) for name, each in value.items()})
        except (KeyError, TypeError) as error:  # a field too many, or one too few
            raise ValueError(f"its fields are not those of {kind.__name__}: {error}") from error

    return read
