"""A data set of Kaggle as a source, from a server on this machine that answers as Kaggle does."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from project import free_port, mien
from waiting import PATIENCE


class _Kaggle(BaseHTTPRequestHandler):
    """The part of Kaggle's API that fetches one set, reached as a proxy."""

    archive: bytes
    requests: list[str]
    port: int

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append(self.path.rpartition("/")[2])
        if self.requests[-1] == "GetDataset":
            self._answer(b'{"currentVersionNumber": 3}', "application/json")
        else:
            self._answer(self.archive, "application/zip")

    def _answer(self, content: bytes, kind: str) -> None:
        self.send_response(200 if content else 403)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def kaggle() -> Iterator[type[_Kaggle]]:
    """A server on the loopback interface that has one set."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("hands/landmarks.csv", "x1,y1\n")
    handler = type("Handler", (_Kaggle,), {"archive": stream.getvalue(), "requests": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.port = server.server_port
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield handler
        server.shutdown()


OPEN = """
import json, sys
from pathlib import Path
from mien.stages.data import sources
with sources.open_source(sys.argv[1], Path(sys.argv[2])) as source:
    items = {each.name: each.open().read().decode() for each in source.items}
print(json.dumps([source.name, items]))
"""


def read_source(source: str, home: Path, environment: Mapping[str, str]) -> Any:
    """The name and the files of a source, as a new process reads them."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, source, str(home / "cache")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def environment_of(home: Path, port: int) -> dict[str, str]:
    """An environment in which Kaggle is a port of this machine, without an account."""
    no_account = dict.fromkeys(("KAGGLE_USERNAME", "KAGGLE_KEY", "NO_PROXY", "no_proxy"), "")
    address = f"http://127.0.0.1:{port}"
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), address)
    folders = {"KAGGLEHUB_CACHE": str(home / "hub"), "KAGGLE_CONFIG_DIR": str(home / "none")}
    return {
        **no_account,
        **proxies,
        **folders,
        "HOME": str(home),
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
    }


def test_a_set_of_kaggle_is_fetched_by_its_name(tmp_path: Path, kaggle: type[_Kaggle]) -> None:
    """The source names its version; that version is then read from the cache, without a network."""
    fetched = read_source("kaggle:someone/hands", tmp_path, environment_of(tmp_path, kaggle.port))
    assert kaggle.requests == ["GetDataset", "DownloadDataset"]
    assert fetched == ["kaggle:someone/hands/versions/3", {"hands/landmarks.csv": "x1,y1\n"}]
    assert read_source(fetched[0], tmp_path, environment_of(tmp_path, free_port())) == fetched


def test_without_a_network_the_newest_version_in_the_cache_is_used(
    tmp_path: Path, kaggle: type[_Kaggle]
) -> None:
    """Of those that are complete: an interrupted download does not count."""
    fetched = read_source("kaggle:someone/hands", tmp_path, environment_of(tmp_path, kaggle.port))
    (tmp_path / "hub" / "datasets" / "someone" / "hands" / "versions" / "4").mkdir()
    assert (
        read_source("kaggle:someone/hands", tmp_path, environment_of(tmp_path, free_port()))
        == fetched
    )


@pytest.mark.parametrize("fault", ["no network", "not allowed"])
def test_a_refusal_of_kaggle_is_explained(
    tmp_path: Path, fault: str, kaggle: type[_Kaggle]
) -> None:
    """One message without a traceback: the set, the reason, and what to do instead."""
    port = free_port() if fault == "no network" else kaggle.port
    kaggle.archive = b""
    source = ("--source", "kaggle:someone/hands")
    done = mien(
        "data", "sample_gesture", *source, home=tmp_path / "home", **environment_of(tmp_path, port)
    )
    assert done.returncode == 1
    assert "Kaggle does not provide 'someone/hands'" in done.stderr
    assert "KAGGLE_USERNAME" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list((tmp_path / "home").rglob("*.zip"))
