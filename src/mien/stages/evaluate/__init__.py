"""From trained bundles to measured ones, the table of all candidates, and the policy's choice.

    models/<task>/trained/<key>/ -> task.inference.predict -> models/<task>/evaluated/<key>/

The exported model is measured through the very function that serves it. The present champion
is measured on the same data, so that `register` can compare like with like.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mien.config import Form, TrainedOn
from mien.errors import BundleError, PolicyError
from mien.model import bundle, lineage, policy, runtime
from mien.model.bundle import Bundle
from mien.model.evaluation import BundleMetrics, CandidateScores, ChampionScores, Evaluation, Scores
from mien.model.runtime import Model
from mien.reporting import console, figures, leaderboard, registry_page, scores, slices
from mien.reporting.details import describe
from mien.reporting.model_card import CARD
from mien.reporting.scores import ScoredPrediction
from mien.stages import Run
from mien.storage.files import atomic_dir, atomic_write, write_json
from mien.storage.workspace import (
    CHAMPION,
    DATA,
    DETAILS,
    REPORT,
    RESULT,
    VARIANTS,
    WORK,
    read_latest,
    write_latest,
)
from mien.task import SPLITS, DataReport, Task

from .card import card, draw, reference
from .data_quality import DataQuality, read_data_quality
from .measuring import Measured, compare_latency, is_cheap, measure, predict_split, with_costs

OnChoice = Callable[[Path], None]
"""Gets a folder that has the bundle of the choice, its evaluation and its details."""


@dataclass(frozen=True)
class Evaluated:
    """The folder of measured bundles, and whether it was made just now."""

    folder: Path
    fresh: bool


def evaluate(run: Run, on_choice: OnChoice | None = None) -> Evaluated:
    """Measure every candidate of a run and let the policy choose; skip what is already there.

    `on_choice` gets a folder of the choice alone as soon as it is known, for the time of the call:
    a bundle that answers as the final one does, without figures, card and reference. These, its
    costs and what MLflow shows follow; then it gets the final folder, with scores of the others.

    Raises:
        PolicyError: no candidate keeps the policy's limits; the measurements are kept.
        BundleError: a variant that the run asks for was not made yet.
    """
    trained = read_latest(run.trained, run.config.name, "Train first: `mien train CONFIG`.")
    ready = run.processed / (trained / DATA).read_text(encoding="utf-8").strip()
    quality = read_data_quality(run, ready)
    bundles = _bundles(trained, run.config.variants)
    parts = ["the choice alone"] if on_choice and not run.config.variants else []
    folder = run.evaluated / run.key(
        "evaluate",
        trained.name,
        ready.name,
        run.config.policy,
        run.config.rights,
        run.config.variants,
        [each.digest for each in bundles if each.manifest.lineage.variant],
        None if quality is None else (sorted(quality.leaked), dict(quality.completeness)),
        *parts,
    )
    if fresh := not folder.is_dir():
        with atomic_dir(folder) as temporary:
            _measure_all(run, bundles, trained, ready, quality, temporary, on_choice)
        _publish(folder, run.reports)
    write_latest(run.evaluated, run.config.name, folder.name)
    if fresh:
        leaderboard.show(Evaluation.read(folder))
    _measure_champion(run, folder, ready)
    if (evaluation := Evaluation.read(folder)).choice is None:
        raise PolicyError(policy.no_candidate_message(evaluation))
    if on_choice:
        on_choice(folder)
    return Evaluated(folder, fresh)


def on_other_data(run: Run, ready: Path) -> dict[str, dict[str, float]]:
    """Measure the run's trained candidates on all splits of other prepared data."""
    trained = read_latest(run.trained, run.config.name, "Train first: `mien train CONFIG`.")
    task = run.task
    table = {}
    for each in _bundles(trained, run.config.variants):
        name = each.manifest.candidate
        with Model(each) as model:
            examples = chain.from_iterable(task.data.examples(ready, split) for split in SPLITS)
            answers = predict_split(task, model, examples, f"{name} on other data")
            table[name] = {
                **_summary(answers, each).named(),
                **scores.latency(answers).model_dump(exclude_none=True),
            }
    return table


