"""What a password must be, where Django says it in English alone."""

from __future__ import annotations

from django.contrib.auth.password_validation import MinimumLengthValidator
from django.utils.translation import gettext as _


class MinimumLength(MinimumLengthValidator):
    """Django's, with a message that is translated."""

    def get_error_message(self) -> str:
        """What is wrong with a shorter one."""
        return _("This password is too short: use at least %(n)d characters.") % {"n": self.min_length}
