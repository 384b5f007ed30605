"""Promises about the language and the structure of the code, as limits that may only fall."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import ROOT

sys.path.insert(0, str(ROOT))

from bench import structure

PHRASES = {
    r"whoever": "users, clients",
    r"anew": "again",
    r"heeded": "handled, respected",
    r"by chance": "at random",
    r"hangs? on": "depends on",
    r"(is|are|was|were|be) told": "returns, shows, receives",
    r"borne": "allowed, accepted",
    r"mend(s|ed|ing)?": "repair, fix",
    r"bake-off": "leaderboard, evaluation of all candidates",
    r"is no number": "is not finite",
    r"in vain": "without effect",
    r"lends?|lent": "provides, copies",
    r"the clock on the wall": "wall time",
    r"makes? up for": "compensates",
}
"""Phrases of a private English, and what to write instead."""
LISTS = ROOT / "bench" / "structure.py"
"""Holds the lists of words themselves."""
_CODE = ("src/", "bench/", "evidence/", "stack/", "tasks.py")
_TEXTS = ("*.md", "*.yml", "*.yaml", "*.html", "*.js", "*.toml", "*.sh")


@pytest.fixture(scope="module")
def figures() -> structure.Figures:
    return structure.measure()


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str]]:
    """Every piece of text that a user or a reader of the code sees, with its place."""
    return list(_texts())


def test_names_say_what_a_value_is(figures: structure.Figures) -> None:
    """`found`, `told`, `place` and the like are at most one in 200 of the names that are bound."""
    assert figures.filler_share <= 0.005, structure.filler_names()


def test_a_class_name_occurs_once(figures: structure.Figures) -> None:
    """Two classes of one name in two files are two meanings of one word."""
    assert len(figures.repeated_classes) <= 3, figures.repeated_classes


def test_the_package_root_shows_the_product_at_a_glance(figures: structure.Figures) -> None:
    """At most 18 entries."""
    assert figures.root_entries <= 18


def test_documents_between_stages_are_typed(figures: structure.Figures) -> None:
    """Evaluation, lineage and preprocessing are read by attribute, not by string keys."""
    assert len(figures.document_reads) <= 10, figures.document_reads


def test_files_and_functions_fit_a_reader(figures: structure.Figures) -> None:
    """No file over 400 lines, no function over 40."""
    assert figures.longest_file[0] <= 400, figures.longest_file
    assert figures.longest_function[0] <= 40, figures.longest_function


def test_the_terms_of_the_field_are_names(figures: structure.Figures) -> None:
    """A search for each term finds an identifier."""
    assert figures.missing_terms == ()


@pytest.mark.parametrize("phrase", PHRASES, ids=lambda phrase: re.sub(r"\W+", "_", phrase))
def test_texts_are_plain_english(phrase: str, texts: list[tuple[str, str]]) -> None:
    """Docs, docstrings, messages and pages hold none of the phrases that need a second reading."""
    pattern = re.compile(rf"\b({phrase})\b", re.IGNORECASE)
    places = [place for place, text in texts if pattern.search(text)]
    assert places == [], f"write: {PHRASES[phrase]}"


def test_texts_are_spelled_right() -> None:
    """codespell knows no misspelling in code, docs and messages."""
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def _texts() -> Iterator[tuple[str, str]]:
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py" and name.startswith(_CODE) and path != LISTS:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{name}:{node.lineno}", node.value
        elif any(path.match(kind) for kind in _TEXTS):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                yield f"{name}:{number}", line


def tracked() -> Iterator[Path]:
    """Files of the project, without generated and third-party ones."""
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listing.stdout.splitlines():
        if "static/" not in name or name.endswith(("index.html", "page.js")):
            yield ROOT / name
