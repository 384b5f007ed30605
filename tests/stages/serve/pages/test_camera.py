"""The camera in a real Chromium, without an error and without a request to any other origin."""

import re
from contextlib import closing
from sqlite3 import connect
from typing import Any

import browser
import pytest
from browser import Visit
from playwright.sync_api import Browser, Page, expect
from waiting import until

from ..corpus_server import Server
from .conftest import COUNT_PIXELS, HAND_COLOUR

pytestmark = pytest.mark.xdist_group("browser")
STEADY_LABELS = """async (labels) => {
  const { Steady } = await import(new URL("static/steady.js", document.baseURI));
  const steady = new Steady();
  const answer = { outcome: "ok", confidence: 0.9, detections: [{ scores: {} }] };
  return labels.map((label) => steady.add(label, answer).label);
}"""
"""What a camera's page shows after each frame."""
WATCH_FRAMES = """() => {
  const send = window.fetch;
  window.watched = { sizes: [], count: 0, open: 0, most: 0 };
  window.fetch = async (address, options) => {
    if (!(options?.body instanceof Blob)) return send(address, options);
    const { width, height } = await createImageBitmap(options.body);
    watched.sizes = [...new Set([...watched.sizes, `${width} x ${height}`])];
    watched.count += 1;
    watched.open += 1;
    watched.most = Math.max(watched.most, watched.open);
    return send(address, options).finally(() => { watched.open -= 1; });
  };
}"""

HOLD_CAMERAS = """() => {
  const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
  window.held = { streams: [], allow: [] };
  devices.getUserMedia = async (wanted) => {
    held.streams.push(await open(wanted));
    const stream = held.streams.at(-1);
    await new Promise((allow) => held.allow.push(allow));
    return stream;
  };
  held.live = () => held.streams.filter((each) => each.active).length;
}"""


def _start_camera(page: Page) -> None:
    page.get_by_role("link", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()


def test_the_notice_stands_before_the_camera(visit: Visit) -> None:
    """What is computed and sent, that nothing is stored, and what European law asks for."""
    visit.page.get_by_role("link", name="Camera").click()
    expect(visit.page.locator("#preview")).to_be_hidden()
    notice = visit.page.locator("#camera_notice")
    for text in ("emotion and gesture", "480 pixels", "stored", "Article 50(3)"):
        expect(notice).to_contain_text(text)


def test_the_camera_is_answered_live(visit: Visit, server: Server, address: str) -> None:
    """By all tasks, drawn over the mirrored preview, until it is stopped; nothing is recorded."""
    page, before = visit.page, _recorded(server)
    with page.expect_request(lambda request: "predict" in request.url) as first:
        _start_camera(page)
    assert first.value.headers["x-mien-frame"] == "first"
    live = page.locator("#live_answers")
    expect(live.locator("[data-task=gesture] .label")).to_have_text("like")
    expect(live.locator("[data-task=emotion] .bars li").first).to_be_visible()
    expect(page.locator("#speed")).to_contain_text(re.compile("frames? per second"))
    with page.expect_request(_follows_a_hand):
        pass
    assert page.locator("#overlay").evaluate(COUNT_PIXELS, HAND_COLOUR) > 100
    turned = page.locator("#preview").evaluate("(video) => getComputedStyle(video).transform")
    assert turned.startswith("matrix(-1")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
    assert page.locator("#preview").evaluate("(video) => video.srcObject") is None
    assert _recorded(server) == before


def _follows_a_hand(request: Any) -> bool:
    state = request.headers.get("x-mien-frame", "")
    return "gesture" in request.url and len(state) > 390


def _recorded(server: Server) -> int:
    """Rows of the prediction log."""
    path = server.log.parent / "predictions.db"
    with closing(connect(path)) as database:
        return int(database.execute("select count(*) from predictions").fetchone()[0])


def test_a_camera_that_is_allowed_too_late_is_switched_off(visit: Visit) -> None:
    """After the view was left, and where a second click started another one."""
    page = visit.page
    page.evaluate(HOLD_CAMERAS)
    _start_camera(page)
    until(lambda: page.evaluate("held.allow.length === 1"))
    page.get_by_role("link", name="Picture", exact=True).click()
    page.evaluate("held.allow[0]()")
    until(lambda: page.evaluate("held.live() === 0"))
    assert page.locator("#preview").evaluate("(video) => video.srcObject") is None
    for _ in range(2):
        _start_camera(page)
    until(lambda: page.evaluate("held.allow.length === 3"))
    page.evaluate("held.allow.forEach((allow) => allow())")
    until(lambda: page.evaluate("held.live() === 1"))
    page.get_by_role("button", name="Stop").click()
    until(lambda: page.evaluate("held.live() === 0"))


def test_another_camera_can_be_chosen(chromium: Browser, address: str) -> None:
    """Where there are two; the first one is switched off."""
    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=device-count=2"]
    two = chromium.browser_type.launch(executable_path=browser.require(), args=flags)
    with closing(two), browser.visiting(two, address) as visit:
        page = visit.page
        used = "() => preview.srcObject.getVideoTracks()[0].getSettings().deviceId"
        _start_camera(page)
        choice = page.get_by_role("combobox", name="Camera")
        expect(choice.locator("option")).to_have_count(2)
        assert choice.input_value() == page.evaluate(used)
        page.evaluate("() => { window.first = preview.srcObject.getVideoTracks()[0] }")
        other = choice.locator("option:not(:checked)").get_attribute("value")
        choice.select_option(other)
        until(lambda: page.evaluate("() => first.readyState") == "ended")
        expect(page.locator("#speed")).to_contain_text(re.compile("frames? per second"))
        assert page.evaluate(used) == other
        assert visit.errors + visit.foreign == []


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ("like like like fist like like", "like like like like like like"),
        ("like like fist fist fist", "like like like like fist"),
        ("like fist like fist", "like like like like"),
    ],
    ids=["one wrong frame", "a change", "as many of both"],
)
def test_the_label_of_a_camera_is_what_most_frames_say(
    visit: Visit, labels: str, shown: str
) -> None:
    assert visit.page.evaluate(STEADY_LABELS, labels.split()) == shown.split()


def test_frames_are_small_and_sent_one_after_the_other(visit: Visit) -> None:
    """At most 480 pixels for any camera; the next one is sent after the answer to the last one."""
    visit.page.evaluate(WATCH_FRAMES)
    _start_camera(visit.page)
    expect(visit.page.locator("#speed")).to_contain_text(re.compile("frames? per second"))
    frames = visit.page.evaluate("watched")
    assert frames["sizes"] == ["480 x 360"]
    assert frames["count"] >= 4
    assert frames["most"] == 2, "one for each of both tasks"


def test_a_page_from_elsewhere_says_why_it_has_no_camera(chromium: Browser, server: Server) -> None:
    """Browsers give it to https and to the machine itself."""
    with browser.visiting(chromium, f"http://camera.test:{server.port}/#camera") as visit:
        trouble = visit.page.locator("#camera_trouble")
        expect(trouble).to_contain_text(f"http://localhost:{server.port}/")
        expect(trouble).to_contain_text("https")
        expect(visit.page.get_by_role("button", name="Start the camera")).to_be_disabled()
        assert visit.errors + visit.foreign == []
