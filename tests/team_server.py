"""MLflow's real server, as a team starts one, for tests on the loopback interface."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from project import free_port
from waiting import until


@contextmanager
def team_server(store: str, folder: Path, program: bool = False) -> Iterator[str]:
    """Its address; runs and registry are in the store, artifacts and log in the folder.

    `program` starts `mlflow server`; without it the same application runs in one process, which
    takes a third of the time.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    more = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    artifacts = str(folder / "artifacts")
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if program:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
        command += ["--artifacts-destination", artifacts, "--workers", "1", *where]
    else:
        command = [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", *where]
        more |= {
            "_MLFLOW_SERVER_FILE_STORE": store,
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **more}, start_new_session=True
        )
        try:
            until(lambda: _answers(address, process), lambda: (folder / "server.log").read_text())
            yield address
        finally:
            os.killpg(process.pid, 15)  # its workers too
            process.wait()


def _answers(address: str, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the server ended"
    try:
        with urlopen(f"{address}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
