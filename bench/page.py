"""A page of measured numbers: what was run, on what, and the tables."""

import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mien.model import cpus, lineage

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REAL = ROOT.parent / "shared" / "data"
_CORES = cpus.available_cpus()
"""Before a bench keeps itself to one of them."""


def real_data() -> Path:
    """The folder of real data beside the project; ends the program where it is absent."""
    if not REAL.is_dir():
        sys.exit(f"This bench needs the real data sets in {REAL.parent.name}/{REAL.name}.")
    return REAL


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """A Markdown table; the keys of the first row are the columns."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(_cell(row.get(name, "")) for name in columns) + " |")
    return "\n".join(lines)


def code() -> str:
    """Which code was measured."""
    found = lineage.commit()
    changed = ", with changes" if found.dirty else ""
    return f"commit {found.commit[:7]}{changed}" if found.commit else "no commit"


def write(name: str, title: str, parts: Sequence[str]) -> None:
    """Print the page, write it to docs/source/measured/, and list a new one in the navigation."""
    head = (
        f"# {title}\n\nMade by `python3 tasks.py bench {name}` on {_CORES} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {code()}."
    )
    text = "\n\n".join([head, *parts]) + "\n"
    path = DOCS / "source" / "measured" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    settings = DOCS / "mkdocs.yml"
    navigation, place = settings.read_text(encoding="utf-8"), f": measured/{name}.md\n"
    if place not in navigation:  # measured pages are its last section
        settings.write_text(f"{navigation}      - {title}{place}", encoding="utf-8")
    print(text)


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
