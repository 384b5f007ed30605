"""From a public pretrained model to a bundle, without a training.

    task.training.starters -> models/<task>/pulled/<key>/<name>/

The user's own command fetches the networks; nothing of them is part of mien.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mien.errors import UnreachableError
from mien.model import bundle, golden, lineage
from mien.model.bundle import Manifest
from mien.model.lineage import Lineage
from mien.reporting import console, model_card, registry_page
from mien.reporting.model_card import CARD
from mien.storage.cache_keys import stage_key
from mien.storage.files import atomic_dir
from mien.storage.workspace import WORK, Workspace
from mien.task import Fit, Task
from mien.tracking import Tracker

TIMEOUT_S = 600.0
"""Of each download, where nobody waits for anything else."""


@dataclass(frozen=True)
class Pulled:
    """A bundle that was pulled, and whether it was made just now."""

    folder: Path
    fresh: bool


def pull(task: Task[Any], workspace: Workspace, timeout_s: float = TIMEOUT_S) -> Pulled:
    """Make a bundle of the first public model of a task that can be fetched.

    The caller holds the lock of the task.

    Raises:
        UnreachableError: none can be fetched.
        WeightsError: what was fetched has other bytes than expected.
    """
    reasons = []
    for name in task.training.starters:
        folder = workspace.pulled(task.name) / stage_key("pull", task.name, name) / name
        if (folder / bundle.MANIFEST).is_file():
            return Pulled(folder, fresh=False)
        try:
            return Pulled(_make(task, name, folder, workspace, timeout_s), fresh=True)
        except UnreachableError as error:
            reasons.append(f"{name}: {error}")
            console.info(f"{task.name}: {reasons[-1]}")
    raise UnreachableError(
        f"No public model of {task.name} can be fetched. {' '.join(reasons)} Files that were "
        "fetched once are taken from mien's cache."
    )


def fetch(task: Task[Any], timeout_s: float) -> None:
    """Fill the cache for `pull`; needs no lock. Errors are as those of `pull`."""
    names = tuple(task.training.starters)
    for name in names:
        try:
            with TemporaryDirectory(prefix="mien-starter-") as folder:
                task.training.starters[name](Path(folder), timeout_s)
            return
        except UnreachableError:
            if name == names[-1]:
                raise


def _make(task: Task[Any], name: str, folder: Path, workspace: Workspace, timeout_s: float) -> Path:
    work = folder.parent / WORK / name
    work.mkdir(parents=True, exist_ok=True)
    fit = task.training.starters[name](work, timeout_s)
    origin = Lineage(
        code=lineage.commit(),
        environment=lineage.environment(),
        platform=lineage.machine(),
        trained_on="pretrained",
    )
    tracker = Tracker(workspace.home)
    with tracker.run(task.name, name, work, {}, origin.recorded()):
        later = {
            "training": dict(fit.lineage),
            "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        manifest = bundle.describe(
            task.name,
            fit.labels or task.default_labels,
            name,
            fit.preprocessing,
            lineage=origin.model_copy(update=later),
        )
        with atomic_dir(folder) as temporary:
            bundle.copy_networks(work, temporary)
            (temporary / CARD).write_text(card := _card(task, manifest, fit), encoding="utf-8")
            golden.write(temporary, manifest, task.inference.drawn_predictions())
            # Before the folder has its name: a pull that was killed here is repeated.
            model, text = registry_page.model_page(task), registry_page.description(card)
            tracker.complete(work, {}, temporary, model, text)
    return folder


def _card(task: Task[Any], manifest: Manifest, fit: Fit) -> str:
    """The model card: what the model is, where its networks come from, and what is not known."""
    origin = json.dumps(dict(fit.lineage), indent=1, sort_keys=True)
    sections = {
        "Data": "Whatever its owners trained it on, see the end of this card.",
        "Rights": (
            "The networks are their owners'; mien does not distribute them. Their licences, as the "
            "packages state them, are at the end of this card."
        ),
        "Measured": "Nothing: it was not measured on data of this workspace.",
        "Limits": (
            f"{model_card.GROUPS} Its confidence is not calibrated, and it never answers `unsure`. "
            "Drift is not computed: its training data are not here."
        ),
        "Where it comes from": (
            f"Pulled by code {manifest.lineage.code.commit} (uncommitted changes: "
            f"{manifest.lineage.code.dirty}).\n\n```json\n{origin}\n```"
        ),
    }
    summary = (
        "A public pretrained model (trained_on: pretrained), converted and not trained by mien. "
        f"Answers with one of {len(manifest.labels)} labels: {', '.join(manifest.labels)}."
    )
    return model_card.render(task, manifest.candidate, summary, sections)
