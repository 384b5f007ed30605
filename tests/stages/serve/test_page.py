"""The web page and Swagger UI: they work without a network."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from waiting import PATIENCE

from mien.stages.serve.feedback import FeedbackRequest
from mien.stages.serve.pages import STATIC

ROOT = Path(__file__).parents[3]
OWN = sorted(path.name for path in STATIC.iterdir() if path.is_file())
ADDRESS = re.compile(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*")
NAMESPACE = "http://www.w3.org/2000/svg"
PAGES = [name for name in OWN if name.endswith(".html")]
SCRIPTS = [name for name in OWN if name.endswith(".js")]
Draw = Callable[..., bytes]


def read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OWN)
def test_our_own_files_name_no_address_elsewhere(name: str) -> None:
    """No font, script or picture of another server; the name of SVG is no address."""
    found = ADDRESS.findall((STATIC / name).read_text(encoding="utf-8").replace(NAMESPACE, ""))
    assert found == []


@pytest.mark.parametrize("page", ["/", "/docs", "/status"])
def test_a_page_loads_only_what_this_server_has(client: TestClient, page: str) -> None:
    """Each file that it names is there, with a fitting content type, and nothing lies elsewhere."""
    response = client.get(page)
    named = re.findall(r'(?:src|href)="([^"#]+)[^"]*"', response.text)
    assert len(named) >= 3
    for address in named:
        assert not address.startswith(("http:", "https:", "//"))
        assert client.get(f"/{address}").status_code == 200


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_imports_only_what_lies_beside_it(name: str) -> None:
    """By its relative name, which holds behind a proxy too, and only names that are exported."""
    imports = re.findall(r'^import (?:\{(.+)\} from )?"(.+)";', read(name), re.MULTILINE)
    assert len(imports) == len(re.findall(r"^import\b|\bimport *\(", read(name), re.MULTILINE))
    for taken, address in imports:
        assert address.startswith("./")
        pattern = r"^export (?:async )?(?:function|const|class) (\w+)"
        exported = re.findall(pattern, read(address[2:]), re.MULTILINE)
        assert set(re.findall(r"\w+", taken)) <= set(exported)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_script_in_its_text(name: str) -> None:
    """Browsers refuse one under the policy that is sent, and the page would stand still."""
    for tag in re.findall(r"<[a-z][^>]*>", read(name)):
        assert not re.search(r"\son\w+\s*=|javascript:", tag)
        assert "src=" in tag or not tag.startswith("<script")


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_the_server_says_is_never_taken_for_html(name: str) -> None:
    """Nor is it run: it is put in place as text."""
    words = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|setHTML"
    assert re.findall(words + r"|createContextualFragment|srcdoc|\bFunction\(", read(name)) == []


@pytest.mark.parametrize("page", ["/", "/docs", "/status"])
def test_a_browser_is_told_to_load_nothing_from_elsewhere(client: TestClient, page: str) -> None:
    """So that a mistake shows at once, with a network as without."""
    policy = client.get(page).headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "http" not in policy
    assert "unsafe-eval" not in policy


def test_swagger_ui_asks_no_one_to_check_the_description() -> None:
    """By default it sends the description's address to a public service."""
    assert "validatorUrl: null" in (STATIC / "docs.js").read_text()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.js", "text/javascript"),
        ("feedback.js", "text/javascript"),
        ("page.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
        ("swagger-ui-bundle.js", "text/javascript"),
    ],
)
def test_files_have_their_types(client: TestClient, name: str, kind: str) -> None:
    """With `nosniff`, a browser takes a script only under its own type."""
    response = client.get(f"/static/{name}")
    assert response.headers["content-type"].split(";")[0] == kind
    assert response.headers["x-content-type-options"] == "nosniff"


def test_swagger_ui_is_the_one_that_was_compared_with_its_publisher(client: TestClient) -> None:
    """What the installed package brings has the checksums of the decision record."""
    record = (ROOT / "docs/source/decisions/0003-offline-swagger-ui.md").read_text()
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        served = client.get(f"/static/{name}").content
        assert f"{sha256(served).hexdigest()}  {name}" in record
    assert "fastapi_swagger" not in sys.modules, "its files are read, its code is not run"


