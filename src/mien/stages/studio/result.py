"""What the page shows of a trained model: its scores by class, what it confuses, the candidates."""

from pathlib import Path

import numpy as np

from mien.config import Schema
from mien.errors import MienError
from mien.model import bundle
from mien.model.bundle import Bundle
from mien.model.evaluation import Evaluation
from mien.reporting import scores
from mien.reporting.details import CandidateDetails
from mien.storage.workspace import DETAILS, read_document

from . import readiness


class ClassScores(Schema):
    """One class on the test samples."""

    label: str
    precision: float
    recall: float
    samples: int


class CandidateRow(Schema):
    """One of the classifiers that were compared."""

    name: str
    val: float
    """Macro-F1, as is `test`."""
    test: float
    chosen: bool


class StudioResult(Schema):
    """A trained model as the page shows it."""

    version: str
    """As in the answers of the service."""
    labels: tuple[str, ...]
    accuracy: float
    """On test, as all that follows."""
    samples: int
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows truth, columns answer, the last one nothing detected."""
    candidates: tuple[CandidateRow, ...]
    doubts: tuple[str, ...]


def read_result(folder: Path) -> tuple[StudioResult, Bundle]:
    """The result of the choice in a folder of evaluated bundles, and its bundle.

    Raises:
        MienError: nothing was chosen, or a document is of another version.
    """
    evaluation = Evaluation.read(folder)
    if (chosen := evaluation.chosen) is None:
        raise MienError("No classifier keeps the limits of the policy.")
    path = folder / DETAILS / f"{chosen.candidate}.json"
    details = read_document(CandidateDetails, path, "Train again.")
    choice = bundle.read(folder / chosen.candidate)
    by_class = scores.per_class(np.array(details.confusion))
    result = StudioResult(
        version=choice.digest[:12],
        labels=details.labels,
        accuracy=chosen.test.accuracy,
        samples=chosen.test.examples,
        classes=tuple(
            ClassScores(
                label=label,
                precision=float(by_class["precision"][index]),
                recall=float(by_class["recall"][index]),
                samples=int(by_class["support"][index]),
            )
            for index, label in enumerate(details.labels)
        ),
        confusion=details.confusion,
        candidates=tuple(
            CandidateRow(
                name=row.candidate,
                val=row.val.macro_f1,
                test=row.test.macro_f1,
                chosen=row is chosen,
            )
            for row in evaluation.candidates
        ),
        doubts=tuple(readiness.doubts(details, chosen)),
    )
    return result, choice
