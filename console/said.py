"""What the engine says, in the reader's language. The engine speaks English, as command lines and logs do; here its
sentences are recognised by their words. Which there are is in the catalogue, where `makemessages` puts them all
(`console/spoken.py`): so none can be missing here, and the engine knows nothing of it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import NamedTuple

from django.utils.translation import get_language
from django.utils.translation.trans_real import catalog

from console import text

CONTEXT = "said by the engine"  # of these in the catalogue
PLACE = re.compile(r"%\((\w+)\)s")
# What stands in these places may be words of the engine's own; what is in one of the second kind always is.
WORDS = {"act", "errno", "error", "field", "kind", "label", "message", "option", "reason", "refused", "state",
         "strerror", "what", "why"}  # fmt: skip
ALWAYS_WORDS = {"what"}


class Sentence(NamedTuple):
    """With places for what is put in: ``parts`` are words and names of places in turn."""

    parts: tuple[str, ...]
    translation: str

    def say(self, words: str) -> str | None:
        """In the reader's language; None when these are not its words."""
        if not (words.startswith(self.parts[0]) and words.endswith(self.parts[-1])):
            return None
        at, end = len(self.parts[0]), len(words) - len(self.parts[-1])
        values = {}
        for name, then in zip(self.parts[1::2], (*self.parts[2:-1:2], None), strict=True):
            until = end if then is None else words.find(then, at + 1)
            if not at < until <= end:
                return None
            values[name] = _quoted(words[at:until])
            at = until + len(then or "")
        if any(values[name] not in _known(get_language())[0] for name in values.keys() & ALWAYS_WORDS):
            return None
        return self.translation % (values | {name: said(values[name]) for name in values.keys() & WORDS})


def _quoted(value: str) -> str:
    """What the engine has put into Python's quotes, in those of the reader's language."""
    chinese = get_language() == "zh-hans" and len(value) > 2 and value[0] == value[-1] == "'"
    return f"\u201c{value[1:-1]}\u201d" if chinese else value


def said(words: str) -> str:
    """A message or hint in the reader's language; what nobody translated stays as it is."""
    whole, sentences = _known(get_language())
    if words in whole:
        return whole[words]
    return next(filter(None, (each.say(words) for each in sentences)), words)


def listed(words: str) -> str:
    """The same of findings and reasons, which the engine joins to one text."""
    return ("\uff1b" if get_language() == "zh-hans" else "; ").join(map(said, words.split("; ")))


def sentence(words: str) -> str:
    """The same, as a sentence."""
    return ended(said(words))


def joined(sentences: Iterable[str]) -> str:
    """One after the other; Chinese has no space between them."""
    return ("" if get_language() == "zh-hans" else " ").join(sentences)


def ended(words: str) -> str:
    """With what a sentence begins and ends with in the reader's language."""
    if get_language() == "zh-hans" and words and words[-1] not in "。.!?…":
        return f"{words}。"
    return text.sentence(words)


@functools.cache
def _known(language: str | None) -> tuple[dict[str, str], list[Sentence]]:
    """Sentences without places, and with. Of two that fit, the one with more words of its own is meant."""
    whole, sentences = {}, []
    for key, translation in catalog()._catalog.items() if language else ():
        if isinstance(key, str) and key.startswith(f"{CONTEXT}\x04"):
            parts = PLACE.split(key.partition("\x04")[2])
            if len(parts) == 1:
                whole[parts[0]] = translation
            else:
                own = [part.replace("%%", "%") if at % 2 == 0 else part for at, part in enumerate(parts)]
                sentences.append(Sentence(tuple(own), translation))
    return whole, sorted(sentences, key=lambda each: -sum(map(len, each.parts[::2])))
