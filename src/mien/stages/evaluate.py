"""From trained bundles to measured ones, the table of all candidates, and the policy's choice.

    models/<task>/trained/<key>/ -> task.predict -> models/<task>/evaluated/<key>/

The exported model is measured through the very function that serves it. The present champion
is measured on the same data, so that `register` can compare like with like.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from mien import bundle, choice, console, drift, figures, runtime, scores, tasks
from mien.bundle import Bundle, building, replacing
from mien.config import Form, RunConfig
from mien.drift import Row
from mien.errors import BundleError, PolicyError, RequestError
from mien.runtime import Model
from mien.scores import Answer
from mien.task import SPLITS, DataReport, Example, Prediction, Request, Split, Task
from mien.tracking import Tracker, model_name
from mien.workspace import (
    CHAMPION,
    DATA,
    REPORT,
    RESULT,
    VARIANTS,
    WORK,
    Workspace,
    code,
    key,
    point,
    pointed,
)

MEASURED: tuple[Split, ...] = ("val", "test")
_WARM_UP = 3
_SHOWN = 24
_PICTURES = 10
"""How often the drawn picture is asked for, to time a request with a picture."""
_IN_TURN = 100
"""Examples that a variant and what it was made from are asked in turn."""


@dataclass(frozen=True)
class Evaluated:
    """The folder of measured bundles, and whether it was made just now."""

    folder: Path
    fresh: bool


@dataclass(frozen=True)
class Measured:
    """One candidate on the splits that count."""

    bundle: Bundle
    answers: Mapping[str, Sequence[Answer]]
    shown: Sequence[tuple[Example, Prediction]]
    latency: Mapping[str, float]
    """Milliseconds of one request: `p50_ms`, `p95_ms`, `picture_ms`."""

    def numbers(self) -> dict[str, Any]:
        """Scores by split, latency of one request on the validation split, size in megabytes."""
        labels = self.bundle.manifest.labels
        return {
            **{split: scores.summary(each, labels) for split, each in self.answers.items()},
            "latency": dict(self.latency),
            "bundle_mb": self.bundle.megabytes,
        }


def evaluate(run: RunConfig, workspace: Workspace) -> Evaluated:
    """Measure every candidate of a run and let the policy choose; skip what is already there.

    Raises:
        PolicyError: no candidate keeps the policy's limits; the measurements are kept.
        BundleError: a variant that the run asks for was not made yet.
    """
    trained = pointed(workspace.trained(run.task), run.name, "Train first: `mien train CONFIG`.")
    ready = workspace.processed(run.task) / (trained / DATA).read_text(encoding="utf-8").strip()
    measures = ("stages/evaluate.py", "choice.py", "scores.py", "drift.py", "runtime.py")
    made_by = code(f"tasks/{run.task}", *measures)
    digests = [each.digest for each in _bundles(trained, run.variants) if _variant(each)]
    folder = workspace.evaluated(run.task) / key(
        trained.name, ready.name, run.policy, made_by, run.variants, digests
    )
    fresh = not folder.is_dir()
    if fresh:
        with building(folder) as temporary:
            _measure_all(run, workspace, trained, ready, temporary)
        _publish(folder, workspace.reports(run.task))
    point(workspace.evaluated(run.task), run.name, folder.name)
    if fresh:
        show(folder)
    _measure_champion(run, workspace, folder, ready)
    if read(folder)["choice"] is None:
        raise PolicyError(choice.nobody(read(folder)))
    return Evaluated(folder, fresh)


def read(folder: Path) -> dict[str, Any]:
    """Return the table of an evaluation as it was stored."""
    document: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return document


def show(folder: Path) -> None:
    """Print the table of all candidates, the policy's choice standing out."""
    choice.show(read(folder))


