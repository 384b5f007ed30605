"""A real Chromium for tests of the pages, driven by Playwright, with a camera that plays a file.

The browser comes from `python3 tasks.py chromium` or from PATH; without it `require` skips.
"""

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from waiting import PATIENCE

RECIPE = "python3 tasks.py chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome")
CAMERA_RATE = 10
"""Frames per second of the fake camera: Chromium takes it from the file."""


def binary() -> str | None:
    """Where Chromium is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def require() -> str:
    """The binary, or a skip that says how to get it."""
    path = binary()
    if path is None:
        pytest.skip(f"no Chromium: run `{RECIPE}`")
    return path


@contextmanager
def running(*flags: str) -> Iterator[Browser]:
    """Start Chromium; root may not use its sandbox, so that it runs without one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require(), args=list(flags))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page with what must not happen in it: errors, and requests to other origins."""

    page: Page
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def watch(self, origin: str) -> None:
        """Record from now on."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._on_request(request.url, origin))

    def _on_console(self, message: object) -> None:
        kind, text = (getattr(message, name) for name in ("type", "text"))
        if kind in ("error", "warning"):
            self.errors.append(text)

    def _on_request(self, url: str, origin: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data") and f"{parts.scheme}://{parts.netloc}" != origin:
            self.foreign.append(url)


@contextmanager
def visiting(
    browser: Browser, address: str, width: int = 1280, dark: bool = False
) -> Iterator[Visit]:
    """Open a page in a window of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if dark else "light",
        permissions=["camera", "clipboard-read", "clipboard-write"],
        reduced_motion="reduce",
    )
    context.set_default_timeout(1000 * PATIENCE)
    visit = Visit(context.new_page())
    parts = urlsplit(address)
    visit.watch(f"{parts.scheme}://{parts.netloc}")
    visit.page.goto(address)
    try:
        yield visit
    finally:
        context.close()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the files of a folder while the block runs; yields the address."""
    handler = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class _QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def camera_flags(video: Path) -> list[str]:
    """What makes Chromium take a file for the camera, and not ask whether it may."""
    return [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    ]


def write_video(path: Path, frames: Sequence[Image.Image]) -> None:
    """Write frames of one size as YUV4MPEG2, which Chromium plays in a loop."""
    width, height = frames[0].size
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{CAMERA_RATE}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            luma, *chroma = np.moveaxis(np.asarray(frame.convert("YCbCr")), 2, 0)
            file.write(b"FRAME\n" + luma.tobytes())
            for plane in chroma:
                file.write(plane[::2, ::2].tobytes())
