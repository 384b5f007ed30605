"""The product and its tests look up no outside name and send nothing to another host.

MediaPipe 1.2.3, MLflow 3.17.2 and ONNX Runtime 1.32 report usage or look up log hosts by
themselves.
"""

import socket
import sys
from pathlib import Path

import network
import offline
import pytest
import tiny
from network import Attempts
from project import ROOT

SERVE = """
import os, subprocess, sys
from urllib.request import Request, urlopen
sys.path.insert(0, "tests")
from waiting import until
from project import free_port
port = free_port()
server = subprocess.Popen(
    [sys.executable, "-m", "mien.cli", "serve"], env={**os.environ, "PORT": str(port)}
)
def ready():
    try:
        return urlopen(f"http://127.0.0.1:{port}/readyz").status == 200
    except OSError:
        return False
until(ready)
picture = open(sys.argv[1], "rb").read()
for task in ("gesture", "emotion"):
    request = Request(
        f"http://127.0.0.1:{port}/predict/{task}", picture, {"Content-Type": "image/png"}
    )
    assert urlopen(request).status == 200
server.terminate()
sys.exit(server.wait())
"""


def attempts(*command: str, **environment: str) -> Attempts:
    """What a command of Python attempts to send."""
    found, text = network.run(sys.executable, *command, **environment)
    if found is None:
        pytest.skip(f"what a process sends cannot be counted here: {text.strip()}")
    assert found.status == 0, text
    return found


def test_a_look_up_is_counted() -> None:
    """The tests below can fail."""
    look_up = "import socket\ntry: socket.getaddrinfo('example.com', 80)\nexcept OSError: pass"
    assert attempts("-c", look_up) != Attempts(0, 0, 0)
    report = "import socket; socket.socket(2, 2).sendto(b'', ('192.0.2.1', 9))"
    found, _ = network.run(sys.executable, "-c", report)
    assert found is not None
    assert found.unroutable == 1


def test_predicting_and_serving_send_nothing(served_home: Path, tmp_path: Path) -> None:
    """Of both tasks, with their networks and their landmarker."""
    picture, home = str(tmp_path / "hand.png"), str(served_home)
    nothing = Attempts(0, 0, 0)
    assert attempts("-m", "mien.cli", "picture", "gesture", picture) == nothing
    predict = ("-m", "mien.cli", "predict", picture, "--task", "gesture", "--home", home)
    assert attempts(*predict) == nothing
    settings = {"MIEN_HOME": home, "MIEN_PREDICTION_LOG": str(tmp_path / "predictions.db")}
    assert attempts("-c", SERVE, picture, **settings) == nothing


@pytest.mark.long
def test_training_sends_nothing(tmp_path: Path) -> None:
    """From the source to the registered version, through MLflow."""
    path = tiny.write(tmp_path)
    run = ("-m", "mien.cli", "run", str(path), "--home", str(tmp_path / "home"), "--force", "test")
    assert attempts(*run) == Attempts(0, 0, 0)


def test_a_test_that_looks_up_a_name_fails() -> None:
    """At once, though the look-up's own error is an ordinary one."""
    with pytest.raises(socket.gaierror, match=r"no outside name: example\.com"):
        socket.getaddrinfo("example.com", 80)
    assert offline.LOOKED_UP == ["example.com"]
    offline.LOOKED_UP.clear()
    assert socket.getaddrinfo("localhost", 80)
    assert socket.getaddrinfo("127.0.0.1", 80)


def test_the_reference_has_no_network() -> None:
    """MediaPipe looks up a log host within a minute of its first picture; no option names it."""
    sys.path.insert(0, str(ROOT))
    from bench.reference import without_network

    assert without_network(lambda: Path("/proc/thread-self/net/dev").read_text()).count(":") == 1
