"""The report of `mien verify`, as JSON and as an HTML page."""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mien.storage.files import atomic_write


@dataclass(frozen=True)
class PromiseResult:
    """One checked item, and its failure; passed where `failure` is empty."""

    check: str
    item: str
    failure: str = ""

    @property
    def passed(self) -> bool:
        return not self.failure


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>mien verify</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1d2b36; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #dde5ea;
  vertical-align: top; overflow-wrap: anywhere; }}
.passed {{ color: #2e7d4f; }} .failed {{ color: #b3261e; font-weight: 600; }}
</style>
<h1>{title}</h1>
<p>{when}</p>
<table><tr><th>check</th><th>item</th><th>result</th></tr>
{rows}
</table></html>
"""


def write(results: Sequence[PromiseResult], folder: Path, when: str) -> list[Path]:
    """Write `verify.json` and `verify.html`; failed checks come first on the page."""
    failed = [result for result in results if not result.passed]
    document = {
        "when": when,
        "passed": len(results) - len(failed),
        "failed": len(failed),
        "results": [asdict(result) for result in results],
    }
    rows = [_row(result) for result in sorted(results, key=lambda each: each.passed)]
    title = (
        f"{len(failed)} of {len(results)} checks failed"
        if failed
        else f"All {len(results)} checks passed"
    )
    page = _PAGE.format(title=title, when=html.escape(when), rows="\n".join(rows))
    texts = {"verify.json": json.dumps(document, indent=1) + "\n", "verify.html": page}
    for name, text in texts.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _row(result: PromiseResult) -> str:
    check, item, failure = map(html.escape, (result.check, result.item, result.failure))
    cell = f'<td class="failed">{failure}</td>' if failure else '<td class="passed">passed</td>'
    return f"<tr><td>{check}</td><td>{item}</td>{cell}</tr>"
