"""Pictures and the status in a real Chromium, without an error and without a request to any other
origin."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import browser
import pytest
from browser import Visit
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from waiting import PATIENCE

from .conftest import COUNT_PIXELS, HAND_COLOUR, hand

pytestmark = pytest.mark.xdist_group("browser")
TRANSFER = """([name, type, content]) => {
  const data = new DataTransfer();
  const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
  data.items.add(new File([bytes], name, { type }));
  return data;
}"""


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


def test_the_status_of_every_model_is_shown(visit: Visit, address: str, file: Path) -> None:
    """Version, answers of the last hour by label, latency."""
    choose(visit.page, file)
    answered(visit.page)
    visit.page.goto(f"{address}/status")
    card = visit.page.locator("#tasks .card").filter(has_text="gesture")
    for text in ("version 1", "like", "Latency p95", "ms", "Live accuracy", "Drift"):
        expect(card).to_contain_text(text)
