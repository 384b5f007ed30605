"""The page of the studio in a real Chromium: from the camera to a model that is exported."""

import base64
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import browser
import pytest
from playwright.sync_api import Locator, Page, expect
from project import ROOT
from studio_page import CLASSES, COUNT, TRAINING_MS, camera, card, drawn, record
from waiting import PATIENCE

from mien import tasks
from mien.stages.studio.recording import Recording
from mien.storage.workspace import CHAMPION, Workspace

from .recorded import recorded

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.long]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    browser.require()
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with running(home) as opened:
        yield opened


@contextmanager
def running(home: Path) -> Iterator[str]:
    """Where `mien studio` says that it is, with its key."""
    command = [sys.executable, "-m", "mien.cli", "studio", "--home", str(home), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().removeprefix("open ").strip()
        finally:
            process.terminate()


def tab_to(page: Page, target: Locator) -> None:
    while not target.evaluate("(element) => element === document.activeElement"):
        page.keyboard.press("Tab")


def first_session(address: str, folder: Path) -> None:
    """By the mouse: every class is made and recorded."""
    for label in CLASSES:
        with camera(address, folder, label, 1) as visit:
            page = visit.page
            page.get_by_label("Name of a new class").fill(label)
            page.get_by_role("button", name="Add class").click()
            card(page, label).locator(".hold").hover()
            record(page, label, page.mouse.down, page.mouse.up)
            expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
            expect(page.locator("#missing")).to_contain_text("one session")


def second_session(address: str, folder: Path) -> None:
    """By the keyboard alone: the next session, and the button that is held by Space."""
    for label in CLASSES:
        with camera(address, folder, label, 2) as visit:
            page = visit.page
            if label == CLASSES[0]:  # a new page goes on with the last session
                tab_to(page, page.locator("#next_session"))
                page.keyboard.press("Enter")
            expect(page.locator("#session")).to_have_text("2")
            tab_to(page, card(page, label).locator(".hold"))
            record(
                page,
                label,
                lambda page=page: page.keyboard.down(" "),
                lambda page=page: page.keyboard.up(" "),
            )


def test_from_the_camera_to_an_exported_model(address: str, home: Path, tmp_path: Path) -> None:
    """Two classes in two sessions; a training; the right live answer; the model is registered, and
    answers alike without mien. Nothing of the pictures is stored."""
    first_session(address, tmp_path)
    second_session(address, tmp_path)
    recording = (home / "data" / "studio" / "gesture" / "recording.csv").read_text("utf-8")
    for label in CLASSES:
        for session in (1, 2):
            assert recording.count(f"\n{label},{session},") >= COUNT
    with camera(address, tmp_path, "peace", 2) as visit:
        page = visit.page
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.locator("#training_state")).to_contain_text("Trained in", timeout=TRAINING_MS)
        expect(page.locator("#log")).to_contain_text("gesture: evaluate")
        expect(page.locator("#confusion td")).to_have_count(4)
        expect(page.locator("#live_answers .label").first).to_have_text("peace")
        page.get_by_role("button", name="Keep").click()
        expect(page.locator("#kept")).to_contain_text("version 1 is champion")
        with page.expect_download() as download:
            page.get_by_role("button", name="Export as zip").click()
        download.value.save_as(tmp_path / "model.zip")
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert Workspace(home).aliases("gesture")[CHAMPION] == 1
    assert list(home.rglob("*.jpg")) == []
    assert exported_answer(tmp_path, recording) == "peace"


