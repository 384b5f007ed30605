"""The page reports/README.md: facts, the checklist with results, diagrams and figures."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from evidence import diagram
from evidence.checks import ROOT, Result
from mien import __version__
from mien.observability import metrics
from mien.stages.monitor.panels import DASHBOARDS

PAGE = ROOT / "reports" / "README.md"
SOURCE = "https://github.com/SkafteNicki/dtu_mlops/blob/main/reports/README.md"
_PICTURE = re.compile(r"!\[([^\]]+)\]\((?:reports/)?(figures/[\w./-]+)\)")


def text(results: Mapping[str, Sequence[Result]], facts: Mapping[str, object]) -> str:
    """The page of all results."""
    counts = Counter(each.state for part in results.values() for each in part)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    parts = [
        "# Evidence for a course",
        f"Made by `mien evidence`; not edited. It runs a command for each of the "
        f"{counts.total()} items of the [checklist of DTU course 02476]({SOURCE}), in the order "
        "and with the modules of that list, and prints what the command printed. `failed` means "
        "that a command no longer shows what it showed; `not done` gives the reason; `not checked` "
        "is what no repository can show.",
        f"**{states}.**",
        "## Facts",
        "\n".join(["| fact | number |", "| --- | --- |", *_rows(facts)]),
    ]
    for title, part in results.items():
        parts += [f"## {title}", _table(part)]
    return "\n\n".join([*parts, *_diagrams(), "## Figures", *pictures()]) + "\n"


def _rows(facts: Mapping[str, object]) -> list[str]:
    return [f"| {name} | {value} |" for name, value in facts.items()]


def _table(results: Sequence[Result]) -> str:
    lines = ["| item | module | state | command | result |", "| --- | --- | --- | --- | --- |"]
    for each in results:
        item = each.item
        said = f"`{_cell(each.line)}`" if each.line else ""
        remark = item.optional if each.state == "not done" else item.note
        lines.append(
            f"| [{item.text}](../{item.link}) | {item.module} | {each.state} "
            f"| {f'`{_cell(item.command)}`' if item.command else ''} "
            f"| {'. '.join(filter(None, (said, remark)))} |"
        )
    return "\n".join(lines)


def _cell(value: str) -> str:
    """Text for a code span in a table."""
    return value.strip().replace("|", "\\|").replace("`", "'")[:200]


def _diagrams() -> list[str]:
    parts = {"Data and requests": diagram.flow(), "Layers and imports": diagram.packages()}
    return [
        "## Architecture",
        *(f"### {title}\n\n```mermaid\n{lines}\n```" for title, lines in parts.items()),
    ]


def pictures() -> list[str]:
    """Each picture of the README and the docs once, with the words that it has there."""
    words: dict[str, str] = {}
    for path in [ROOT / "README.md", *sorted((ROOT / "docs" / "source").glob("*.md"))]:
        for caption, target in _PICTURE.findall(path.read_text(encoding="utf-8")):
            if (ROOT / "reports" / target).is_file():
                words.setdefault(target, caption)
    return [f"![{caption}]({target})\n\n{caption}." for target, caption in words.items()]


def facts() -> dict[str, object]:
    """Numbers of the repository, as they are now."""
    tracked = _git("ls-files").splitlines()
    code = [path for path in tracked if path.startswith("src/") and path.endswith(".py")]
    tests = [path for path in tracked if path.startswith("tests/") and path.endswith(".py")]
    rules = (ROOT / "prometheus" / "rules" / "alerts.yml").read_text(encoding="utf-8")
    lock = (ROOT / "requirements_dev.txt").read_text(encoding="utf-8")
    panels = [panel for board in DASHBOARDS for row in board.rows.values() for panel in row]
    return {
        "version": __version__,
        "commit": _git("rev-parse", "--short", "HEAD"),
        "commits": _git("rev-list", "--count", "HEAD"),
        "lines of Python in src/": _lines(code),
        "lines of Python in tests/": _lines(tests),
        "test functions": sum(_tests(ROOT / path) for path in tests),
        "pages of documentation": sum(
            path.startswith("docs/source/") and path.endswith(".md") for path in tracked
        ),
        "decision records": sum(bool(re.search(r"decisions/\d", path)) for path in tracked),
        "metrics": len(metrics.METRICS),
        "alerts": len(set(re.findall(r"alert: (\w+)", rules))),
        "panels of dashboards": len(panels),
        "locked packages": len(re.findall(r"^[\w.-]+==", lock, re.MULTILINE)),
    }


def _lines(paths: Sequence[str]) -> str:
    return f"{sum((ROOT / path).read_text('utf-8').count(chr(10)) for path in paths):,}"


def _tests(path: Path) -> int:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return sum(node.name.startswith("test_") for node in functions)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
