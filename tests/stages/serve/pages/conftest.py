"""The service of both tasks, and a Chromium whose camera shows a hand, for tests of the pages."""

from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from browser import Visit
from hand_picture import hand_picture
from PIL import Image
from playwright.sync_api import Browser, expect
from waiting import PATIENCE

from ..corpus_server import Server, running

expect.set_options(timeout=1000 * PATIENCE)
SIZE = (640, 480)
HAND_COLOUR = (0x5F, 0xE3, 0xC7)
"""In which the second task of the server is drawn."""
COUNT_PIXELS = """(canvas, [red, green, blue]) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const same = (at) => data[at] === red && data[at + 1] === green && data[at + 2] === blue;
  return data.reduce((count, _, at) => count + (at % 4 === 0 && same(at)), 0);
}"""


def hand(label: str = "like", turn: float = 0) -> Image.Image:
    """A drawn hand in a frame of a camera."""
    drawn = hand_picture(label)
    background = drawn.getpixel((2, 2))
    picture = Image.new("RGB", SIZE, background)
    picture.paste(drawn.rotate(turn, fillcolor=background).resize((440, 440)), (100, 20))
    return picture


@pytest.fixture(scope="package")
def server(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service of both tasks."""
    browser.require()
    with running(served_home, tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="package")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera shows a hand that turns."""
    browser.require()
    video = tmp_path_factory.mktemp("camera") / "hand.y4m"
    browser.write_video(video, [hand(turn=turn) for turn in (-3, -1, 1, 3, 1, -1)])
    flags = [*browser.camera_flags(video), "--host-resolver-rules=MAP camera.test 127.0.0.1"]
    with browser.running(*flags) as opened:
        yield opened


@pytest.fixture
def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[Visit]:
    """The page; at the end of each test there was no error, and no request to another origin."""
    with browser.visiting(chromium, address) as opened:
        yield opened
        assert opened.errors == []
        assert opened.foreign == []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    hand().save(tmp_path / "my hand.png")
    return tmp_path / "my hand.png"
