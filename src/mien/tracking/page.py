"""MLflow's own page of a workspace, in one process and without its job runners."""

import os
import threading
import time
import urllib.request
import webbrowser
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_WAIT_S = 120
"""How long the browser waits for the page."""


def comparison(client: "MlflowClient", work_tag: str, task: str | None) -> str:
    """The part of an address that compares the runs of the newest training, see `Tracker`."""
    names = [each for each in client.search_experiments() if task in (None, each.name)]
    runs = client.search_runs(
        [each.experiment_id for each in names],
        f"attributes.status = 'FINISHED' and tags.`{work_tag}` LIKE '%/trained/%'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not runs:
        return ""
    folder = runs[0].data.tags[work_tag].rpartition("/")[0]
    query = urlencode(
        {
            "compareRunsMode": "CHART",
            "workflowType": "machine_learning",
            "searchFilter": f"tags.`{work_tag}` LIKE '{folder}/%'",
        },
        quote_via=quote,
    )
    return f"#/experiments/{runs[0].info.experiment_id}/runs?{query}"


def serve(store: str, host: str, port: int, start: str) -> None:
    """Serve the page until Ctrl-C, and open `start` in a browser when it answers."""
    # Its job runners are for features of MLflow that need a language model.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    import uvicorn
    from mlflow import server

    os.environ[server.BACKEND_STORE_URI_ENV_VAR] = store
    if start:
        threading.Thread(target=_open, args=(start,), daemon=True).start()
    uvicorn.run("mlflow.server.fastapi_app:app", host=host, port=port, log_level="warning")


def show(address: str) -> None:
    """Open a page of a server that runs already; nothing for ""."""
    if address:
        webbrowser.open(address)


def _open(address: str) -> None:
    health = address.partition("#")[0] + "health"
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(health, timeout=5):
                webbrowser.open(address)
                return
        except OSError:
            time.sleep(0.2)
