"""Authenticated encryption of samples by AES-256-GCM; the only importer of cryptography.

A sealed content is a random nonce of 12 bytes and the ciphertext with its tag. The name of the
sample is authenticated too, so that a file that was renamed or copied over another cannot be read.
"""

import os

from mien.errors import ConfigError, ReviewError

KEY_DIGITS = 64
_NONCE_BYTES = 12


class Cipher:
    """Seals and opens contents with one key. Thread-safe."""

    def __init__(self, key: str) -> None:
        """Take the key of `MIEN_REVIEW_KEY`.

        Raises:
            ConfigError: it is none.
        """
        try:
            raw = bytes.fromhex(key) if len(key) == KEY_DIGITS else b""
        except ValueError:
            raw = b""
        if not raw:
            state = "another text" if key else "nothing"  # never the text: it may be a key
            raise ConfigError(
                f"MIEN_REVIEW_KEY: expected {KEY_DIGITS} hexadecimal digits, found {state}. "
                "`openssl rand -hex 32` makes a key; store it apart from the workspace."
            )
        # Not at the top: a server that keeps nothing does without the library.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(raw)

    def seal(self, name: str, content: bytes) -> bytes:
        """Encrypt the content of a sample."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Decrypt what `seal` returned for the same name.

        Raises:
            ReviewError: another key or name sealed it, or it is damaged.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            raise ReviewError(
                f"{name}: expected a sample of this MIEN_REVIEW_KEY, found another key or a "
                "damaged file. Set the key that it was kept with, or delete it by `mien forget`."
            ) from None
