"""`makemessages` that guesses nothing: a string is translated or it is not. And one that hears what the engine says."""

from __future__ import annotations

from pathlib import Path

from django.core.management.commands import makemessages
from django.utils.functional import cached_property

from console.said import CONTEXT
from console.spoken import Source

HEARD = "engine/__init__.py"  # in the place of this file, gettext reads all that the engine says


class Engine(makemessages.BuildFile):
    """A file of which gettext reads something else than what is in it, as with templates."""

    @cached_property
    def _hears(self) -> bool:
        return Path(self.path).as_posix() == HEARD

    @cached_property
    def is_templatized(self) -> bool:
        """Whether it is such a file."""
        return self._hears or super().is_templatized

    def preprocess(self) -> None:
        """Write what gettext is to read."""
        if self._hears:
            marked = (f"pgettext({CONTEXT!r}, {text!r})\n" for text in Source(Path()).texts())
            Path(self.work_path).write_text("".join(marked))
        else:
            super().preprocess()


class Command(makemessages.Command):
    """Django's, without translations taken over from similar strings."""

    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]
    build_file_class = Engine
