"""A team's registry: the registered models and artifacts of an MLflow server, over plain HTTP.

Needs no MLflow. The server's address never holds a password, so that it may stand in every message;
passwords go into a header alone, and to no other address.
"""

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from mien.config import Settings
from mien.errors import ConfigError, RegistryError
from mien.storage.files import write_json
from mien.storage.registry import DIGEST, HISTORY, PENDING, UNTRUSTED, champions
from mien.storage.workspace import Workspace

T = TypeVar("T")
TIMEOUT_S = 10.0
"""Of a question about a model, and of each wait for more bytes of a file."""
_MAX_ANSWER = 10_000_000
"""Bytes of an answer about a model: its tags hold the history of its aliases."""
_CHUNK = 1 << 16
_REST, _ARTIFACTS = "api/2.0/mlflow", "api/2.0/mlflow-artifacts/artifacts"
_NO_SUCH = "RESOURCE_DOES_NOT_EXIST"


class _NoRedirects(HTTPRedirectHandler):
    """urllib would send the password to any address that a server names."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = build_opener(_NoRedirects)


@dataclass(frozen=True)
class ServedVersion:
    """A version of a registered model, as a server has it."""

    number: int
    digests: frozenset[str]
    """What its bundle may have as its digest."""
    untrusted: str
    """Why it is not trusted; "" if it is."""
    files: str
    """Path of its bundle's files in the server's artifact store."""


@dataclass(frozen=True)
class ServedModel:
    """A registered model, as a server has it."""

    aliases: Mapping[str, int]
    champions: frozenset[int]
    """Every version that was made champion through mien."""


@dataclass(frozen=True)
class RegistryServer:
    """An MLflow server. Errors are `RegistryError`: it cannot be reached, or refuses."""

    address: str
    authorization: str = field(default="", repr=False)
    """The header that logs in."""

    @classmethod
    def at(cls, address: str, settings: Settings, name: str) -> "RegistryServer":
        """The server at an address that the option or variable `name` has.

        Raises:
            ConfigError: it is no address of a server, or holds a password.
        """
        return cls(_checked(address, name), _authorization(settings))

    def ping(self) -> None:
        """Raise RegistryError where no server answers, or refuses the login."""
        self.model("mien")

    def model(self, name: str) -> ServedModel | None:
        """A registered model; None where the server has none of that name."""
        return self._ask("registered-models/get", _model, name=name)

    def version(self, name: str, number: int) -> ServedVersion:
        """A version of a registered model."""
        answer = self._ask("model-versions/get", _version, name=name, version=str(number))
        if answer is None:
            raise RegistryError(f"{self.address}: {name} has no version {number}.")
        source, tags = answer
        digests = frozenset(filter(None, (tags.get(DIGEST), tags.get(PENDING))))
        if not digests:
            raise RegistryError(
                f"{self.address}: version {number} of {name}: expected the digest of its bundle, "
                f"found none: it was registered by other code than mien. "
                "`mien promote TASK VERSION` makes another version champion."
            )
        files = self._files(source, f"version {number} of {name}")
        return ServedVersion(number, digests, tags.get(UNTRUSTED, ""), files)

    def read(self, path: str, limit: int, end: float) -> Iterator[bytes]:
        """The bytes of an artifact, at most `limit` and one more, until the moment `end` of
        `time.monotonic`."""
        with self._open(f"{_ARTIFACTS}/{quote(path)}") as response:
            left = limit + 1
            while left and (chunk := response.read1(min(left, _CHUNK))):
                if time.monotonic() > end:
                    raise TimeoutError("it took too long")
                left -= len(chunk)
                yield chunk

    def _files(self, source: str, version: str) -> str:
        parts = urlsplit(source)
        if parts.scheme != "mlflow-artifacts":
            raise RegistryError(
                f"{self.address}: {version}: expected files that the server hands out, found "
                f"a store of its own ({parts.scheme or 'a path'}). Start the server with "
                "`--artifacts-destination` instead of `--default-artifact-root`, and train again."
            )
        return f"{parts.path.lstrip('/').removeprefix(f'{_ARTIFACTS}/')}/bundle"

    def _ask(self, question: str, parse: Callable[[Any], T], **parameters: str) -> T | None:
        """What `parse` makes of the answer's JSON values; None where the server has no such
        thing."""
        end, content = time.monotonic() + TIMEOUT_S, bytearray()
        try:
            with self._open(f"{_REST}/{question}?{urlencode(parameters)}") as response:
                while chunk := response.read1(_CHUNK):
                    content += chunk
                    if len(content) > _MAX_ANSWER or time.monotonic() > end:
                        raise RegistryError(
                            f"{self.address}: expected an answer of at most {_MAX_ANSWER} bytes "
                            f"within {TIMEOUT_S:g} s, found a longer one."
                        )
            return parse(json.loads(content))
        except _NoSuchThingError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise RegistryError(
                f"{self.address}: expected an MLflow server, found something that answers in "
                "another form. Correct the address."
            ) from None

    @contextmanager
    def _open(self, path: str) -> Iterator[HTTPResponse]:
        request = Request(f"{self.address}/{path}", headers={"Accept": "*/*"})
        if self.authorization:
            request.add_unredirected_header("Authorization", self.authorization)
        try:
            with _OPENER.open(request, timeout=TIMEOUT_S) as response:
                yield response
        except HTTPError as refusal:
            with refusal:
                raise self._refused(refusal) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise RegistryError(
                f"{self.address} cannot be reached: {reason or type(error).__name__}. Start the "
                "server, or correct the address."
            ) from None

    def _refused(self, refusal: HTTPError) -> RegistryError:
        code, text = _error_code(refusal)
        if refusal.code == 403 and text.startswith("Invalid Host header"):
            return RegistryError(
                f"{self.address}: expected a server that answers to this name, found one that "
                "refuses it. Start it with `--allowed-hosts` and this host and port."
            )
        if refusal.code == 404 and code == _NO_SUCH:
            return _NoSuchThingError(f"{self.address} has no such model, version or file.")
        if refusal.code in (401, 403):
            return RegistryError(
                f"{self.address}: expected a login that may read, found one that is refused "
                f"(status {refusal.code}). Set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
            )
        if 300 <= refusal.code < 400:
            target = urlsplit(refusal.headers.get("Location", ""))
            elsewhere = f" to {target.scheme}://{target.hostname}" if target.hostname else ""
            return RegistryError(
                f"{self.address}: expected an MLflow server, found a redirect{elsewhere}. Name the "
                "address that it leads to."
            )
        return RegistryError(
            f"{self.address}: expected status 200, found {refusal.code} {code}. The server's log "
            "has the reason."
        )


class _NoSuchThingError(RegistryError):
    """The server has no such model or version."""


def from_environment(settings: Settings) -> RegistryServer | None:
    """The server of `MLFLOW_TRACKING_URI`; None where it is not set.

    Raises:
        ConfigError: it is not the address of a server.
    """
    address = settings.tracking_uri
    return RegistryServer.at(address, settings, "MLFLOW_TRACKING_URI") if address else None


def _checked(address: str, name: str) -> str:
    """The address without a slash at its end; messages show nothing that may be a password."""
    try:
        parts = urlsplit(address.strip())
        port = parts.port
    except ValueError:
        raise ConfigError(f"{name}: expected http://HOST:PORT, found no address.") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigError(
            f"{name}: expected an address without a user, a password and parameters, found one "
            "with them, which would stand in logs. Set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError(
            f"{name}: expected the address of an MLflow server, http://HOST:PORT, found "
            f"{parts.scheme or 'none'!r}. Correct it, or leave it out: then the registry is "
            "mlflow.db in the workspace."
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _authorization(settings: Settings) -> str:
    user, password = settings.tracking_username, settings.tracking_password.get_secret_value()
    token = settings.tracking_token.get_secret_value().strip()
    if user and password:  # before the token, as MLflow's own client does
        return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
    if token and not re.fullmatch(r"[!-~]+", token):
        raise ConfigError("MLFLOW_TRACKING_TOKEN: expected printable ASCII without blanks.")
    return f"Bearer {token}" if token else ""


def _model(answer: Any) -> ServedModel:
    model = answer["registered_model"]
    aliases = {str(each["alias"]): int(each["version"]) for each in model.get("aliases", [])}
    history = [pair for pair in _tags(model).items() if pair[0].startswith(f"{HISTORY}.")]
    return ServedModel(aliases, frozenset(champions(history)))


def _version(answer: Any) -> tuple[str, dict[str, str]]:
    """Where the artifacts of a version are, and its tags."""
    return str(answer["model_version"]["source"]), _tags(answer["model_version"])


def _tags(document: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["key"]): str(tag.get("value", "")) for tag in document.get("tags", [])}


def _error_code(refusal: HTTPError) -> tuple[str, str]:
    """MLflow's own word for an error, "" where another server answered; and the answer's text."""
    text = ""
    try:
        text = refusal.read(_CHUNK).decode(errors="replace")
        code = json.loads(text)["error_code"]
    except (OSError, HTTPException, ValueError, KeyError, TypeError, RecursionError):
        return "", text
    return (code if isinstance(code, str) and re.fullmatch(r"[A-Z_]{1,60}", code) else ""), text


@dataclass(frozen=True)
class Binding:
    """The server that a workspace registers at, and the workspace's name there."""

    server: str
    workspace: str


