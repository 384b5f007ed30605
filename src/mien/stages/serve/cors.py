"""Pages of other origins: which of them may send requests from a browser (CORS)."""

import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from mien.errors import ConfigError
from mien.stages.serve import uploads

_DEFAULT_PORTS = {"http": 80, "https": 443}
_log = logging.getLogger("mien.serve")


class CorsMiddleware(CORSMiddleware):
    """Starlette's middleware, which also logs why a preflight was refused."""

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            # Keys are a header and not a cookie, so that pages can send no more than they know.
            # Tracing libraries add headers of their own to every request.
            allow_headers=["*"],
            expose_headers=["X-Trace-Id", "Retry-After", uploads.FRAME_HEADER],
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code >= 400:  # its text has no word of the client
            reason = bytes(response.body).decode()
            _log.warning("a preflight was refused: %s. See MIEN_CORS_ORIGINS.", reason)
        return response


def parse_origins(setting: str) -> list[str]:
    """The origins of `MIEN_CORS_ORIGINS` as browsers send them: no slash, no default port.

    Raises:
        ConfigError: one is no origin.
    """
    return [_parse_origin(each.strip()) for each in setting.split(",") if each.strip()]


def _parse_origin(text: str) -> str:
    if text in ("*", "null"):
        return text
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if not (scheme and host) or text.partition("://")[2].rstrip("/") != parts.netloc or "@" in text:
        raise ConfigError(
            f"MIEN_CORS_ORIGINS: expected origins such as https://shop.example, found {text!r}. "
            "Name scheme and host, and the port where it is not the default; no path."
        )
    address = f"[{host}]" if ":" in host else host
    default = port in (None, _DEFAULT_PORTS.get(scheme))
    return f"{scheme}://{address}" if default else f"{scheme}://{address}:{port}"
