"""From an evaluated run to one page that says what came of it, why, and what to do next.

    models/<task>/evaluated/<key>/ -> reports/<task>/<run>/index.html

The page holds small pictures of the user's data: it stays in the workspace.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.model import bundle
from mien.model.bundle import Manifest
from mien.model.evaluation import CandidateScores, Evaluation
from mien.reporting import html, leaderboard, scores
from mien.reporting.details import CandidateDetails, Curve
from mien.reporting.model_card import CARD
from mien.reporting.slices import MIN_EXAMPLES
from mien.stages import Run
from mien.storage.files import atomic_write
from mien.storage.workspace import DETAILS, REPORT, WORK, read_document
from mien.task import DataReport

PAGE = "index.html"


@dataclass(frozen=True)
class Outcome:
    """What became of a run: sentences, and the command that comes next."""

    verdict: str
    next_command: str


@dataclass(frozen=True)
class CheckSummary:
    """The check of a run's data: its verdict, and (state, check, issues, description) of each."""

    verdict: str
    rows: Sequence[tuple[str, str, str, str]]


@dataclass(frozen=True)
class ClassRow:
    """The scores of one class on the test split."""

    label: str
    precision: float
    recall: float
    f1: float
    support: float
    curve: Curve


@dataclass(frozen=True)
class CandidatePage:
    """What the page shows of one candidate."""

    scores: CandidateScores
    details: CandidateDetails
    manifest: Manifest
    card: str

    @property
    def classes(self) -> list[ClassRow]:
        """Scores of each class on test, the worst F1 first."""
        columns = scores.per_class(np.array(self.details.confusion, dtype=np.int64))
        rows = [
            ClassRow(
                label=label,
                curve=self.details.curves[index],
                **{name: float(column[index]) for name, column in columns.items()},
            )
            for index, label in enumerate(self.details.labels)
        ]
        return sorted(rows, key=lambda row: row.f1)

    @property
    def shares(self) -> list[list[float]]:
        """The confusion matrix in shares of each true class."""
        return [[count / max(sum(row), 1) for count in row] for row in self.details.confusion]


def path(run: Run) -> Path:
    """Where the report of a run is."""
    return run.reports / run.config.name / PAGE


def write(
    run: Run, evaluated: Path, outcome: Outcome, check: CheckSummary, seconds: Mapping[str, float]
) -> Path:
    """Write the page of a run; returns its path.

    Args:
        run: the run.
        evaluated: the folder of its evaluated bundles.
        outcome: what became of it.
        check: the check of its data.
        seconds: that each stage took; none where they are not known.

    Raises:
        MienError: the evaluation was written by another version of mien.
    """
    evaluation = Evaluation.read(evaluated)
    complete = [each for each in evaluation.candidates if (evaluated / each.candidate).is_dir()]
    pages = [_candidate(evaluated, each) for each in complete]
    pages.sort(key=lambda each: _order(each.scores, evaluation))
    values = {
        "run": run,
        "outcome": outcome,
        "check": check,
        "seconds": seconds,
        "evaluation": evaluation,
        "candidates": pages,
        "columns": leaderboard.COLUMNS,
        "rows": leaderboard.cells(evaluation),
        "notes": leaderboard.COLUMN_NOTES,
        "data": _prepared(run, evaluation),
        "skeleton": run.task.inference.skeleton,
        "min_slice": MIN_EXAMPLES,
    }
    target, template = path(run), Path(__file__).with_name("run.html")
    with atomic_write(target) as temporary:
        temporary.write_text(html.render(template, values), encoding="utf-8")
    if evaluation.choice:
        work = run.trained / evaluation.trained / WORK / evaluation.choice
        run.tracker.attach(work, "report", target.parent)
    return target


def _prepared(run: Run, evaluation: Evaluation) -> DataReport:
    text = (run.processed / evaluation.data / REPORT).read_text(encoding="utf-8")
    return DataReport.from_json(json.loads(text))


def _candidate(evaluated: Path, row: CandidateScores) -> CandidatePage:
    remedy = "Evaluate again: `mien evaluate CONFIG`."
    details = read_document(CandidateDetails, evaluated / DETAILS / f"{row.candidate}.json", remedy)
    folder = evaluated / row.candidate
    card = (folder / CARD).read_text(encoding="utf-8")
    return CandidatePage(row, details, bundle.read(folder).manifest, card)


def _order(row: CandidateScores, evaluation: Evaluation) -> tuple[bool, float]:
    """The policy's choice first, then by its score."""
    return row.candidate != evaluation.choice, -row.val.named()[evaluation.policy.maximise]