def on_other_data(run: RunConfig, workspace: Workspace, ready: Path) -> dict[str, dict[str, float]]:
    """Measure the run's trained candidates on all splits of other prepared data."""
    trained = pointed(workspace.trained(run.task), run.name, "Train first: `mien train CONFIG`.")
    task = tasks.load(run.task)
    table = {}
    for each in _bundles(trained, run.variants):
        name = each.manifest.candidate
        with Model(each) as model:
            examples = chain.from_iterable(task.examples(ready, split) for split in SPLITS)
            answers, _ = _ask(task, model, examples, f"{name} on other data")
            table[name] = {
                **scores.summary(answers, task.labels),
                **scores.latency_ms(answers),
            }
    return table


def _measure_all(
    run: RunConfig, workspace: Workspace, trained: Path, ready: Path, target: Path
) -> None:
    task = tasks.load(run.task)
    measured = [_measure(task, each, ready) for each in _bundles(trained, run.variants)]
    rows = [{"candidate": each.bundle.manifest.candidate, **each.numbers()} for each in measured]
    for row, each in zip(rows, measured, strict=True):
        row |= {"variant": _beside(task, each.bundle, ready)} if _variant(each.bundle) else {}
    if rows and run.policy.maximise not in rows[0]["val"]:
        known = ", ".join(rows[0]["val"])
        raise PolicyError(f"policy.maximise is {run.policy.maximise!r}; there are: {known}.")
    chosen, faults = choice.choose(rows, run.policy)
    document = {
        "task": run.task,
        "trained": trained.name,
        "data": ready.name,
        "policy": run.policy.model_dump(),
        "choice": chosen,
        "without": _without(trained) if run.variants else {},
        "candidates": [{**row, "fault": fault} for row, fault in zip(rows, faults, strict=True)],
    }
    report = DataReport.from_json(json.loads((ready / REPORT).read_text(encoding="utf-8")))
    for each in measured:
        _complete(each, document, report, target, workspace, trained)
    (target / RESULT).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _measure(task: Task[Any], opened: Bundle, ready: Path) -> Measured:
    with Model(opened) as model:
        answers: dict[str, Sequence[Answer]] = {}
        shown: list[tuple[Example, Prediction]] = []
        for split in MEASURED:
            words = f"evaluate {opened.manifest.candidate} on {split}"
            answers[split], shown = _ask(task, model, task.examples(ready, split), words)
        return Measured(model.bundle, answers, shown, _latency(task, model, answers["val"]))


def _beside(task: Task[Any], opened: Bundle, ready: Path) -> dict[str, Any]:
    """What a variant was made from, and by which share it is slower, both being asked in turn.

    Processor time of this thread, which alone runs the network: the clock on the wall, and times
    measured one after the other, would tell how busy the machine was.
    """
    about = _variant(opened)
    folder = opened.folder.with_name(about["of"])
    seconds: tuple[list[float], list[float]] = ([], [])
    with runtime.load(folder) as of, Model(opened) as variant:
        examples = islice(task.examples(ready, "val"), _IN_TURN + _WARM_UP)
        for place, example in enumerate(examples):
            for model, times in zip((of, variant), seconds, strict=True):
                start = thread_time()
                task.predict(example.request, model)
                times += [thread_time() - start] if place >= _WARM_UP else []
    slower = float(np.median(seconds[1]) / np.median(seconds[0])) - 1
    return {"form": about["form"], "of": about["of"], "slower": slower}


def _latency(task: Task[Any], model: Model, answers: Sequence[Answer]) -> dict[str, float]:
    """Time of one request; of a picture too, where the examples are none and the model takes them.

    `p95_ms` is that of the slower kind: whoever sets a limit means every request.
    """
    found = scores.latency_ms(answers)
    request = Request(image=np.asarray(task.picture().convert("RGB")))
    try:
        task.predict(request, model)
    except RequestError:
        return found  # a model that takes no pictures
    times = []
    for _ in range(_PICTURES):
        start = perf_counter()
        task.predict(request, model)
        times.append((perf_counter() - start) * 1000)
    slow = float(np.percentile(times, 95))
    return {
        "p50_ms": found["p50_ms"],
        "p95_ms": max(found["p95_ms"], slow),
        "picture_ms": float(np.median(times)),
    }


