"""An image's name in the one form that this host stores and shows."""

from __future__ import annotations

from engine import names


def reference(text: str) -> str:
    """A name with its tag, Docker Hub's prefixes left out as Docker shows it; or InvalidRequest.

    ``docker.io/library/debian:12`` and ``debian:12`` are one image (pkg.go.dev/github.com/distribution/reference,
    "FamiliarString"): skopeo and containerd write the first, people the second.
    """
    full = names.image_reference(text)
    for prefix in ("docker.io/library/", "docker.io/", "index.docker.io/library/", "index.docker.io/"):
        if full.startswith(prefix):
            return names.image_reference(full.removeprefix(prefix))
    return full
