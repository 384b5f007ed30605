"""`mien evidence`: runs the command of each item, and writes the page.

Ends with status 1 if an item failed.
"""

import shutil
import sys

from evidence import checks, page
from evidence.items import CHECKLIST, HOME


def main() -> None:
    """Check the items in order, as later commands use what earlier ones made."""
    shutil.rmtree(checks.ROOT / HOME, ignore_errors=True)
    results: dict[str, list[checks.Result]] = {}
    for title, items in CHECKLIST.items():
        results[title] = []
        for item in items:
            result = checks.check(item)
            results[title].append(result)
            print(f"{result.state:<12} {item.module:<7} {item.text}", flush=True)
            if result.state == "failed":
                print(f"{'':<12} {item.command}\n{'':<12} {result.line}")
    page.PAGE.write_text(page.text(results, page.facts()), encoding="utf-8")
    print(f"written: {page.PAGE.relative_to(checks.ROOT)}")
    sys.exit(any(each.state == "failed" for part in results.values() for each in part))


if __name__ == "__main__":
    main()
