"""What people read in a page is marked for translation: in templates, and not at all in scripts, which find their words
in the page (`data-…`). The catalogue's tests see only what is marked."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
# The style guide is for who works on Wharfie, and is not served otherwise.
TEMPLATES = sorted({*(TOP / "templates").rglob("*.html")} - {*(TOP / "templates/styleguide").glob("*")})
SCRIPTS = sorted((TOP / "static/js").glob("*.js"))

# Names, commands, units: the same in every language.
ALLOWED = {"Wharfie", "· Wharfie", "ms", "UTC", "docker run", "compose.yaml", "stdout", "stderr"}
ALLOWED_IN_SCRIPTS = {
    "KiB", "MiB", "GiB", "TiB", "err", "out", "Enter", "Escape", "Tab", "ArrowDown", "ArrowUp",
    "tbody input[type=checkbox]",
    "main tbody tr", " UTC", "%(count)s", "%(done)s", "%(total)s",
    "state bad", "Content-Type", "Content-Security-Policy", "TimeoutError", "(prefers-color-scheme: dark)",
    "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]",
}  # fmt: skip

SHOWN = {"title", "aria-label", "aria-description", "aria-roledescription", "placeholder", "alt", "label", "summary"}
SILENT = {"script", "style", "code", "kbd", "pre", "svg", "samp"}  # what is in these is no language of people
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
TAGS = re.compile(
    r"\{#.*?#\}|\{%\s*comment\b.*?\{%\s*endcomment\s*%\}|\{%\s*blocktranslate\b.*?\{%\s*endblocktranslate\s*%\}"
    r"|\{%.*?%\}|\{\{.*?\}\}",
    re.DOTALL,
)
COMMENT = re.compile(r"/\*.*?\*/|(?:^|(?<=\s))//[^\n]*", re.DOTALL)
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'|`((?:[^`\\]|\\.)*)`')
PUT = re.compile(r"\.(?:textContent|innerText|title|placeholder|alt|ariaLabel)\s*\+?=[^=][^;]*")
PROSE = re.compile(r"^[A-Z][a-z]+|[A-Za-z]{2,}[,.:;!?…]? [A-Za-z]{2,}")
WORD = re.compile(r"[A-Za-z]{2}")


class Text(HTMLParser):
    """Collects what a page shows and says, once what Django fills in is taken out."""

    def __init__(self, template: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open: list[str] = []
        self.feed(TAGS.sub(" ", template))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        self.found += [value for name, value in attrs if name in SHOWN and value and WORD.search(value)]

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                continue

    def handle_data(self, data: str) -> None:
        if WORD.search(data) and not SILENT & {*self._open}:
            self.found.append(" ".join(data.split()))


def literals(script: str) -> list[str]:
    """The texts in a script, without what is put into them."""
    found = [next(filter(None, each.groups()), "") for each in LITERAL.finditer(COMMENT.sub("", script))]
    return [re.sub(r"\$\{[^}]*\}", "", text) for text in found]


def name(path: Path) -> str:
    return path.relative_to(TOP).as_posix()


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_a_template_s_text_is_marked(path: Path) -> None:
    assert {*Text(path.read_text()).found} - ALLOWED == set(), "mark it, or it is no text of a language: then allow it"


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_a_script_brings_no_words(path: Path) -> None:
    script = path.read_text()
    shown = [text for put in PUT.findall(script) for text in literals(put) if WORD.search(text)]
    prose = [text for text in literals(script) if PROSE.search(text)]
    assert {*shown, *prose} - ALLOWED_IN_SCRIPTS == set(), "give it to the script in a data-… of the page, marked there"


def test_what_is_allowed_is_there() -> None:
    in_templates = {text for path in TEMPLATES for text in Text(path.read_text()).found}
    in_scripts = {text for path in SCRIPTS for text in literals(path.read_text())}
    assert ALLOWED - in_templates == set()
    assert ALLOWED_IN_SCRIPTS - in_scripts == set()


def test_what_nobody_marked_is_found() -> None:
    page = """<p title="Gone">{% translate "Fine" %} {{ name }}<code>ls</code> lost<br>{# why #}</p>"""
    assert Text(page).found == ["Gone", "lost"]
    script = """// It is said.\nmark.title = `gone ${n}`; const a = ".state bad", b = "Not yet", c = 'try it again'; """
    assert [text for text in literals(script) if PROSE.search(text)] == [".state bad", "Not yet", "try it again"]
    assert [literals(put) for put in PUT.findall(script)] == [["gone "]]
