"""Every command of the page on reviews runs, in its order."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import default_signals
import pytest
from project import ROOT
from waiting import PATIENCE

from mien.observability.review.labels import Label
from mien.observability.review.sample import ReviewSample
from mien.observability.review.store import ReviewStore
from mien.storage.workspace import Workspace

from .conftest import KEY

PAGE = (ROOT / "docs" / "source" / "review.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
REVIEW = "mien review --reviewer ann\n"


@pytest.mark.long
def test_every_command_of_the_page_runs(
    workspace: Workspace, store: ReviewStore, keep: Callable[..., ReviewSample]
) -> None:
    """With one sample that ann has labelled; the page itself is the next test's."""
    sample = keep()
    store.labels("gesture").add(
        Label(
            trace_id=sample.trace_id,
            reviewer="ann",
            timestamp=time.time(),
            verdict="label",
            label="fist",
        )
    )
    assert BLOCKS.count(REVIEW) == 1
    script = "".join(each for each in BLOCKS if each != REVIEW)
    script = script.replace("$(openssl rand -hex 32)", KEY)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=workspace.home,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in (
        "all agree on 1 samples; 0 are disputed",
        "reviewed.csv: 1 samples, not encrypted; 0 without one label",
        "1 labels of bob",
        "nothing was kept of it",
    ):
        assert line in done.stdout


def test_the_review_prints_its_address_and_ends_at_ctrl_c(
    workspace: Workspace, keep: Callable[..., ReviewSample]
) -> None:
    """With exit status 0."""
    keep()
    environment = {**_environment(), "MIEN_REVIEW_KEY": KEY}
    with subprocess.Popen(
        [*REVIEW.split(), "--port", "0"],
        cwd=workspace.home,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        executable=Path(sys.executable).with_name("mien"),
        preexec_fn=default_signals.reset,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert re.match(r"review on http://127\.0\.0\.1:\d+/#\S{20,} ", line)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path}
