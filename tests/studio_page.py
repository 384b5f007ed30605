"""Drives the page of the studio: a camera that shows drawn hands, and a button that is held."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import browser
from browser import Visit
from hand_picture import hand_picture
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from waiting import PATIENCE, TRAINING_PATIENCE

expect.set_options(timeout=1000 * PATIENCE)
TRAINING_MS = 1000 * TRAINING_PATIENCE
CLASSES = ("like", "peace")
COUNT = 12
"""Samples of a class and session."""


@cache
def drawn(label: str) -> Image.Image:
    return hand_picture(label)


def frames(label: str, session: int) -> list[Image.Image]:
    """A drawn hand that turns; in another session it is nearer and turned otherwise."""
    picture = drawn(label)
    background = picture.getpixel((2, 2))
    side, lean = ((380, -8), (440, 6))[session - 1]
    pictures = []
    for turn in range(-10, 10):
        frame = Image.new("RGB", (640, 480), background)
        turned = picture.rotate(lean + turn / 2, fillcolor=background)
        corner = (320 - side // 2 + turn, 240 - side // 2)
        frame.paste(turned.resize((side, side)), corner)
        pictures.append(frame)
    return pictures


@contextmanager
def camera(address: str, folder: Path, label: str, session: int) -> Iterator[Visit]:
    """The page, with a camera that shows a class; nothing fails, and no other server is asked."""
    video = folder / f"{label}{session}.y4m"
    if not video.exists():
        browser.write_video(video, frames(label, session))
    with (
        browser.running(*browser.camera_flags(video)) as chromium,
        browser.visiting(chromium, address) as visit,
    ):
        page = visit.page
        expect(page.locator("#session_hint")).not_to_be_empty()
        page.get_by_role("button", name="Start the camera").click()
        expect(page.locator("#preview")).to_be_visible()
        yield visit
        assert visit.errors == []
        assert visit.foreign == []


def card(page: Page, label: str) -> Locator:
    return page.locator(f"[data-label='{label}']")


def record(page: Page, label: str, press: Callable[[], None], release: Callable[[], None]) -> None:
    """Hold the button of a class until there are enough samples."""
    text = card(page, label).locator(".count").inner_text()
    before = int(text.partition(" ")[0]) if text[0].isdigit() else 0
    press()
    expect(card(page, label).locator(".sample").nth(before + COUNT - 1)).to_be_visible()
    release()
    expect(card(page, label).locator(".held")).to_have_count(0)
    expect(card(page, label).locator(".count")).to_contain_text(re.compile(r"\d+ samples"))
