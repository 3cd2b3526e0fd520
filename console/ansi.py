"""Colours that a program writes, as classes of our style sheet; ECMA-48 8.3.117, "SGR".

Nothing else that a program sends to its terminal has any effect: `console.text.clean` takes it away.
"""

from __future__ import annotations

import re

from console.text import LONGEST, clean

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_ATTRIBUTES = {1: "bold", 2: "dim", 3: "italic", 4: "under", 9: "struck"}
_OFF = {22: ("bold", "dim"), 23: ("italic",), 24: ("under",), 29: ("struck",)}
_KEPT = 50  # looks that still hold after the cursor went back
_MOST_RUNS = 500  # of one line; what follows keeps the last look


def runs(text: str) -> list[tuple[str, str]]:
    """A line as (text, classes): ``f1`` to ``f6``, ``b1`` to ``b6`` for red to cyan, ``f0`` for grey, `_ATTRIBUTES`."""
    if "\r" in (text := text.rstrip("\r")):  # a terminal's cursor goes back: what comes then stands over what was
        gone, _, text = text.rpartition("\r")
        text = "".join(f"\x1b[{codes}m" for codes in _SGR.findall(gone)[-_KEPT:]) + text
    if "\x1b" not in text:
        return [(clean(text), "")]
    parts = _SGR.split(text, maxsplit=_MOST_RUNS)
    found: list[tuple[str, str]] = []
    classes: dict[str, str] = {}
    left = LONGEST
    for number, part in enumerate(parts):
        if number % 2:
            _obey([int(code) if code else 0 for code in re.split("[;:]", part[:100])], classes)
            continue
        if shown := clean(part)[:left]:
            found.append((shown, " ".join(classes.values())))
            left -= len(shown)
    if left <= 0:
        found.append(("…", ""))
    return found


def marked(parts: list[tuple[str, str]], spans: list[tuple[int, int]]) -> list[tuple[str, str]]:
    """The same with the class ``hit`` on the characters that the spans cover."""
    edges = sorted({edge for span in spans for edge in span})
    found = []
    at = 0
    for text, classes in parts:
        cuts = [edge - at for edge in edges if at < edge < at + len(text)]
        for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            hit = any(first <= at + begin < last for first, last in spans)
            found.append((text[begin:end], f"{classes} hit".strip() if hit else classes))
        at += len(text)
    return found


def _obey(codes: list[int], classes: dict[str, str]) -> None:
    while codes:
        code = codes.pop(0)
        if code == 0:
            classes.clear()
        elif code in _ATTRIBUTES:
            classes[_ATTRIBUTES[code]] = _ATTRIBUTES[code]
        elif code in _OFF:
            for name in _OFF[code]:
                classes.pop(name, None)
        elif code in (38, 48):
            _colour(classes, "f" if code == 38 else "b", _extended(codes))
        elif code in (39, 49):
            classes.pop("f" if code == 39 else "b", None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            _colour(classes, "f", code % 10 if code < 90 else code - 90 or 8)
        elif 40 <= code <= 47 or 100 <= code <= 107:
            _colour(classes, "b", code % 10 if code < 100 else code - 100)


def _colour(classes: dict[str, str], where: str, number: int) -> None:
    """Black and white are the page's own ink, which is seen in both themes; bright colours are the same colours."""
    number = 0 if number == 8 else number % 8 or 7
    if number == 7:
        classes.pop(where, None)
    else:
        classes[where] = f"{where}{number}"


def _extended(codes: list[int]) -> int:
    """``5;n`` of 256 colours or ``2;r;g;b``: the nearest of eight."""
    kind = codes.pop(0) if codes else 0
    if kind == 5 and codes:
        number = codes.pop(0)
        if number < 16:
            return number
        if number > 231:
            return 8
        rgb = [(number - 16) // 36 % 6 * 51, (number - 16) // 6 % 6 * 51, (number - 16) % 6 * 51]
    elif kind == 2 and len(codes) >= 3:
        rgb = codes[:3]
        del codes[:3]
    else:
        return 7
    middle = (max(rgb) + min(rgb)) / 2
    if max(rgb) - min(rgb) < 40:
        return 8
    return sum(bit for bit, value in zip((1, 2, 4), rgb, strict=True) if value > middle)
