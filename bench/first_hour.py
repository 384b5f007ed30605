"""Seconds from an empty folder to an answer, by stage, as `tests/test_wheel.py` records them."""

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from bench import page

TEST = "tests/test_wheel.py::test_the_first_hour_from_an_empty_folder"
STAGES = {
    "build": "`uv build`: the wheel",
    "install": "a new environment with the locked packages of `mien[classical]`, and the wheel",
    "init": "`mien init`",
    "run": "`mien run gesture --source hands.zip`: 1,080 hands of 18 gestures, one candidate",
    "report": "the report, opened in a browser",
    "serve": "`mien serve`, a picture answered, and the page of the API asked for its script",
}


def main() -> None:
    """Run the test on every Python that is here, and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "long", TEST]
        subprocess.run([*command, f"--junitxml={log}"], cwd=page.ROOT, check=True)
        cases = ElementTree.parse(log).iter("testcase")
        found = {
            case.attrib["name"].partition("[")[2].rstrip("]"): {
                each.attrib["name"]: each.attrib["value"].removesuffix(" s")
                for each in case.iter("property")
            }
            for case in cases
            if case.find("skipped") is None
        }
    rows = [
        {"stage": text, **{f"Python {python}, s": times[name] for python, times in found.items()}}
        for name, text in STAGES.items()
    ]
    total = {
        f"Python {python}, s": f"{sum(map(float, times.values())):.1f}"
        for python, times in found.items()
    }
    parts = [_INTRODUCTION, page.table([*rows, {"stage": "all", **total}])]
    page.write("first_hour", "From an empty folder to an answer", parts)


_INTRODUCTION = (
    "`tests/test_wheel.py` goes the way of [Your own project](../own_project.md) on each Python of "
    "the machine, with packages in the cache of uv: a user's zip of landmarks is trained on, the "
    "report is opened, and the server answers. Wall time."
)

if __name__ == "__main__":
    main()
