"""Questions over HTTP to the parts of a running stack, without any proxy in between.

Knows the form of Prometheus' HTTP API; knows nothing of what is asked.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from mien.errors import CheckError

SECONDS = 30.0
"""How long one answer may take."""
_EDGE = "mien-7d1f0c"
FORM_HEAD = (
    f"--{_EDGE}\r\nContent-Disposition: form-data; "
    'name="file"; filename="picture.png"\r\nContent-Type: image/png\r\n\r\n'
).encode()
FORM_TAIL = f"\r\n--{_EDGE}--\r\n".encode()
_OPENER = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Site:
    """The parts that answer at an address such as http://127.0.0.1:8000."""

    address: str
    login: tuple[str, str] | None = None

    def get(self, path: str, **parameters: str) -> "Reply":
        """Ask for a path; whatever the status, there is a reply.

        Raises:
            CheckError: nothing answers there.
        """
        return self._send(f"{path}?{urlencode(parameters)}" if parameters else path)

    def post(
        self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> "Reply":
        """Send a body.

        Raises:
            CheckError: nothing answers there.
        """
        return self._send(path, body, {"Content-Type": content_type, **(headers or {})})

    def _send(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> "Reply":
        url = f"{self.address.rstrip('/')}{path}"
        request = Request(url, body, dict(headers or {}))
        if self.login:
            word = b64encode(":".join(self.login).encode()).decode()
            request.add_header("Authorization", f"Basic {word}")
        try:
            with _OPENER.open(request, timeout=SECONDS) as answer:
                return Reply(url, answer.status, answer.read())
        except HTTPError as refusal:
            return Reply(url, refusal.code, refusal.read())
        except (OSError, HTTPException, ValueError) as error:
            raise CheckError(f"Nothing answers at {url} ({error}).") from None


def form(picture: bytes) -> tuple[bytes, str]:
    """A picture as a browser sends it in the field `file`, and the content type of that."""
    return FORM_HEAD + picture + FORM_TAIL, f"multipart/form-data; boundary={_EDGE}"


@dataclass(frozen=True)
class Reply:
    """What was answered."""

    url: str
    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON values.

        Raises:
            CheckError: it is none.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise CheckError(f"{self.url} answered {self.status} without JSON.") from None


@dataclass(frozen=True)
class Prometheus:
    """The HTTP API of a Prometheus."""

    site: Site

    @classmethod
    def at(cls, address: str) -> "Prometheus":
        return cls(Site(address))

    def ask(self, what: str, parameters: Mapping[str, str] | None = None) -> Any:
        """Ask for a path below /api/v1; gives the field `data` of the answer.

        Raises:
            CheckError: nothing answers, or the question is refused.
        """
        reply = self.site.get(f"/api/v1/{what}", **(parameters or {}))
        document = reply.json()
        if document.get("status") != "success":
            raise CheckError(f"Prometheus refuses {what}: {document.get('error', reply.status)}")
        return document["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of every sample of an instant vector, now."""
        found = self.ask("query", {"query": expression})["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def formatted(self, expression: str) -> str:
        """The expression as Prometheus writes it, so that two can be compared."""
        return str(self.ask("format_query", {"query": expression}))

    def firing(self) -> set[str]:
        """Names of the alerts that are firing now."""
        return self._alerts("firing")

    def pending(self) -> set[str]:
        """Names of the alerts that will fire if nothing changes."""
        return self._alerts("pending")

    def _alerts(self, state: str) -> set[str]:
        alerts = self.ask("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == state}


def seconds(duration: str) -> float:
    """Seconds of a duration such as 1m or 1h30m, as rules have them."""
    parts = re.findall(r"(\d+)(ms|[smhd])", duration)
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
