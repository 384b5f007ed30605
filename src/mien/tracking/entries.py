"""What MLflow shows of a run and of a model: data sets, headline metrics, signature, example."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.storage.files import atomic_write

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Without it, MLflow guesses on each visit whether an experiment holds language models."""
NOTE = "mlflow.note.content"
"""Tag of a run: its description, as Markdown."""
COMMIT, USER, SOURCE = "mlflow.source.git.commit", "mlflow.user", "mlflow.source.name"
RUN_FILE = "run.txt"
"""In the folder of a training: the id of its run."""
_CONTEXTS = {"train": "training", "val": "validation", "test": "testing"}


@dataclass(frozen=True)
class TrackedData:
    """The prepared data of a run."""

    name: str
    version: str
    """Root hash of the raw data."""
    source: str
    counts: Mapping[str, Mapping[str, int]]
    """Examples by split and label."""

    def inputs(self) -> "list[DatasetInput]":
        """One data set for each split."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        return [
            DatasetInput(
                Dataset(
                    name=f"{self.name} {split}",
                    digest=self.version[:12],
                    source_type="local",
                    source=json.dumps({"uri": self.source, "version": self.version}),
                    schema=json.dumps({"labels": sorted(labels)}),
                    profile=json.dumps({"examples": sum(labels.values()), **labels}),
                ),
                [InputTag("mlflow.data.context", _CONTEXTS.get(split, split))],
            )
            for split, labels in self.counts.items()
        ]


@dataclass(frozen=True)
class ModelPage:
    """What the registry shows of a model: what it takes and answers, with an example."""

    inputs: Sequence[Mapping[str, Any]]
    """Columns as MLflow's schema writes them."""
    outputs: Sequence[Mapping[str, Any]]
    example: Any
    """A request as JSON values."""

    def write(self, folder: Path, run_id: str) -> None:
        """Write `MLmodel` and the example; the bundle lies beside them."""
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema

        name = "input_example.json"
        (folder / name).write_text(json.dumps(self.example), encoding="utf-8")
        signature = ModelSignature.from_dict(
            {"inputs": json.dumps(self.inputs), "outputs": json.dumps(self.outputs)}
        )
        assert isinstance(signature.inputs, Schema)
        model = Model(
            run_id=run_id,
            flavors={"mien": {"bundle": "bundle"}},
            signature=signature,
            saved_input_example_info={"artifact_path": name, "type": "json_object"},
        )
        model.save(str(folder / "MLmodel"))


def has_run(work: Path) -> bool:
    """Whether a run was started in `work`."""
    return (work / RUN_FILE).is_file()


def remember_run(work: Path, run_id: str) -> None:
    """Write down that a run was started in `work`."""
    with atomic_write(work / RUN_FILE) as temporary:
        temporary.write_text(run_id + "\n")


def run_of(work: Path) -> str:
    """Return the id of the run that was started in `work`."""
    return (work / RUN_FILE).read_text().strip()


def as_text(value: Any) -> str:
    """A param as MLflow stores it."""
    return value if isinstance(value, str) else json.dumps(value)
