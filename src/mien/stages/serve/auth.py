"""API keys, and the rate limit of each client.

Keys are stored as their SHA-256 only; neither a key nor its hash is logged or sent.
"""

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic

from mien.config import Settings
from mien.errors import ConfigError, RateLimitError, UnauthorizedError

MIN_KEY_LENGTH = 16
"""Characters of a key; a shorter one can be guessed."""


@dataclass
class _TokenBucket:
    """Requests that a client has left: refilled at the rate, up to one second's worth and one."""

    tokens: float
    updated_at: float


@dataclass(frozen=True)
class ApiKeyAuth:
    """The API keys of a server, by client name; without keys every request is allowed.

    A client may have several keys, which share its rate limit, so that a new key can be in use
    before the old one is removed.
    """

    keys: tuple[tuple[str, bytes], ...] = ()
    rate_limit: float = 0.0
    """Requests per second and client; 0 is no limit."""
    clock: Callable[[], float] = monotonic
    _buckets: dict[str, _TokenBucket] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Settings) -> "ApiKeyAuth":
        """Read the keys that the settings name.

        Raises:
            ConfigError: a line that is not name:key, a short key, or an unreadable file.
        """
        keys = list(_keys(settings))
        configured = settings.api_keys.get_secret_value() or settings.api_keys_file is not None
        if configured and not keys:
            raise ConfigError(
                "MIEN_API_KEYS or MIEN_API_KEYS_FILE: expected at least one name:key, found none. "
                "Add one, or unset the variable to allow every request."
            )
        if settings.rate_limit and not keys:
            raise ConfigError(
                "MIEN_RATE_LIMIT limits the requests of each key, and there is no key. "
                "Set MIEN_API_KEYS."
            )
        return cls(tuple(keys), settings.rate_limit)

    def check(self, authorization: str | None, api_key: str | None) -> None:
        """Allow or refuse a request by its headers `Authorization` and `X-API-Key`.

        Raises:
            UnauthorizedError: the request has no valid key.
            RateLimitError: the client exceeds its rate limit.
        """
        if not self.keys:
            return
        client = self._client(_key_of(authorization, api_key))
        if client is None:
            raise UnauthorizedError
        if self.rate_limit:
            self._take_token(client)

    def _client(self, key: str) -> str | None:
        """The client of a key. Every key is compared, and in constant time."""
        digest, client = _digest(key), None
        for name, valid in self.keys:
            if hmac.compare_digest(digest, valid):
                client = name
        return client

    def _take_token(self, client: str) -> None:
        now, capacity = self.clock(), self.rate_limit + 1
        bucket = self._buckets.setdefault(client, _TokenBucket(capacity, now))
        refill = (now - bucket.updated_at) * self.rate_limit
        bucket.tokens, bucket.updated_at = min(capacity, bucket.tokens + refill), now
        if bucket.tokens < 1:
            raise RateLimitError
        bucket.tokens -= 1


def _key_of(authorization: str | None, api_key: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else api_key or ""


def _keys(settings: Settings) -> Iterator[tuple[str, bytes]]:
    yield from _parse(settings.api_keys.get_secret_value().split(","), "MIEN_API_KEYS")
    if settings.api_keys_file is not None:
        try:
            lines = settings.api_keys_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"MIEN_API_KEYS_FILE cannot be read: {error}") from None
        yield from _parse(lines, "MIEN_API_KEYS_FILE")


def _parse(entries: list[str], source: str) -> Iterator[tuple[str, bytes]]:
    for number, entry in enumerate(entries, 1):
        name, colon, key = (part.strip() for part in entry.partition(":"))
        if not entry.strip():
            continue
        if not (name and colon) or len(key) < MIN_KEY_LENGTH or not key.isascii():
            # Without the entry itself: it may be a key that lacks its name.
            raise ConfigError(
                f"{source}: entry {number}: expected name:key with at least {MIN_KEY_LENGTH} "
                "ASCII characters in the key. `openssl rand -hex 16` makes one."
            )
        yield name, _digest(key)


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()
