"""What `mien verify` found, as JSON for programs and as one HTML page for people."""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mien.storage.files import atomic_write


@dataclass(frozen=True)
class Finding:
    """One promise: what was looked at, and what is at fault; kept where `fault` is empty."""

    check: str
    what: str
    fault: str = ""

    @property
    def kept(self) -> bool:
        return not self.fault


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>mien verify</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1d2b36; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #dde5ea;
  vertical-align: top; overflow-wrap: anywhere; }}
.kept {{ color: #2e7d4f; }} .broken {{ color: #b3261e; font-weight: 600; }}
</style>
<h1>{title}</h1>
<p>{when}</p>
<table><tr><th>check</th><th>what</th><th></th></tr>
{rows}
</table></html>
"""


def write(findings: Sequence[Finding], folder: Path, when: str) -> list[Path]:
    """Write `verify.json` and `verify.html`; broken promises stand first on the page."""
    broken = [finding for finding in findings if not finding.kept]
    document = {
        "when": when,
        "kept": len(findings) - len(broken),
        "broken": len(broken),
        "findings": [asdict(finding) for finding in findings],
    }
    rows = [_row(finding) for finding in sorted(findings, key=lambda each: each.kept)]
    title = (
        f"{len(broken)} of {len(findings)} promises are broken"
        if broken
        else (f"All {len(findings)} promises are kept")
    )
    page = _PAGE.format(title=title, when=html.escape(when), rows="\n".join(rows))
    texts = {"verify.json": json.dumps(document, indent=1) + "\n", "verify.html": page}
    for name, text in texts.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _row(finding: Finding) -> str:
    check, what, fault = map(html.escape, (finding.check, finding.what, finding.fault))
    shown = '<td class="kept">kept</td>' if finding.kept else f'<td class="broken">{fault}</td>'
    return f"<tr><td>{check}</td><td>{what}</td>{shown}</tr>"