def bind(home: Path, address: str) -> Binding:
    """Note in a workspace which server its versions are of: two count from 1, each.

    Raises:
        RegistryError: they are of another server, or of the workspace's own database.
    """
    if Workspace(home).database.is_file():
        raise RegistryError(
            f"{home}: expected a workspace without a registry of its own, found mlflow.db, and "
            f"{address} is to be its registry. Name another workspace with --home or MIEN_HOME, "
            "or leave the address out."
        )
    binding = read_binding(home)
    if binding is None:
        write_json(_binding(home), {"server": address, "workspace": token_hex(8)})
        return bind(home, address)
    if binding.server != address:
        raise RegistryError(
            f"{home}: expected the registry {binding.server}, found {address}. Name another "
            f"workspace with --home or MIEN_HOME; or, if it is the same server, correct "
            f"{_binding(home)}."
        )
    return binding


def read_binding(home: Path) -> Binding | None:
    """What `bind` noted; None for a workspace with a registry of its own.

    Raises:
        RegistryError: the note cannot be read.
    """
    path = _binding(home)
    if not path.is_file():
        return None
    try:
        return Binding(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise RegistryError(
            f"{path}: expected the address of the registry, found something else. Bring the file "
            "back, or name another workspace with --home or MIEN_HOME."
        ) from None


def _binding(home: Path) -> Path:
    return home / "models" / "registry.json"
