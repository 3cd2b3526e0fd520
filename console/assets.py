"""Static files: named with the hash of their content, compressed once, kept in memory.

There are a few small ones, so no collect step and no library is needed.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import mimetypes
import posixpath
import re
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.templatetags.static import static
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.views.decorators.http import require_safe

IMPORT = re.compile(r'^import (?:.+ from )?"(\.\.?/[^"]+)";$', re.MULTILINE)


class Asset(NamedTuple):
    """One static file as it goes over the wire."""

    content: bytes
    compressed: bytes
    version: str
    media_type: str


_assets: dict[str, Asset] = {}  # those that are there: what a stranger asks for in vain makes none of them go


def asset(name: str) -> Asset | None:
    """The static file of that name, or None. Names come from URLs: finders refuse what leaves their directory."""
    if found := _assets.get(name):
        return found
    path = finders.find(name)
    if not path or not Path(path).is_file():
        return None
    content = Path(path).read_bytes()
    _assets[name] = Asset(
        content,
        gzip.compress(content, 9, mtime=0),
        hashlib.sha256(content).hexdigest()[:12],
        mimetypes.guess_type(name)[0] or "application/octet-stream",
    )
    return _assets[name]


class VersionedStorage(StaticFilesStorage):
    """Gives every static file a URL that changes with its content, so that browsers may keep it for ever."""

    def url(self, name: str | None) -> str:
        """The versioned URL of a static file."""
        found = asset(name or "")
        return super().url(name) + (f"?v={found.version}" if found else "")


@functools.cache
def import_map() -> str:
    """Where the modules are that import each other (HTML, "Import maps"): they write names without a version."""
    scripts = (settings.BASE_DIR / "static/js").glob("*.js")
    names = {posixpath.join("js", name) for script in scripts for name in IMPORT.findall(script.read_text())}
    urls = [static(name) for name in sorted(map(posixpath.normpath, names))]
    return json.dumps({"imports": {url.partition("?")[0]: url for url in urls}})


@login_not_required
@require_safe
def serve(request: HttpRequest, name: str) -> HttpResponseBase | None:
    """Answer with a static file that is asked for without its version; under that `console.fileserver` does."""
    found = asset(name)
    if not found:
        raise Http404(name)
    zipped = "gzip" in request.headers.get("Accept-Encoding", "")
    response = HttpResponse(found.compressed if zipped else found.content, content_type=found.media_type)
    if zipped:
        response["Content-Encoding"] = "gzip"
    patch_vary_headers(response, ["Accept-Encoding"])
    response["Cache-Control"] = "no-cache"  # after an update it is another file's address: the browser must ask again
    # Weak: compressed and plain are not the same bytes (RFC 9110, section 8.8.1).
    response["ETag"] = f'W/"{found.version}"'
    return get_conditional_response(request, etag=response["ETag"], response=response)