def test_the_repository_holds_only_what_the_project_wrote() -> None:
    """No script or style sheet of others lies among the static files."""
    assert sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file()) < 100_000


def test_the_page_knows_no_task_by_name() -> None:
    """A third task shows up in it without an edit."""
    text = "".join((STATIC / name).read_text() for name in OWN).lower()
    for word in ("gesture", "emotion"):
        assert word not in text


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("page.js", "index"),
        ("picture.js", "index"),
        ("camera.js", "index"),
        ("status.js", "status"),
    ],
)
def test_every_element_that_a_script_takes_is_in_the_page(name: str, page: str) -> None:
    """A renamed id would stop the whole page."""
    lists = re.findall(r"=\s*\[([^\]]+)\]\.map\(at\)", read(name))
    taken = [one for found in lists for one in re.findall(r'"(\w+)"', found)]
    taken += re.findall(r'copyOf\("(\w+)"\)', read(name))
    assert len(taken) >= 3
    ids = re.findall(r'\bid="([^"]+)"', read(f"{page}.html"))
    assert set(taken) <= set(ids)
    assert len(ids) == len(set(ids))


def test_whether_an_answer_is_right_can_be_told_without_seeing_the_page() -> None:
    """A screen reader hears the question with each control, a name for each, and the outcome."""
    found = re.search(
        r'<form class="feedback"[^>]*\shidden>(.*?)</form>', read("index.html"), re.DOTALL
    )
    assert found, "the question waits, hidden, for an answer"
    form = found[1]
    assert re.search(r"<fieldset[^>]*>\s*<legend>Is this correct\?</legend>", form)
    assert re.search(r"<label[^>]*>Wrong, it is <select required></select></label>", form)
    assert len(re.findall(r"<(?:select|input)\b", form)) == 1
    assert re.findall(r"<button[^>]*>(.*?)</button>", form) == ["Correct", "Send"]
    assert re.search(r'<p [^>]*\brole="status"', form)


def test_the_page_sends_feedback_in_the_form_that_is_accepted() -> None:
    """Exactly the keys of feedback, as JSON, to its address."""
    text = read("feedback.js")
    sent = re.search(r"JSON\.stringify\(\{ (.+) \}\)", text)
    assert sent
    assert {part.split(":")[0] for part in sent[1].split(", ")} == {*FeedbackRequest.model_fields}
    assert 'request("feedback", () => ({' in text
    assert '"Content-Type": "application/json"' in text


def test_every_label_that_the_page_offers_is_taken(client: TestClient, picture: Draw) -> None:
    """It offers what /health lists, and null; each takes the place of the one before."""
    for model in client.get("/health").json()["models"]:
        asked = client.post(f"/predict/{model['task']}", files={"file": picture()}).json()
        assert next(iter(asked)) == model["task"], "the page looks the labels up by the first key"
        assert model["labels"]
        for label in [*model["labels"], None]:
            reply = client.post("/feedback", json={"trace_id": asked["trace_id"], "label": label})
            assert (reply.status_code, reply.json()["label"]) == (200, label)


_RUN_DOCS = """
const vm = require("node:vm"), fs = require("node:fs");
const window = {
  location: { href: process.argv[2] },
  addEventListener: (_, start) => start(),
  SwaggerUIBundle: (options) => console.log(options.spec.servers[0].url),
};
const fetch = async (url) => ({ json: async () => ({ openapi: "3.1.0", from: url }) });
vm.runInNewContext(fs.readFileSync(process.argv[1], "utf-8"), { window, fetch, URL });
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
@pytest.mark.parametrize("prefix", ["", "/mien", "/a/b"])
def test_the_api_page_sends_requests_below_its_prefix(prefix: str) -> None:
    """A proxy that strips a prefix is not told to the server; the page sees it in its address."""
    address = f"https://proxy.example{prefix}"
    command = ["node", "-e", _RUN_DOCS, str(STATIC / "docs.js"), f"{address}/docs#/predict"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == address
