"""Every command of the page on reviews runs, in its order."""

import os
import re
import subprocess
import sys
from pathlib import Path

from project import ROOT
from waiting import PATIENCE

PAGE = (ROOT / "docs" / "source" / "review.md").read_text(encoding="utf-8")


def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    """In a workspace of which nothing is kept yet."""
    script = "".join(re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "nothing was kept of it" in done.stdout
