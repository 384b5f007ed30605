"""The review page: behind its key, for this computer only, and by the keyboard in a browser."""

import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import browser
import pytest
import requests
from playwright.sync_api import expect
from waiting import PATIENCE

from mien.errors import ConfigError
from mien.observability.review.sample import ReviewSample
from mien.observability.review.store import ReviewStore
from mien.stages.review import server
from mien.stages.review.session import ReviewSession

Keep = Callable[..., ReviewSample]
expect.set_options(timeout=1000 * PATIENCE)


@pytest.fixture
def address(store: ReviewStore) -> Iterator[str]:
    """A running review of ann, with its key."""
    with server.listening(ReviewSession(store, "ann"), 0) as (listener, address):
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield address
        listener.shutdown()
        thread.join()


def get(address: str, path: str, **headers: str) -> requests.Response:
    base, _, key = address.partition("#")
    sent = {"Authorization": f"Bearer {key}", **headers}
    return requests.get(base + path, headers=sent, timeout=PATIENCE)


def post(address: str, body: object, **headers: str) -> requests.Response:
    base, _, key = address.partition("#")
    sent = {"Authorization": f"Bearer {key}", **headers}
    return requests.post(f"{base}label.json", json=body, headers=sent, timeout=PATIENCE)


@pytest.mark.parametrize("path", ["queue.json", "sample.json", "agreement.json", "other"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer wrong"},
        {"Host": "rebound.test"},
        {"Origin": "http://elsewhere.test"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_nothing_is_sent_without_the_key_or_to_other_sites(
    address: str, keep: Keep, path: str, headers: dict[str, str]
) -> None:
    """401 with what to do, and nothing of a sample."""
    sample = keep()
    response = get(address, path, **headers)
    assert response.status_code == 401
    assert "Open the address that `mien review` printed" in response.json()["detail"]
    assert sample.trace_id not in response.text


def test_a_label_needs_the_key_too(address: str, keep: Keep, store: ReviewStore) -> None:
    """And is stored with it; what is no label is refused with a reason."""
    sample = keep()
    body = {"task": "gesture", "trace_id": sample.trace_id, "verdict": "label", "label": "fist"}
    assert post(address, body, Authorization="Bearer wrong").status_code == 401
    assert store.labels("gesture").latest() == {}
    assert post(address, {**body, "label": "other"}).status_code == 400
    assert post(address, {**body, "more": 1}).status_code == 400
    assert post(address, {**body, "trace_id": "../../etc/passwd"}).status_code == 400
    assert post(address, {**body, "label": "x" * 5000}).status_code == 400
    assert post(address, body).json()["reviewer"] == "ann"
    assert store.labels("gesture").latest()[sample.trace_id, "ann"].label == "fist"


@pytest.mark.parametrize("length", ["-1", "many", "4097"])
def test_a_body_of_another_length_is_refused_at_once(address: str, length: str) -> None:
    """It is not waited for."""
    base, _, key = address.partition("#")
    connection = HTTPConnection(urlsplit(base).netloc, timeout=PATIENCE)
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/label.json", headers={**sent, "Content-Length": length})
    response = connection.getresponse()
    assert response.status == 400
    assert "expected JSON of at most 4096 bytes" in response.read().decode()
    connection.close()


def test_every_answer_has_the_headers_of_a_closed_page(address: str, keep: Keep) -> None:
    """No script of others, no frame, no cache; what is not there is 404."""
    keep()
    for path in ("", "static/review.js", "queue.json", "other"):
        headers = get(address, path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
    assert get(address, "other").status_code == 404
    assert get(address, "static/../session.py").status_code == 404


def test_it_listens_on_this_computer_only(address: str, store: ReviewStore) -> None:
    """A port that is taken is an error with what to do."""
    assert urlsplit(address).hostname == "127.0.0.1"
    port = urlsplit(address).port
    assert port is not None
    with (
        pytest.raises(ConfigError, match="Name another one"),
        server.listening(ReviewSession(store, "bob"), port),
    ):
        pass


@pytest.mark.xdist_group("browser")
def test_a_person_reviews_by_keyboard(
    address: str, keep: Keep, store: ReviewStore, tmp_path: Path
) -> None:
    """One key for each label, Enter for the suggestion, undo; nothing goes elsewhere or fails."""
    browser.require()
    first, second, third = (keep() for _ in range(3))
    face = keep("emotion")
    with browser.running() as chromium:
        for dark in (False, True):
            with browser.visiting(chromium, address, 390, dark) as visit:
                page = visit.page
                page.get_by_role("link", name="gesture").click()
                expect(page.locator("#progress")).to_have_text("ann: 0 reviewed, 3 to go")
                expect(page.locator(".suggested")).to_have_text("1like")
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= 390
                page.screenshot(path=tmp_path / f"dark_{dark}.png", full_page=True)
                assert "#" not in page.url, "the key is not left in the address"
        with browser.visiting(chromium, address) as visit:
            page, progress = visit.page, visit.page.locator("#progress")
            expect(progress).to_have_text("ann: 0 reviewed, 1 to go")  # of emotion, the first task
            page.keyboard.press("n")
            expect(page.locator("#done")).to_be_visible()
            page.get_by_role("link", name="gesture").click()
            expect(progress).to_have_text("ann: 0 reviewed, 3 to go")  # no key counts before
            for key, said in (("2", 1), ("Enter", 2), ("u", 1), ("s", 2), ("3", 3)):
                page.keyboard.press(key)
                expect(progress).to_have_text(f"ann: {said} reviewed, {3 - said} to go")
            expect(page.get_by_text("All reviewers agree on 2 samples")).to_be_visible()
            assert visit.errors == []
            assert visit.foreign == []
    latest = store.labels("gesture").latest()
    stored = [latest[each.trace_id, "ann"] for each in (first, second, third)]
    assert sorted((each.verdict, each.label or "") for each in stored) == [
        ("label", "fist"),
        ("label", "palm"),
        ("skip", ""),
    ]
    assert store.labels("emotion").latest()[face.trace_id, "ann"].verdict == "nothing"