def _measure_all(
    run: Run,
    bundles: Sequence[Bundle],
    trained: Path,
    ready: Path,
    quality: DataQuality | None,
    target: Path,
    on_choice: OnChoice | None,
) -> None:
    task = run.task
    leaked = None if quality is None else quality.leaked
    with console.bar("slices of the training data"):
        definitions = slices.define(map(slices.attributes, task.data.examples(ready, "train")))
    measured = [
        measure(task, each, ready, leaked, run.config.policy, definitions) for each in bundles
    ]
    order, only = _order(run, measured), None
    if on_choice and not run.config.variants:
        measured, only = _offer_choice(run, measured, order, trained, ready, on_choice)
        run.do_waiting()
    measured = [
        with_costs(task, each, ready, run.config.policy) if only in (None, each.candidate) else each
        for each in measured
    ]
    rows = [_row(run, each, ready) for each in measured]
    trained_on = next((each.manifest.lineage.trained_on for each in bundles), None)
    evaluation = _choose(run, rows, trained, ready, trained_on).model_copy(
        update={"slices": definitions}
    )
    evaluation.write(target)
    training = _training(ready, quality)
    names = {only or each.candidate for each in measured} | {evaluation.choice}
    complete = [each for each in measured if each.candidate in names]
    for each in complete:
        _complete(each, evaluation, training, target, run)
    for each in measured:
        _track(each, target, run, trained)


def _order(run: Run, measured: Sequence[Measured]) -> list[int]:
    """Indices of the candidates, the best score on the validation split first."""
    vals = [
        scores.summary(each.answers["val"], each.bundle.manifest.labels).named()
        for each in measured
    ]
    if vals and (metric := run.config.policy.maximise) not in vals[0]:
        raise PolicyError(f"policy.maximise is {metric!r}; there are: {', '.join(vals[0])}.")
    return sorted(range(len(vals)), key=lambda n: -vals[n][run.config.policy.maximise])


def _offer_choice(
    run: Run,
    measured: Sequence[Measured],
    order: Sequence[int],
    trained: Path,
    ready: Path,
    on_choice: OnChoice,
) -> tuple[list[Measured], str | None]:
    """Give `on_choice` the candidate that the policy will choose: the first in the order of scores
    that keeps its limits. Returns all, with the costs that were measured for that, and its name;
    None where there is none."""
    costed = list(measured)
    for index in order:
        if not is_cheap(run.task, costed[index], ready, run.config.policy):
            costed[index] = with_costs(run.task, costed[index], ready, run.config.policy)
        each = costed[index]
        row = _row(run, each, ready)
        evaluation = _choose(run, [row], trained, ready, each.bundle.manifest.lineage.trained_on)
        if evaluation.choice is None:
            continue
        with TemporaryDirectory(prefix="mien-choice-") as name:
            target = Path(name)
            folder = target / each.candidate
            shutil.copytree(each.bundle.folder, folder, ignore=_but_the_manifest)
            update = {"decision": each.decision}
            manifest = each.bundle.manifest
            bundle.write(folder, manifest.model_copy(update=update), manifest.files)
            _write_details(each, target / DETAILS / f"{each.candidate}.json")
            evaluation.write(target)
            on_choice(target)
        return costed, each.candidate
    return costed, None


def _row(run: Run, measured: Measured, ready: Path) -> CandidateScores:
    return CandidateScores(
        candidate=measured.candidate,
        decision=measured.decision,
        variant=compare_latency(run.task, measured.bundle, ready, run.config.policy),
        **dict(measured.measurements),
    )


def _training(ready: Path, quality: DataQuality | None) -> dict[str, Any]:
    """What a bundle says of its training data."""
    report = DataReport.from_json(json.loads((ready / REPORT).read_text(encoding="utf-8")))
    completeness = {} if quality is None else quality.completeness
    return {"examples": report.counts, "completeness": completeness}


def _choose(
    run: Run,
    rows: Sequence[CandidateScores],
    trained: Path,
    ready: Path,
    trained_on: TrainedOn | None,
) -> Evaluation:
    """Apply the policy to the measured candidates."""
    choice, faults = policy.choose(rows, run.config.policy)
    judged = [row.model_copy(update={"fault": f}) for row, f in zip(rows, faults, strict=True)]
    return Evaluation(
        task=run.task.name,
        trained=trained.name,
        data=ready.name,
        policy=run.config.policy,
        trained_on=trained_on,
        choice=choice,
        without=_without(trained) if run.config.variants else {},
        candidates=tuple(judged),
    )


def _complete(
    measured: Measured,
    evaluation: Evaluation,
    training: Mapping[str, Any],
    target: Path,
    run: Run,
) -> None:
    """Write one candidate's bundle with metrics, reference, figures and card, and its details."""
    manifest = measured.bundle.manifest
    folder = target / manifest.candidate
    shutil.copytree(measured.bundle.folder, folder, ignore=_but_the_manifest)
    known = reference(measured.answers["val"], manifest.labels, training)
    write_json(folder / "reference.json", known, sort_keys=True)
    draw(measured, folder / "figures")
    metrics = BundleMetrics(
        **dict(measured.measurements),
        leaderboard=tuple(
            row.model_copy(update={"slices": (), "val_slices": ()}) for row in evaluation.candidates
        ),
        processor=" ".join(lineage.processor_features()),
    )
    update = {"metrics": metrics, "decision": measured.decision}
    complete = manifest.model_copy(update=update)
    text = card(run.task, complete, metrics, training["examples"], run.config.rights)
    (folder / CARD).write_text(text, encoding="utf-8")
    bundle.write(folder, complete, manifest.files)
    _write_details(measured, target / DETAILS / f"{manifest.candidate}.json")


