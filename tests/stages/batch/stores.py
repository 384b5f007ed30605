"""Object stores for tests, in memory: moto's server for S3, and a stand-in for Cloud Storage."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from urllib.request import Request, urlopen
from xml.sax.saxutils import escape

from waiting import PATIENCE

BUCKET = "photos"


def send(address: str, path: str, data: bytes = b"", method: str = "PUT") -> bytes:
    headers = {"Content-Type": "application/octet-stream"}
    request = Request(f"{address}/{quote(path)}", data or None, headers, method=method)
    with urlopen(request, timeout=PATIENCE) as response:
        return bytes(response.read())


def upload(address: str, folder: Path, key: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            send(address, f"{BUCKET}/{key}/{name}", path.read_bytes())


@contextmanager
def s3() -> Iterator[str]:
    """moto's server and its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class CloudStorage(BaseHTTPRequestHandler):
    """The requests of Google's XML interface that obstore sends, with their preconditions."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").lstrip("/")

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.headers["x-goog-if-generation-match"] == "0" and self._key in self.objects:
            return self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        self.objects[self._key] = body
        self._answer(200, ETag=tag(body))

    def do_GET(self) -> None:
        if not self._key:
            return self._answer(200, self._listing(), Content_Type="application/xml")
        if self._key not in self.objects:
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        body = self.objects[self._key]
        if self.headers.get("If-Match", tag(body)) != tag(body):
            return self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        about = {"ETag": tag(body), "Last_Modified": "Mon, 30 Nov 2026 00:00:00 GMT"}
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            part = body[int(first) : int(last) + 1 if last else None]
            about["Content_Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"
            return self._answer(206, part, **about)
        self._answer(200, body, **about)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self._answer(204 if self.objects.pop(self._key, None) is not None else 404)

    def _listing(self) -> bytes:
        query = parse_qs(urlsplit(self.path).query)
        prefix, after = (query.get(name, [""])[0] for name in ("prefix", "start-after"))
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size><ETag>{escape(tag(body))}"
            "</ETag><LastModified>2026-11-30T00:00:00.000Z</LastModified></Contents>"
            for key, body in sorted(self.objects.items())
            if key.startswith(prefix) and key > after
        )
        return f"<ListBucketResult>{found}</ListBucketResult>".encode()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


def tag(body: bytes) -> str:
    return f'"{md5(body, usedforsecurity=False).hexdigest()}"'


@contextmanager
def cloud_storage() -> Iterator[str]:
    """The stand-in and its address."""
    handler = type("Handler", (CloudStorage,), {"objects": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
