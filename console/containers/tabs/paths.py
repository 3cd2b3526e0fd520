"""Paths of files in addresses: any bytes but zero, which a QueryDict would lose."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

from django.http import HttpRequest
from django.urls import reverse

from engine import Container


def asked(request: HttpRequest) -> str:
    """The path that an address asks for, without a slash at its end; the root by default."""
    pairs = parse_qsl(request.META["QUERY_STRING"], keep_blank_values=True, errors="surrogateescape")
    path = dict(pairs).get("path", "/")
    return (path.rstrip("/") if path.startswith("/") else path) or "/"


def query(path: str) -> str:
    """The same as the query of an address."""
    return f"path={quote(path, safe='/', errors='surrogateescape')}"


def address(container: Container, path: str, view: str = "containers:files") -> str:
    """Where a path is shown, or acted upon."""
    return f"{reverse(view, args=(container.id,))}?{query(path)}"


def below(path: str, name: str) -> str:
    """A name in a directory."""
    return f"{path.rstrip('/')}/{name}"


def above(path: str) -> str:
    """The directory that a path is in."""
    return path.rpartition("/")[0] or "/"
