"""What people deleted in MLflow, and how they undo it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import RegistryError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ACTIVE = "active"


def lifecycle(client: "MlflowClient", run_id: str) -> str | None:
    """`active` or `deleted`; None for a run that the store does not hold."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        return str(client.get_run(run_id).info.lifecycle_stage)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return None


def require_run(client: "MlflowClient", run_id: str, work: Path, store: str) -> None:
    """Raise RegistryError where a run that was started in `work` is not there any more."""
    state = lifecycle(client, run_id)
    if state is None:
        raise RegistryError(
            f"Run {run_id} is not in {store}: it was deleted for good, or the database is an older "
            f"copy. Bring the newer one back, or delete {work.parents[1]} and run again, which "
            "trains again."
        )
    if state != ACTIVE:
        experiment = client.get_run(run_id).info.experiment_id
        require_active(client.get_experiment(experiment), store)
        restore = _restore(f"runs restore --run-id {run_id}", store)
        raise RegistryError(f"Run {run_id} was deleted in MLflow. {restore}.")


def require_active(experiment: Any, store: str) -> None:
    """Raise RegistryError where an experiment was deleted, and its runs with it."""
    if experiment and experiment.lifecycle_stage != ACTIVE:
        restore = _restore(f"experiments restore -x {experiment.experiment_id}", store)
        raise RegistryError(f"The experiment {experiment.name!r} was deleted in MLflow. {restore}.")


def _restore(command: str, store: str) -> str:
    """How a person undoes a deletion in MLflow."""
    return f"Restore it: `MLFLOW_TRACKING_URI={shlex.quote(store)} mlflow {command}`"