def _ask(
    task: Task[Any], model: Model, examples: Iterable[Example], words: str
) -> tuple[list[Answer], list[tuple[Example, Prediction]]]:
    answers: list[Answer] = []
    shown: dict[str | None, list[tuple[Example, Prediction]]] = {}
    with console.bar(words) as advance:
        for place, example in enumerate(examples):
            for _ in range(0 if place else _WARM_UP):
                task.predict(example.request, model)
            start = perf_counter()
            prediction = task.predict(example.request, model)
            answers.append(scores.answer(example, prediction, perf_counter() - start))
            kept = shown.setdefault(example.label, [])
            if len(kept) < max(1, _SHOWN // len(task.labels)):
                kept.append((example, prediction))
            advance(place + 1, place + 1)
    return answers, list(chain.from_iterable(shown.values()))[:_SHOWN]


def _complete(
    measured: Measured,
    document: Mapping[str, Any],
    report: DataReport,
    target: Path,
    workspace: Workspace,
    trained: Path,
) -> None:
    """Write one candidate's bundle with metrics, reference, figures and card, and track it."""
    manifest = measured.bundle.manifest
    folder = target / manifest.candidate
    shutil.copytree(measured.bundle.folder, folder, ignore=_but_the_manifest)
    known = reference(measured.answers["val"], manifest.labels, report)
    _write_json(folder / "reference.json", known)
    _draw(measured, folder / "figures")
    metrics = {**measured.numbers(), "bake_off": document["candidates"]}
    complete = manifest.model_copy(update={"metrics": metrics})
    (folder / "card.md").write_text(card(complete), encoding="utf-8")
    bundle.write(folder, complete)
    private = target / "samples" / manifest.candidate
    figures.samples(measured.shown, ["sample predictions"], private / "samples.png")
    Tracker(workspace.home).complete(
        trained / WORK / manifest.candidate,
        _flat(measured.numbers()),
        {"bundle": folder, "samples": private},
    )


def reference(
    answers: Sequence[Answer], labels: Sequence[str], report: DataReport
) -> dict[str, Any]:
    """What monitoring compares live traffic with: distributions of the validation split, and
    what the training data was."""
    rows = [Row(each.said, each.confidence, each.measures) for each in answers]
    passed = {each.name: 1 - each.count / max(each.total, 1) for each in report.checks}
    training = {"examples": report.counts, "completeness": passed}
    return {**drift.reference(rows, labels), "training": training}


def card(manifest: bundle.Manifest) -> str:
    """The bundle in words: what it is, how it was measured, where it comes from."""
    test, code_of = manifest.metrics["test"], manifest.lineage.get("code", {})
    rows = "\n".join(
        f"| {row['candidate']} | {row['val']['macro_f1']:.4f} | {row['test']['macro_f1']:.4f} | "
        f"{row['test']['accuracy']:.4f} | {row['bundle_mb']:.2f} | {row['fault'] or 'kept'} |"
        for row in manifest.metrics["bake_off"]
    )
    training = json.dumps(manifest.lineage.get("training", {}), indent=1, sort_keys=True)
    return (
        f"# {manifest.task}: {manifest.candidate}\n\n"
        f"Answers with one of {len(manifest.labels)} labels: {', '.join(manifest.labels)}.\n\n"
        f"On the test split ({test['examples']:.0f} examples): accuracy {test['accuracy']:.4f}, "
        f"macro-F1 {test['macro_f1']:.4f}, nothing found in {test['nothing_found']:.2%}, "
        f"expected calibration error {test['calibration_error']:.4f}.\n\n"
        "| candidate | val macro-F1 | test macro-F1 | test accuracy | MB | limits |\n"
        f"| --- | --- | --- | --- | --- | --- |\n{rows}\n\n"
        f"Code {code_of.get('commit')} (uncommitted changes: {code_of.get('dirty')}), "
        f"data {manifest.lineage.get('data_fingerprint')}, "
        f"config {manifest.lineage.get('config_sha256')}, seed {manifest.lineage.get('seed')}.\n\n"
        f"Training:\n\n```json\n{training}\n```\n"
    )


def _draw(measured: Measured, folder: Path) -> None:
    labels = measured.bundle.manifest.labels
    pairs = [(each.truth, each.said) for each in measured.answers["test"]]
    matrix = scores.confusion(pairs, labels)
    figures.confusion(matrix, labels, folder / "confusion.png")
    figures.classes(scores.per_class(matrix)["f1"], labels, folder / "classes.png")
    figures.reliability(scores.reliability(measured.answers["test"]), folder / "reliability.png")
    steps = json.loads((measured.bundle.folder / "history.json").read_text())
    if steps:
        figures.history(steps, folder / "history.png")


def _measure_champion(run: RunConfig, workspace: Workspace, folder: Path, ready: Path) -> None:
    """Measure the present champion on this run's validation data, unless it is of this run."""
    aliases = workspace.aliases(run.task) or Tracker(workspace.home).aliases(model_name(run.task))
    number = aliases.get(CHAMPION)
    if number is None:
        return
    path = folder.with_name(f"{folder.name}.champion-{number}.json")
    if path.is_file():
        return
    scored: dict[str, Any]
    try:
        champion = bundle.read(workspace.version(run.task, number))
        own = folder / champion.manifest.candidate
        if own.is_dir() and bundle.read(own).digest == champion.digest:
            return
        scored = _score_champion(tasks.load(run.task), champion, ready, number)
    except BundleError as error:
        scored = {"cannot_answer": str(error)}
    with replacing(path) as temporary:
        _write_json(temporary, scored)


def _score_champion(
    task: Task[Any], champion: Bundle, ready: Path, number: int
) -> dict[str, float]:
    if champion.manifest.labels != task.labels:
        raise BundleError(f"{champion.folder} was trained for other labels than the task has now.")
    with runtime.load(champion.folder) as model:
        answers, _ = _ask(task, model, task.examples(ready, "val"), f"evaluate champion {number}")
    return scores.summary(answers, task.labels)


def _publish(folder: Path, reports: Path) -> None:
    for path in [*sorted(folder.rglob("*.png")), folder / RESULT]:
        target = reports / path.relative_to(folder)
        with replacing(target) as temporary:
            shutil.copyfile(path, temporary)


def _bundles(trained: Path, forms: Sequence[Form]) -> list[Bundle]:
    """The candidates of a training, and their variants of the forms that take part.

    Raises:
        BundleError: a variant was not made, or was made from another training's candidate.
    """
    found = [path.parent for path in sorted(trained.glob(f"*/{bundle.MANIFEST}"))]
    opened = [bundle.read(path) for path in found if not path.name.startswith(".")]
    sources = {each.manifest.candidate: each.digest for each in opened if not _variant(each)}
    made = {(_variant(each).get("form"), _variant(each).get("digest")) for each in opened}
    without = _without(trained)
    for name, digest in sources.items():
        missing = [form for form in forms if (form, digest) not in made]
        if missing and name not in without:
            raise BundleError(f"{name} has no variant {missing[0]} yet: `mien optimize CONFIG`.")
    return [each for each in opened if _variant(each).get("form", "") in ("", *forms)]


def _variant(opened: Bundle) -> dict[str, Any]:
    """What `optimize` wrote down of a variant; empty for a candidate that was trained."""
    found: dict[str, Any] = opened.manifest.lineage.get("variant", {})
    return found


def _without(trained: Path) -> dict[str, str]:
    """Candidates that have no variants, and why."""
    path = trained / VARIANTS
    if not path.is_file():
        return {}
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["without"]
    return found


def _but_the_manifest(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name == bundle.MANIFEST]


def _flat(numbers: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": float(number) for inner, number in value.items()}
        else:
            flat[name] = float(value)
    return flat


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
