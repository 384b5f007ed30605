"""From the start of `mien studio` to the first own gesture that the camera names: seconds by step.

A real Chromium with a camera that shows drawn hands records two classes in two sessions. The CPU
time of the training is compared with that of its four classifiers alone, on the same rows. Draws
the pictures of the page, too.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from bench.page import ROOT, table, write
from mien.reporting import console
from mien.storage.workspace import Workspace, read_latest
from mien.tasks.gesture.params import Params
from mien.tasks.gesture.train import train_classifier

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the browser and its camera
from studio_page import CLASSES, COUNT, TRAINING_MS, camera, card, record

FIGURES = ROOT / "reports" / "figures"
PHONE = {"width": 390, "height": 800}
Steps = dict[str, float]


def main() -> None:
    """Print the seconds of each step and the CPU ratio; write the page and the pictures."""
    steps: Steps = {}
    with tempfile.TemporaryDirectory() as name:
        home, folder = Path(name, "home"), Path(name, "videos")
        folder.mkdir()
        with studio(home, steps) as (address, process):
            for session in (1, 2):
                for label in CLASSES:
                    record_class(address, folder, label, session, steps)
            with camera(address, folder, CLASSES[1], 2) as visit:
                model_s, training_s = train(visit.page, process.pid, steps)
        alone_s = classifiers_alone(home)
    seconds = [{"step": step, "seconds": f"{value:.1f}"} for step, value in steps.items()]
    seconds.append({"step": "in all", "seconds": f"{sum(steps.values()):.1f}"})
    cost = [
        {"what": "the training, until its model is there", "CPU seconds": f"{model_s:.1f}"},
        {"what": "the training, with all it writes", "CPU seconds": f"{training_s:.1f}"},
        {"what": "its four classifiers alone", "CPU seconds": f"{alone_s:.1f}"},
    ]
    sentence = (
        f"The training takes {model_s / alone_s:.1f} times the CPU time of the four classifiers "
        "alone (cross-validation and fit on the same rows, their libraries loaded before) until "
        f"its model answers, and {training_s / alone_s:.1f} times with all that it writes. It "
        "checks the data, and exports, calibrates and measures all four. The studio loads the "
        "libraries and makes MLflow's tables while people record, which does not count here."
    )
    rows = f"{len(CLASSES)} classes, 2 sessions, at least {COUNT} samples of each; wall time."
    write("studio", "Studio", [rows, table(seconds), sentence, table(cost)])


@contextmanager
def studio(home: Path, steps: Steps) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """`mien studio`, and the address that it prints."""
    command = [sys.executable, "-m", "mien.cli", "studio", "--home", str(home), "--port", "0"]
    start = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().removeprefix("open ").strip()
            steps["start of the studio"] = time.monotonic() - start
            yield address, process
        finally:
            process.terminate()


def record_class(address: str, folder: Path, label: str, session: int, steps: Steps) -> None:
    """Hold the button of a class; the start of the browser does not count."""
    with camera(address, folder, label, session) as visit:
        page, start = visit.page, time.monotonic()
        if session == 1:
            page.get_by_label("Name of a new class").fill(label)
            page.get_by_role("button", name="Add class").click()
        elif page.locator("#session").inner_text() != str(session):
            page.get_by_role("button", name="Next session").click()
        card(page, label).locator(".hold").hover()
        record(page, label, page.mouse.down, page.mouse.up)
        steps[f"record {label}, session {session}"] = time.monotonic() - start
        if session == 2 and label == CLASSES[0]:
            save(page, "record")


def train(page: Page, process_id: int, steps: Steps) -> tuple[float, float]:
    """Train, wait for the first live answer and for the end; returns the CPU seconds until the
    model is there, and until the end."""
    start, cpu = time.monotonic(), cpu_seconds(process_id)
    state = page.locator("#training_state")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(state).to_contain_text(re.compile("The model answers|Trained in"), timeout=TRAINING_MS)
    model_s = cpu_seconds(process_id) - cpu
    steps["train"] = time.monotonic() - start
    start = time.monotonic()
    expect(page.locator("#live_answers .label").first).to_have_text(CLASSES[1])
    steps["load the model, first live answer"] = time.monotonic() - start
    expect(state).to_contain_text("Trained in", timeout=TRAINING_MS)
    training_s = cpu_seconds(process_id) - cpu
    save(page, "result")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    save(page, "phone")
    return model_s, training_s


def save(page: Page, name: str) -> None:
    target = FIGURES / f"studio_{name}.png"
    page.screenshot(path=target, full_page=name != "phone")
    console.info(f"drawn: {target.relative_to(ROOT)}")


def cpu_seconds(process_id: int) -> float:
    """User and system time of a process; it uses no other ones."""
    fields = Path("/proc", str(process_id), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def classifiers_alone(home: Path) -> float:
    """CPU seconds of the four classifiers, on the rows that the studio has prepared."""
    ready = read_latest(Workspace(home).processed("gesture"), "studio", "")
    params = Params()
    for candidate in params.candidates:  # loads the libraries
        train_classifier(candidate, ready, Params(trees=10, boosting_rounds=10), 0)
    start = time.process_time()
    for candidate in params.candidates:
        train_classifier(candidate, ready, params, 0)
    return time.process_time() - start


if __name__ == "__main__":
    main()
