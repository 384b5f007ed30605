"""Questions over HTTP to the parts of a running stack, without any proxy in between.

Knows the form of Prometheus' HTTP API; knows nothing of what is asked.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from mien.errors import NoResponseError, StackError

TIMEOUT_S = 30.0
_EDGE = "mien-7d1f0c"
FORM_HEAD = (
    f"--{_EDGE}\r\nContent-Disposition: form-data; "
    'name="file"; filename="picture.png"\r\nContent-Type: image/png\r\n\r\n'
).encode()
FORM_TAIL = f"\r\n--{_EDGE}--\r\n".encode()
_OPENER = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class HttpClient:
    """A client of the server at an address such as http://127.0.0.1:8000."""

    address: str
    login: tuple[str, str] | None = None
    service: str = "the server"
    """Its name in messages."""

    def get(self, path: str, **parameters: str) -> "HttpResponse":
        """Get a path; returns a response for every status.

        Raises:
            NoResponseError: no server responds.
        """
        return self._send(f"{path}?{urlencode(parameters)}" if parameters else path)

    def post(
        self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> "HttpResponse":
        """Send a body.

        Raises:
            NoResponseError: no server responds.
        """
        return self._send(path, body, {"Content-Type": content_type, **(headers or {})})

    def _send(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> "HttpResponse":
        url = f"{self.address.rstrip('/')}{path}"
        request = Request(url, body, dict(headers or {}))
        if self.login:
            credentials = b64encode(":".join(self.login).encode()).decode()
            request.add_header("Authorization", f"Basic {credentials}")
        try:
            with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
                return HttpResponse(url, answer.status, answer.read())
        except HTTPError as refusal:
            return HttpResponse(url, refusal.code, refusal.read())
        except (OSError, HTTPException, ValueError) as error:
            raise NoResponseError(
                f"{url}: expected a response of {self.service}, found {error}. Start it, as with "
                "`docker-compose up`, or give its address."
            ) from None


def form(image: bytes) -> tuple[bytes, str]:
    """An image as a browser sends it in the field `file`, and the content type."""
    return FORM_HEAD + image + FORM_TAIL, f"multipart/form-data; boundary={_EDGE}"


@dataclass(frozen=True)
class HttpResponse:
    """A response."""

    url: str
    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON values.

        Raises:
            StackError: it is not JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise StackError(f"{self.url} returned status {self.status} without JSON.") from None


@dataclass(frozen=True)
class Prometheus:
    """The HTTP API of a Prometheus."""

    client: HttpClient

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """Get a path below /api/v1; returns the field `data` of the response.

        Raises:
            StackError: no server responds, or it refuses the request.
        """
        response = self.client.get(f"/api/v1/{path}", **(parameters or {}))
        document = response.json()
        if document.get("status") != "success":
            raise StackError(f"Prometheus refuses {path}: {document.get('error', response.status)}")
        return document["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of every sample of an instant vector, now."""
        samples = self.get("query", {"query": expression})["result"]
        return [(each["metric"], float(each["value"][1])) for each in samples]

    def formatted(self, expression: str) -> str:
        """The expression in the format of Prometheus, so that two can be compared."""
        return str(self.get("format_query", {"query": expression}))

    def alerts(self, state: Literal["firing", "pending"]) -> set[str]:
        """Names of the alerts that fire now, or will fire if nothing changes."""
        alerts = self.get("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == state}


def seconds(duration: str) -> float:
    """Seconds of a duration such as 1m or 1h30m, as rules have them."""
    parts = re.findall(r"(\d+)(ms|[smhd])", duration)
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
