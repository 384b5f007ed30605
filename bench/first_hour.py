"""Seconds from an empty folder to an answer, by stage, as `tests/test_wheel.py` records them."""

import os
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
    """Run the test on this Python, and write the page."""
    test = f"{TEST}[{sys.version_info.major}.{sys.version_info.minor}]"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "long", test]
        command += ["-o", "junit_family=xunit1"]  # the other form has no properties
        subprocess.run([*command, f"--junitxml={log}"], cwd=page.ROOT, check=True)
        found = {
            each.attrib["name"]: float(each.attrib["value"].removesuffix(" s"))
            for each in ElementTree.parse(log).iter("property")
        }
    rows = [{"stage": text, "s": f"{found[name]:.1f}"} for name, text in STAGES.items()]
    rows.append({"stage": "all", "s": f"{sum(found.values()):.1f}"})
    page.write("first_hour", "From an empty folder to an answer", [_INTRODUCTION, page.table(rows)])


_INTRODUCTION = (
    "`tests/test_wheel.py` goes the way of [Your own project](../own_project.md) with packages in "
    "the cache of uv: a user's zip of landmarks is trained on, the report is opened, and the "
    f"server answers. Wall time; load average at the start: {os.getloadavg()[0]:.0f}."
)

if __name__ == "__main__":
    main()
