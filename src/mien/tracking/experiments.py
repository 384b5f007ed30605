"""The experiment of a task, and what a killed process left open in it."""

from typing import TYPE_CHECKING

from .deleted import require_active
from .entries import EXPERIMENT_TAGS

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

RUNNING = "RUNNING"


def find_or_create(client: "MlflowClient", name: str, artifacts: str | None, store: str) -> str:
    """The id of an experiment, which is made where there is none.

    Args:
        client: of the store.
        name: of the experiment.
        artifacts: where they go; None for where the server puts them.
        store: MLflow's name of the store, for messages.

    Raises:
        RegistryError: it was deleted in MLflow.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        from mlflow.exceptions import MlflowException

        try:
            return str(client.create_experiment(name, artifacts, EXPERIMENT_TAGS))
        except MlflowException:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:  # else another machine made it just now
                raise
    require_active(experiment, store)
    return str(experiment.experiment_id)


def left_open(client: "MlflowClient", experiment: str, query: str) -> str | None:
    """The run of a process that was killed before it could note the run's name in its folder."""
    running = f"{query} and attributes.status = '{RUNNING}'"
    runs = client.search_runs([experiment], running, max_results=1)
    return str(runs[0].info.run_id) if runs else None
