"""Questions over HTTP to the parts of a running stack, without any proxy in between.

Knows the form of Prometheus' HTTP API; knows nothing of what is asked.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mien.errors import CheckError

SECONDS = 30.0
"""How long one answer may take."""


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
        return self._send("GET", path, params=parameters)

    def post(
        self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> "Reply":
        """Send a body.

        Raises:
            CheckError: nothing answers there.
        """
        return self._send(
            "POST", path, data=body, headers={"Content-Type": content_type, **(headers or {})}
        )

    def upload(self, path: str, picture: bytes) -> "Reply":
        """Send a picture as the form field `file`.

        Raises:
            CheckError: nothing answers there.
        """
        return self._send("POST", path, files={"file": ("picture.png", picture, "image/png")})

    def _send(self, method: str, path: str, **more: Any) -> "Reply":
        import requests

        url = f"{self.address.rstrip('/')}{path}"
        try:
            with requests.Session() as session:
                session.trust_env = False  # a stack on this machine; no proxy stands between
                session.auth = self.login
                answer = session.request(method, url, timeout=SECONDS, **more)
        except requests.RequestException as error:
            raise CheckError(f"Nothing answers at {url} ({type(error).__name__}).") from None
        return Reply(url, answer.status_code, answer.content)


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

    def firing(self) -> set[str]:
        """Names of the alerts that are firing now."""
        return self._alerts("firing")

    def pending(self) -> set[str]:
        """Names of the alerts that will fire if nothing changes."""
        return self._alerts("pending")

    def _alerts(self, state: str) -> set[str]:
        alerts = self.ask("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == state}
