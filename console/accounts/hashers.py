"""How passwords are stored."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2(Argon2PasswordHasher):
    """Argon2id with 19 MiB and two passes: OWASP's Password Storage Cheat Sheet.

    Django's own 100 MiB and eight threads would let a few people who sign in at once take what containers need.
    """

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1
