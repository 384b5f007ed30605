"""Who may ask, and how often: keys of clients, and a limit for each of them.

Keys are known by their SHA-256 alone; neither a key nor its hash is logged or told.
"""

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic

from mien.config import Settings
from mien.errors import AccessError, ConfigError, RateError

SHORTEST = 16
"""Characters of a key; what is shorter can be guessed."""


@dataclass
class _Bucket:
    """What a client has left to send: filled at the rate, up to a second's worth and one more."""

    left: float
    since: float


@dataclass(frozen=True)
class Access:
    """The keys that open a server, by the name of their client; none for one that is open.

    A client may have several keys, so that a new one is in use before the old one is taken away;
    they share its limit.
    """

    keys: tuple[tuple[str, bytes], ...] = ()
    rate: float = 0.0
    """Requests a second for each client; 0 is any number."""
    clock: Callable[[], float] = monotonic
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> "Access":
        """Read the keys that the settings name.

        Raises:
            ConfigError: a line that is no name:key, a short key, a file that cannot be read.
        """
        found = list(_pairs(settings))
        named = settings.api_keys.get_secret_value() or settings.api_keys_file is not None
        if named and not found:
            raise ConfigError(
                "MIEN_API_KEYS or MIEN_API_KEYS_FILE is set and holds no key; without one, "
                "everybody could ask. Write name:key into it, or leave it unset."
            )
        if settings.rate and not found:
            raise ConfigError(
                "MIEN_RATE limits what one key may send, and there is no key. Set MIEN_API_KEYS."
            )
        return cls(tuple(found), settings.rate)

    def check(self, authorization: str | None, key: str | None) -> None:
        """Let a request in by the values of its headers `Authorization` and `X-API-Key`.

        Raises:
            AccessError: there are keys, and the request has none of them.
            RateError: the client of the key has sent more than it may.
        """
        if not self.keys:
            return
        client = self._client(_sent(authorization, key))
        if client is None:
            raise AccessError
        if self.rate:
            self._take(client)

    def _client(self, sent: str) -> str | None:
        """Whose key it is. Every key is compared, in the same time however much of it is right."""
        digest, found = _digest(sent), None
        for name, known in self.keys:
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def _take(self, client: str) -> None:
        now = self.clock()
        bucket = self._buckets.setdefault(client, _Bucket(self.rate + 1, now))
        bucket.left = min(self.rate + 1, bucket.left + (now - bucket.since) * self.rate)
        bucket.since = now
        if bucket.left < 1:
            raise RateError
        bucket.left -= 1


def _sent(authorization: str | None, key: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else key or ""


def _pairs(settings: Settings) -> Iterator[tuple[str, bytes]]:
    yield from _read(settings.api_keys.get_secret_value().split(","), "MIEN_API_KEYS")
    if settings.api_keys_file is not None:
        try:
            lines = settings.api_keys_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"MIEN_API_KEYS_FILE cannot be read: {error}") from None
        yield from _read(lines, "MIEN_API_KEYS_FILE")


def _read(entries: list[str], where: str) -> Iterator[tuple[str, bytes]]:
    for number, entry in enumerate(entries, 1):
        name, sign, key = (part.strip() for part in entry.partition(":"))
        if not entry.strip():
            continue
        if not (name and sign) or len(key) < SHORTEST or not key.isascii():
            # The entry itself is not shown: it may be a key that lacks its name.
            raise ConfigError(
                f"{where}: entry {number} is not of the form name:key with at least {SHORTEST} "
                "ASCII characters in the key. `openssl rand -hex 16` makes one."
            )
        yield name, _digest(key)


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()
