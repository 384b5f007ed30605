"""What is sent to a revision: a token where the service is private, and the service's API key."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mien.stages.deploy import rollout
from mien.stages.deploy.candidate import Revision
from mien.stages.deploy.gcloud import GcloudError
from mien.stages.deploy.service import Service

from .cloud import REGION, SERVICE, Cloud, image

TOKEN = "X-Serverless-Authorization"


@contextmanager
def private_service() -> Iterator[tuple[str, list[str]]]:
    """Google's front end of a service that asks for a token; yields the API keys it was sent."""
    keys: list[str] = []

    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(self.headers.get("X-API-Key", ""))
            self.send_response(200 if self.headers.get(TOKEN) == "Bearer token" else 403)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Front) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", keys
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.usefixtures("project")
def test_a_private_service_is_asked_with_the_token_of_the_login() -> None:
    """As before the first deployment is made public. mien's own keys are another header."""
    target = Service(SERVICE, REGION)
    planned = rollout.parse(target, image("good"), "100", Path("f"), "ci:a-key-of-the-service,b:c")
    with private_service() as (address, keys):
        revision = rollout._reach(address, planned.headers)
        assert revision.send("/health").status == 200
        assert set(keys) == {"a-key-of-the-service"}


def test_a_login_without_a_token_is_told_to_make_the_service_public(project: Cloud) -> None:
    """A pipeline that logs in without keys has none."""
    text = "ERROR: (gcloud.auth.print-identity-token) No identity token can be obtained"
    project.write(fail={"auth print-identity-token": text})
    with private_service() as (address, _), pytest.raises(GcloudError, match="--member=allUsers"):
        rollout._reach(address, {})


def test_an_address_without_a_server_is_a_response_too() -> None:
    """A revision that crashed counts as one whose requests fail."""
    response = Revision("http://127.0.0.1:1").send("/health")
    assert response.status == 0
    assert response.json() == {}


def test_an_error_whose_body_breaks_off_is_a_response_too() -> None:
    """A revision that crashes while it answers."""

    class Breaking(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"much less")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Breaking) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        response = Revision(f"http://127.0.0.1:{server.server_port}").send("/health")
        thread.join()
    assert response.status == 0