def _track(measured: Measured, target: Path, run: Run, trained: Path) -> None:
    """Draw samples of one candidate, and complete its run in MLflow; without a complete bundle,
    add its metrics alone."""
    work, metrics = trained / WORK / measured.candidate, measured.measurements.flat()
    folder, private = target / measured.candidate, target / "samples" / measured.candidate
    if not folder.is_dir():
        run.tracker.log_final(work, metrics)
        return
    skeleton = run.task.inference.skeleton
    figures.samples(measured.shown, ["sample predictions"], private / "samples.png", skeleton)
    run.tracker.complete(
        work,
        metrics,
        folder,
        registry_page.model_page(run.task),
        registry_page.description((folder / CARD).read_text(encoding="utf-8")),
        {"samples": private},
    )


def _write_details(measured: Measured, path: Path) -> None:
    """What the report of the run shows of a candidate."""
    details = describe(
        measured.bundle.manifest.labels,
        measured.uncalibrated.get("test", ()),
        measured.answers["test"],
        measured.mistakes,
    )
    write_json(path, details.model_dump(mode="json"))


def _measure_champion(run: Run, folder: Path, ready: Path) -> None:
    """Measure the present champion on this run's validation data, unless it is of this run."""
    number = run.workspace.aliases(run.task.name).get(CHAMPION)
    if number is None:
        return
    path = folder.with_name(f"{folder.name}.champion-{number}.json")
    if path.is_file():
        return
    try:
        champion = bundle.read(run.workspace.version(run.task.name, number))
        own = folder / champion.manifest.candidate
        if own.is_dir() and bundle.read(own).digest == champion.digest:
            return
        answers = _ask_champion(run.task, champion, ready, number)
        scored = ChampionScores(
            scores=_summary(answers, champion),
            slices=slices.measure(answers, Evaluation.read(folder).slices),
            labels=champion.manifest.labels,
            trained_on=champion.manifest.lineage.trained_on,
        )
    except BundleError as error:
        scored = ChampionScores(error=str(error))
    write_json(path, scored.model_dump(mode="json"))


def _ask_champion(
    task: Task[Any], champion: Bundle, ready: Path, number: int
) -> list[ScoredPrediction]:
    with runtime.load(champion.folder) as model:
        return predict_split(
            task, model, task.data.examples(ready, "val"), f"evaluate champion {number}"
        )


def _summary(answers: Sequence[ScoredPrediction], measured: Bundle) -> Scores:
    labels = scores.with_unknown_labels(measured.manifest.labels, answers)
    return scores.summary(answers, labels)


def _publish(folder: Path, reports: Path) -> None:
    """Copy the figures, the evaluation and the card of the choice to where people look."""
    paths = [*sorted(folder.rglob("*.png")), folder / RESULT]
    targets = {path: reports / path.relative_to(folder) for path in paths}
    (reports / CARD).unlink(missing_ok=True)
    if (choice := Evaluation.read(folder).choice) is not None:
        targets[folder / choice / CARD] = reports / CARD
    for path, target in targets.items():
        with atomic_write(target) as temporary:
            shutil.copyfile(path, temporary)


def _bundles(trained: Path, forms: Sequence[Form]) -> list[Bundle]:
    """The candidates of a training, and their variants of the forms that take part.

    Raises:
        BundleError: a variant was not made, or was made from another training's candidate.
    """
    folders = [path.parent for path in sorted(trained.glob(f"*/{bundle.MANIFEST}"))]
    opened = [bundle.read(path) for path in folders if not path.name.startswith(".")]
    variants = [(each, each.manifest.lineage.variant) for each in opened]
    made = {(variant.form, variant.digest) for _, variant in variants if variant}
    without = _without(trained)
    for base in [each for each, variant in variants if variant is None]:
        name = base.manifest.candidate
        missing = [form for form in forms if (form, base.digest) not in made]
        if missing and name not in without:
            raise BundleError(f"{name} has no variant {missing[0]} yet: `mien optimize CONFIG`.")
    return [each for each, variant in variants if variant is None or variant.form in forms]


def _without(trained: Path) -> dict[str, str]:
    """Candidates that have no variants, and why."""
    path = trained / VARIANTS
    if not path.is_file():
        return {}
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["without"]
    return found


def _but_the_manifest(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name == bundle.MANIFEST]
