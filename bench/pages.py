"""Pictures of the web page: reports/figures/page_*.png.

    python3 tasks.py bench pages

Takes a minute: the champions of the workspace (after `python3 tasks.py demo --exit --no-pull`) are
served, and a Chromium opens each view with drawn hands and faces; its camera plays drawn hands.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from bench.page import ROOT
from mien import config, tasks
from mien.config import Settings
from mien.reporting import console
from mien.stages.serve import app
from mien.storage.workspace import Workspace
from mien.tasks.emotion.sample import draw_face_image
from mien.tasks.gesture.drawing import draw_hand_picture

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the browser and its camera
import browser

FIGURES = ROOT / "reports" / "figures"
SIZE = (640, 480)


def main() -> None:
    """Serve, open each view, and save what it shows."""
    workspace = Workspace(config.settings().home.resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        browser.write_video(
            folder / "camera.y4m", [scene(turn) for turn in (-4, -2, 0, 2, 4, 2, 0, -2)]
        )
        scene(0).save(folder / "hand and face.png")
        settings = Settings().model_copy(update={"port": 0, "prediction_log": folder / "log.db"})
        flags = browser.camera_flags(folder / "camera.y4m")
        with (
            app.running(workspace, tasks.names(), [], settings) as address,
            browser.running(*flags) as opened,
        ):
            for view, width, dark in VIEWS:
                with browser.visiting(opened, address, width, dark) as visit:
                    SHOW[view.partition("_")[0]](visit.page, address, folder)
                    target = FIGURES / f"page_{view}.png"
                    visit.page.screenshot(path=target, full_page=True)
                    assert visit.errors + visit.foreign == []
                console.result(f"drawn: {target.relative_to(ROOT)}")


VIEWS = (
    ("picture", 1280, False),
    ("picture_phone", 390, True),
    ("camera", 1280, False),
    ("camera_phone", 390, False),
    ("status", 1280, False),
)


def scene(turn: float) -> Image.Image:
    """A drawn face and a drawn hand next to each other."""
    hand = draw_hand_picture("like")
    background = hand.getpixel((2, 2))
    picture = Image.new("RGB", SIZE, background)
    picture.paste(draw_face_image("happy").resize((360, 480)))
    picture.paste(hand.rotate(turn, fillcolor=background).resize((280, 280)), (360, 150))
    return picture


def _show_picture(page: Page, _: str, folder: Path) -> None:
    page.set_input_files("#file", [folder / "hand and face.png"])
    page.locator(".result[aria-busy=false]").wait_for()


def _show_camera(page: Page, _: str, __: Path) -> None:
    page.get_by_role("link", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("per second").wait_for()
    page.locator("#live_answers .bars li").nth(2).wait_for()


def _show_status(page: Page, address: str, _: Path) -> None:
    for name, index in _questions():
        png = page.request.get(f"{address}/sample/{name}").body()
        answer = page.request.post(
            f"{address}/predict/{name}",
            multipart={"file": {"name": "a.png", "mimeType": "image/png", "buffer": png}},
        ).json()
        label = answer[name]
        if index % 2:
            page.request.post(
                f"{address}/feedback", data={"trace_id": answer["trace_id"], "label": label}
            )
    page.goto(f"{address}/status")
    page.wait_for_selector("#tasks .card")


def _questions() -> Iterator[tuple[str, int]]:
    for name in tasks.names():
        for index in range(12):
            yield name, index


SHOW = {"picture": _show_picture, "camera": _show_camera, "status": _show_status}


if __name__ == "__main__":
    main()
