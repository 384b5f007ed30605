"""The web page and Swagger UI: they work without a network."""

import re
from hashlib import sha256
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from mien.stages.serve.routes import STATIC

ROOT = Path(__file__).parents[3]
OWN = sorted(path.name for path in STATIC.iterdir() if path.is_file())
ADDRESS = re.compile(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*")
NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.mark.parametrize("name", OWN)
def test_our_own_files_name_no_address_elsewhere(name: str) -> None:
    """No font, script or picture of another server; the name of SVG is no address."""
    found = ADDRESS.findall((STATIC / name).read_text(encoding="utf-8").replace(NAMESPACE, ""))
    assert found == []


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_a_page_loads_only_what_this_server_has(client: TestClient, page: str) -> None:
    """Each file that it names is there, with a fitting content type, and nothing lies elsewhere."""
    response = client.get(page)
    named = re.findall(r'(?:src|href)="([^"#]+)"', response.text)
    assert len(named) >= 3
    for address in named:
        assert not address.startswith(("http:", "https:", "//"))
        assert client.get(f"/{address}").status_code == 200


@pytest.mark.parametrize("page", ["/", "/docs"])
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
        ("page.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
        ("swagger-ui/swagger-ui-bundle.js", "text/javascript"),
    ],
)
def test_files_have_their_types(client: TestClient, name: str, kind: str) -> None:
    """With `nosniff`, a browser takes a script only under its own type."""
    response = client.get(f"/static/{name}")
    assert response.headers["content-type"].split(";")[0] == kind
    assert response.headers["x-content-type-options"] == "nosniff"


def test_swagger_ui_is_the_one_that_was_recorded() -> None:
    """The decision record has the checksum of each file as it was published, with its licence."""
    record = (ROOT / "docs/source/decisions/0003-offline-swagger-ui.md").read_text()
    folder = STATIC / "swagger-ui"
    assert {"LICENSE", "NOTICE"} <= {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        assert f"{sha256(path.read_bytes()).hexdigest()}  {path.name}" in record


def test_the_page_knows_no_task_by_name() -> None:
    """A third task shows up in it without an edit."""
    text = "".join((STATIC / name).read_text() for name in OWN).lower()
    for word in ("gesture", "emotion"):
        assert word not in text