def exported_answer(folder: Path, recording: str) -> str:
    """What the exported script says of the last recorded hand."""
    with zipfile.ZipFile(folder / "model.zip") as archive:
        archive.extractall(folder / "model")
    numbers = [float(each) for each in recording.splitlines()[-1].split(",")[-63:]]
    points = [numbers[start : start + 3] for start in range(0, 63, 3)]
    (folder / "hand.json").write_text(json.dumps({"landmarks": points}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "predict.py", str(folder / "hand.json")],
        cwd=folder / "model",
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return str(json.loads(done.stdout)["gesture"])


def test_without_the_key_the_page_asks_for_it(address: str, home: Path) -> None:
    """The browser itself logs the refused request."""
    with (
        browser.running() as chromium,
        browser.visiting(chromium, address.partition("#")[0]) as visit,
    ):
        expect(visit.page.locator("#key")).to_be_visible()
        visit.page.get_by_role("textbox", name="Key").fill(address.partition("#key=")[2])
        visit.page.get_by_role("button", name="Use this key").click()
        expect(visit.page.locator("#session_hint")).not_to_be_empty()
        assert all("401" in error for error in visit.errors)


DROPPED = """(pictures) => {
  const transfer = new DataTransfer();
  for (const [name, text] of pictures) {
    transfer.items.add(new File([Uint8Array.from(atob(text), (each) => each.charCodeAt(0))], name));
  }
  return transfer;
}"""


def test_a_recording_is_imported_and_photos_are_dropped(address: str, tmp_path: Path) -> None:
    """In dark mode; what is no photo is counted in words that stay."""
    columns = tasks.load("gesture").recordable.columns  # type: ignore[union-attr]
    Recording(tmp_path / "other.csv", columns).add(recorded("ok fist"), "take")
    photo = io.BytesIO()
    drawn("palm").convert("RGB").save(photo, "JPEG")
    files = {"hand.jpg": photo.getvalue(), "notes.txt": b"no picture"}
    texts = [[name, base64.b64encode(each).decode()] for name, each in files.items()]
    with browser.running() as chromium, browser.visiting(chromium, address, dark=True) as visit:
        page = visit.page
        expect(page.locator("#session_hint")).not_to_be_empty()
        page.locator("#csv").set_input_files(tmp_path / "other.csv")
        expect(card(page, "fist").locator(".count")).to_contain_text("12 in session 2")
        page.get_by_label("Name of a new class").fill("palm")
        page.get_by_role("button", name="Add class").click()
        transfer = page.evaluate_handle(DROPPED, texts)
        card(page, "palm").dispatch_event("drop", {"dataTransfer": transfer})
        expect(card(page, "palm").locator(".count")).to_contain_text("1 samples")
        expect(page.locator("#trouble")).to_contain_text("1 of 2 photos recorded")
        dark = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(dark) == "rgb(16, 21, 19)"
        assert all("415" in error for error in visit.errors)
        assert visit.foreign == []


def import_samples(page: Page, path: Path, labels: str) -> None:
    """Add samples of labels from a file."""
    columns = tasks.load("gesture").recordable.columns  # type: ignore[union-attr]
    Recording(path, columns).add(recorded(labels), "take")
    page.locator("#csv").set_input_files(path)
    for label in labels.split():
        expect(card(page, label).locator(".count")).to_contain_text("12 in session 2")


def train(page: Page) -> None:
    """Once more, maybe: the words of an earlier training stand there until this one begins."""
    state = page.locator("#training_state")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(state).not_to_contain_text("Trained in")
    expect(state).to_contain_text("Trained in", timeout=TRAINING_MS)


def test_a_model_of_other_labels_is_compared_and_kept_as_challenger(tmp_path: Path) -> None:
    """The model before answers beside the new one; as the new one lost a label of the champion, the
    page says why it is not champion and how it becomes one."""
    browser.require()
    home = tmp_path / "home"
    with running(home) as address, camera(address, tmp_path, "peace", 1) as visit:
        page = visit.page
        labels, answers = page.locator("#live_answers h2"), page.locator("#live_answers .label")
        import_samples(page, tmp_path / "first.csv", "like peace")
        train(page)
        expect(labels).to_have_text(["New model"])
        page.get_by_role("button", name="Keep").click()
        expect(page.locator("#kept")).to_contain_text("version 1 is champion")
        card(page, "like").get_by_role("button", name="Delete class").click()
        import_samples(page, tmp_path / "second.csv", "fist ok")
        train(page)
        expect(labels).to_have_text(["New model", "Model before"])
        expect(answers).to_have_text(["peace", "peace"])
        page.get_by_role("button", name="Keep").click()
        kept = page.locator("#kept")
        expect(kept).to_contain_text("version 2 is challenger")
        expect(kept).to_contain_text("does not know 1 of the 2 labels of version 1 (like)")
        expect(kept).to_contain_text("mien promote gesture 2")
    assert Workspace(home).aliases("gesture") == {"champion": 1, "challenger": 2}
