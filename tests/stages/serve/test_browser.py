"""The pages in a real Chromium: pictures, camera and status, without an error and without a
request to any other origin."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any

import browser
import pytest
from browser import Visit
from hand_picture import hand_picture
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from waiting import PATIENCE, until

from .corpus_server import Server, running

pytestmark = pytest.mark.xdist_group("browser")
expect.set_options(timeout=1000 * PATIENCE)
SIZE = (640, 480)
HAND_COLOUR = (0x5F, 0xE3, 0xC7)
"""In which the second task of the server is drawn."""
TRANSFER = """([name, type, content]) => {
  const data = new DataTransfer();
  const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
  data.items.add(new File([bytes], name, { type }));
  return data;
}"""
COUNT_PIXELS = """(canvas, [red, green, blue]) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const same = (at) => data[at] === red && data[at + 1] === green && data[at + 2] === blue;
  return data.reduce((count, _, at) => count + (at % 4 === 0 && same(at)), 0);
}"""

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


def hand(label: str = "like", turn: float = 0) -> Image.Image:
    """A drawn hand in a frame of a camera."""
    drawn = hand_picture(label)
    background = drawn.getpixel((2, 2))
    picture = Image.new("RGB", SIZE, background)
    picture.paste(drawn.rotate(turn, fillcolor=background).resize((440, 440)), (100, 20))
    return picture


@pytest.fixture(scope="module")
def server(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service of both tasks."""
    browser.require()
    with running(served_home, tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
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


def answered(page: Page, count: int = 1) -> Locator:
    """The pictures on the page, once all of them are answered."""
    results = page.locator(".result[aria-busy=false]")
    expect(results).to_have_count(count)
    return results


def predict(page: Page, address: str, task: str, content: bytes) -> Any:
    """What the API answers for the bytes of a picture, without the trace_id."""
    headers = {"content-type": "image/png"}
    reply = page.request.post(f"{address}/predict/{task}", data=content, headers=headers)
    return without_trace(reply.json())


def without_trace(answer: Any) -> Any:
    return {key: value for key, value in answer.items() if key != "trace_id"}


def shown_json(result: Locator, task: str) -> Any:
    return without_trace(json.loads(example(result, task, "JSON")))


def example(result: Locator, task: str, title: str) -> str:
    part = result.locator(f"[data-task={task}] [data-example={title}] pre")
    return part.text_content() or ""


def choose(page: Page, path: Path) -> None:
    page.set_input_files("#file", [path])


def drop(page: Page, path: Path) -> None:
    transfer = page.evaluate_handle(TRANSFER, _file(path))
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def paste(page: Page, path: Path) -> None:
    page.evaluate(
        f"(file) => document.dispatchEvent(new ClipboardEvent('paste', "
        f"{{ clipboardData: ({TRANSFER})(file), bubbles: true }}))",
        _file(path),
    )


def _file(path: Path) -> list[str]:
    return [path.name, "image/png", base64.b64encode(path.read_bytes()).decode()]


@pytest.mark.parametrize("send", [choose, drop, paste])
def test_a_picture_is_answered_by_all_tasks_and_drawn_on(
    visit: Visit, address: str, file: Path, send: Any
) -> None:
    """As the API answers; the canvas has the hand in the colour of its task."""
    send(visit.page, file)
    result = answered(visit.page)
    for task in ("emotion", "gesture"):
        assert shown_json(result, task) == predict(visit.page, address, task, file.read_bytes())
    part = result.locator("[data-task=gesture]")
    assert part.locator(".label").text_content() == "like"
    assert part.locator(".bars li").count() == 5
    canvas = result.locator("canvas")
    assert "like" in (canvas.get_attribute("aria-label") or "")
    assert canvas.evaluate(COUNT_PIXELS, HAND_COLOUR) > 200


def test_several_pictures_are_answered_in_one_go(visit: Visit, file: Path, tmp_path: Path) -> None:
    """Each with its name and its own answers, in the order in which they were chosen."""
    Image.new("RGB", (200, 150), (90, 100, 110)).save(tmp_path / "empty.png")
    hand("peace").save(tmp_path / "peace.png")
    names = ["empty.png", "my hand.png", "peace.png"]
    visit.page.set_input_files("#file", [tmp_path / name for name in names])
    results = answered(visit.page, 3)
    captions = results.locator("figcaption").all_text_contents()
    assert captions == names
    labels = results.locator("[data-task=gesture] .label").all_text_contents()
    assert labels[1] == "like"
    empty = results.nth(0).locator("[data-task=gesture] .outcome")
    assert empty.text_content() == "No hand was detected."


def test_the_printed_lines_give_the_same_answer(visit: Visit, file: Path) -> None:
    """Of curl and of Python, run in the picture's folder."""
    choose(visit.page, file)
    result = answered(visit.page)
    shell, script = (example(result, "gesture", title) for title in ("curl", "Python"))
    for command in (["bash", "-c", shell], [sys.executable, "-c", script]):
        done = subprocess.run(
            command, cwd=file.parent, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        answer = json.loads(done.stdout.replace("'", '"').replace("None", "null"))
        assert without_trace(answer) == shown_json(result, "gesture")


def test_json_is_copied(visit: Visit, file: Path) -> None:
    """To the clipboard, as it is shown."""
    choose(visit.page, file)
    result = answered(visit.page)
    part = result.locator("[data-task=gesture]")
    part.locator("summary").click()
    part.get_by_role("button", name="Copy JSON").click()
    expect(part.get_by_role("button", name="Copied")).to_be_visible()
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert copied == example(result, "gesture", "JSON")


def test_an_error_says_what_to_do(chromium: Browser, address: str, tmp_path: Path) -> None:
    """Once for both tasks; the page goes on working. The browser itself logs the status 415."""
    (tmp_path / "notes.png").write_text("no picture")
    with browser.visiting(chromium, address) as visit:
        choose(visit.page, tmp_path / "notes.png")
        result = answered(visit.page)
        assert result.locator(".label.fault").all_text_contents() == [
            "This image type is not supported"
        ]
        assert "JPEG" in (result.locator(".outcome").text_content() or "")
        assert all("415" in error for error in visit.errors)
        hand().save(tmp_path / "hand.png")
        choose(visit.page, tmp_path / "hand.png")
        answered(visit.page, 2)


def test_the_page_works_by_keyboard_alone(visit: Visit, file: Path) -> None:
    """Tab and Enter choose a picture and say that its answer is correct."""
    page = visit.page
    with page.expect_file_chooser() as chooser:
        _tab_to(page, "file")
        page.keyboard.press("Enter")
    chooser.value.set_files(file)
    answered(page)
    button = page.locator("[data-task=gesture] .yes")
    button.wait_for()
    while not button.evaluate("(element) => element === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    status = page.locator("[data-task=gesture] form [role=status]")
    expect(status).to_have_text("Thank you, stored: like.")


def _tab_to(page: Page, element: str) -> None:
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == element:
            return
    raise AssertionError(f"Tab does not reach {element}")


def test_a_wrong_answer_gets_its_true_label(visit: Visit, file: Path) -> None:
    """From the labels of the task."""
    choose(visit.page, file)
    part = answered(visit.page).locator("[data-task=gesture]")
    part.locator("select").select_option(label="dislike")
    part.get_by_role("button", name="Send").click()
    expect(part.locator("form [role=status]")).to_have_text("Thank you, stored: dislike.")


def test_a_screen_reader_hears_each_answer(visit: Visit, file: Path) -> None:
    """As one sentence; every control has a name."""
    choose(visit.page, file)
    answered(visit.page)
    said = visit.page.get_by_role("status").first
    expect(said).to_contain_text("gesture: like,")
    nameless = visit.page.locator("button:visible, a:visible, select:visible").evaluate_all(
        "(all) => all.filter((each) => !(each.textContent || each.ariaLabel).trim()).length"
    )
    assert nameless == 0
    assert visit.page.get_by_role("img", name="my hand.png with").count() == 1
    call = "import('/static/answers.js').then((each) => each.outcomeText('unsure', %r))"
    text = visit.page.evaluate(call % "unlike_training")
    assert text == "Unlike all that the model learned from. This is the model's best guess."


@pytest.mark.parametrize("dark", [False, True])
def test_every_view_fits_a_phone(chromium: Browser, address: str, file: Path, dark: bool) -> None:
    """390 pixels: nothing is wider, in light and dark."""
    with browser.visiting(chromium, address, 390, dark) as visit:
        choose(visit.page, file)
        answered(visit.page).locator("[data-task=gesture] summary").click()
        for view in ("/", "/#camera", "/status"):
            if view != "/":
                visit.page.goto(f"{address}{view}")
                visit.page.wait_for_load_state("networkidle")
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390, view
        assert visit.errors + visit.foreign == []


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
    """At most 480 pixels, whatever the camera has; none is sent before the last is answered."""
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


def test_the_status_of_every_model_is_shown(visit: Visit, address: str, file: Path) -> None:
    """Version, answers of the last hour by label, latency."""
    choose(visit.page, file)
    answered(visit.page)
    visit.page.goto(f"{address}/status")
    card = visit.page.locator("#tasks .card").filter(has_text="gesture")
    for text in ("version 1", "like", "Latency p95", "ms", "Live accuracy", "Drift"):
        expect(card).to_contain_text(text)
