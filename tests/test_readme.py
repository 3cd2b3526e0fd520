"""What the documents promise exists: every path, every command, every variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from console.commandline import parser

TOP = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/architecture.md")
PATH = re.compile(
    r"`((?:engine|console|tests|templates|static|docs|scripts|packaging|requirements|benchmarks)/[\w./-]*)`"
)


def text_of(name: str) -> str:
    return (TOP / name).read_text()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_exist(name: str) -> None:
    missing = [path for path in PATH.findall(text_of(name)) if not (TOP / path).exists()]
    assert missing == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\[[^]]*\]\(([^)#:]+)\)", text_of(name))
    assert [link for link in links if not (TOP / name).parent.joinpath(link).exists()] == []


def test_the_table_answers_the_questions_that_newcomers_ask() -> None:
    table = text_of("README.md").partition("## Where does it happen?")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 20
    assert all(PATH.search(row) for row in rows)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b(?=`|\s*$|\s+#| &)", text_of(name), re.MULTILINE)) <= targets


def test_every_target_says_what_it_does() -> None:
    lines = [line for line in text_of("Makefile").splitlines() if re.match(r"[a-z]+:", line)]
    assert [line for line in lines if " ## " not in line] == []


def test_the_verbs_of_the_command_line_are_the_readmes() -> None:
    verbs = set(next(action.choices for action in parser()._actions if action.choices) or ())
    sentence = next(line for line in text_of("README.md").split("\n\n") if "Docker has them" in line)
    assert verbs == set(re.findall(r"`([a-z]+)`", sentence.partition(" take ")[0]))


def test_every_variable_is_documented() -> None:
    used = {
        name
        for directory in ("engine", "console")
        for path in (TOP / directory).rglob("*.py")
        for name in re.findall(r"\"(WHARFIE_[A-Z_]+)\"", path.read_text())
    }
    internal = {"WHARFIE_TRUSTED_PROXY"}  # from the supervisor to the web process
    assert used - internal <= set(re.findall(r"`(WHARFIE_[A-Z_]+)`", text_of("README.md")))
