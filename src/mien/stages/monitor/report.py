"""The report of `mien verify`, as JSON and as an HTML page."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mien.storage.files import atomic_write, json_text


@dataclass(frozen=True)
class PromiseResult:
    """One checked item; it has passed, or has a failure, or a reason why it was skipped."""

    check: str
    item: str
    failure: str = ""
    skipped: str = ""

    @property
    def passed(self) -> bool:
        return not self.failure and not self.skipped


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>mien verify</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1d2b36; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #dde5ea;
  vertical-align: top; overflow-wrap: anywhere; }}
.passed {{ color: #2e7d4f; }} .skipped {{ color: #8a6d1b; }}
.failed {{ color: #b3261e; font-weight: 600; }}
</style>
<h1>{title}</h1>
<p>{when}</p>
<table><tr><th>check</th><th>item</th><th>result</th></tr>
{rows}
</table></html>
"""


def write(results: Sequence[PromiseResult], folder: Path, when: str) -> list[Path]:
    """Write `verify.json` and `verify.html`; what has not passed comes first on the page."""
    failed = [result for result in results if result.failure]
    skipped = [result for result in results if result.skipped]
    document = {
        "when": when,
        "passed": len(results) - len(failed) - len(skipped),
        "failed": len(failed),
        "skipped": len(skipped),
        "results": [asdict(result) for result in results],
    }
    rows = [_row(result) for result in sorted(results, key=_order)]
    title = (
        f"{len(failed)} of {len(results)} checks failed"
        if failed
        else f"All {len(results) - len(skipped)} checks passed"
    )
    title += f", {len(skipped)} skipped" if skipped else ""
    page = _PAGE.format(title=title, when=html.escape(when), rows="\n".join(rows))
    texts = {"verify.json": json_text(document, indent=1) + "\n", "verify.html": page}
    for name, text in texts.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _order(result: PromiseResult) -> int:
    """Failures first, then what was skipped."""
    return 0 if result.failure else 1 if result.skipped else 2


def _row(result: PromiseResult) -> str:
    check, item = html.escape(result.check), html.escape(result.item)
    kind = ("failed", "skipped", "passed")[_order(result)]
    text = result.failure or (f"skipped: {result.skipped}" if result.skipped else "passed")
    return f'<tr><td>{check}</td><td>{item}</td><td class="{kind}">{html.escape(text)}</td></tr>'
