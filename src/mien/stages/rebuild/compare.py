"""Compares a rebuilt bundle with the recorded one: the first stage that differs, and how.

Where bytes cannot repeat, only the scores are compared, within a tolerance.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.model import lineage
from mien.model.bundle import NETWORK_SUFFIX, Bundle
from mien.storage.files import sha256_file
from mien.storage.workspace import REPORT

from .onnx_diff import first_difference
from .outcome import RebuildStep, differences, format_differences

TOLERANCE = 0.02
"""Of accuracy and macro-F1, on another processor or system, where other last digits of sums change
single predictions. Set, not measured: no second kind of processor was available."""
SCORES = ("accuracy", "macro_f1")
_SPLITS = ("val", "test", "test_leak_free")
"""Metrics that do not depend on the machine or on other candidates."""


def compare_bundles(
    old: Bundle, new: Bundle, exact: bool, prepared: tuple[Path, Path]
) -> Iterator[RebuildStep]:
    """Compare the result of each stage with the record, in the order of the stages.

    Args:
        old: the recorded bundle.
        new: the rebuilt one.
        exact: whether bytes must repeat here; otherwise other bytes are accepted.
        prepared: where the prepared data of both may be.
    """
    steps = [
        _compare_prepared(old, new, prepared),
        _compare_history(old, new),
        _compare_documents(
            "preprocessing", old.manifest.preprocessing, new.manifest.preprocessing, "every key"
        ),
        _compare_networks(old, new),
    ]
    for step in steps:
        accepted = step.state == "different" and not exact
        text = f"not required to repeat here: {step.text}"
        yield RebuildStep(step.stage, "within_tolerance", text) if accepted else step
    last = _compare_evaluation(old, new)
    yield last if exact or last.state == "identical" else _compare_scores(old, new)


def _folder_with_hash(parent: Path, wanted_hash: str) -> Path | None:
    folders = (path.parent for path in sorted(parent.glob(f"*/{REPORT}")))
    return next((path for path in folders if lineage.folder_hash(path) == wanted_hash), None)


def _compare_prepared(old: Bundle, new: Bundle, prepared: tuple[Path, Path]) -> RebuildStep:
    hashes = [str(each.manifest.lineage.prepared_sha256) for each in (old, new)]
    old_weights, new_weights = (
        {"external_weights": each.manifest.lineage.external_weights} for each in (old, new)
    )
    if hashes[0] == hashes[1]:
        text = f"{hashes[0][:12]}, every file"
        return _compare_documents("prepared", old_weights, new_weights, text)
    text = f"{hashes[0][:12]} recorded, {hashes[1][:12]} here"
    old_folder, new_folder = map(_folder_with_hash, prepared, hashes)
    if old_folder and new_folder:
        text += f"; {_first_file(old_folder, new_folder)}"
    return RebuildStep("prepared", "different", text)


def _first_file(old: Path, new: Path) -> str:
    old_files, new_files = lineage.files(old), lineage.files(new)
    for name in sorted({*old_files, *new_files}):
        if name not in new_files:
            return f"{name} is missing here"
        if name not in old_files:
            return f"{name} is new here"
        if sha256_file(old_files[name]) != sha256_file(new_files[name]):
            return f"the first file is {name}"
    return "the files are equal now; they were different when the model was trained"


def _compare_history(old: Bundle, new: Bundle) -> RebuildStep:
    old_steps, new_steps = (_read_json(each, "history.json") or [] for each in (old, new))
    for number, (old_step, new_step) in enumerate(zip(old_steps, new_steps, strict=False), start=1):
        differing = list(differences(old_step, new_step))
        if differing:
            text = f"step {number} of {len(old_steps)}, {format_differences(differing[:1])}"
            return RebuildStep("history", "different", text)
    if len(old_steps) != len(new_steps):
        text = f"{len(old_steps)} steps recorded, {len(new_steps)} here"
        return RebuildStep("history", "different", text)
    return RebuildStep("history", "identical", f"{len(old_steps)} steps, every metric")


def _compare_networks(old: Bundle, new: Bundle) -> RebuildStep:
    old_hashes, new_hashes = _network_hashes(old), _network_hashes(new)
    for name in dict.fromkeys([*old_hashes, *new_hashes]):
        if name not in old_hashes or name not in new_hashes:
            side = "here" if name in new_hashes else "in the record"
            return RebuildStep("networks", "different", f"{name} is only {side}")
        if old_hashes[name] != new_hashes[name]:
            text = f"{name} is {old_hashes[name][:12]} recorded, {new_hashes[name][:12]} here"
            text += f"; {first_difference(old.folder / name, new.folder / name)}"
            return RebuildStep("networks", "different", text)
    text = ", ".join(f"{name} {sha256[:12]}" for name, sha256 in old_hashes.items())
    return RebuildStep("networks", "identical", text)


def _network_hashes(bundle: Bundle) -> dict[str, str]:
    files = bundle.manifest.files
    return {name: files[name].sha256 for name in files if name.endswith(NETWORK_SUFFIX)}


def _compare_evaluation(old: Bundle, new: Bundle) -> RebuildStep:
    text = "every score and reference"
    return _compare_documents("evaluation", _evaluation(old), _evaluation(new), text)


def _evaluation(bundle: Bundle) -> dict[str, Any]:
    metrics = bundle.manifest.metrics
    scores = metrics.model_dump(include=set(_SPLITS)) if metrics else {}
    return {"metrics": scores, "reference": _read_json(bundle, "reference.json")}


def _compare_scores(old: Bundle, new: Bundle) -> RebuildStep:
    old_scores, new_scores = _flat_scores(old), _flat_scores(new)
    pairs = {name: (old_scores[name], new_scores.get(name, float("nan"))) for name in old_scores}
    outside = {
        name: pair for name, pair in pairs.items() if not abs(pair[0] - pair[1]) <= TOLERANCE
    }
    if outside or not pairs:
        name, pair = next(iter(outside.items()), ("scores", (float("nan"), float("nan"))))
        text = f"{name}: {pair[0]:.4f} recorded, {pair[1]:.4f} here; the tolerance is {TOLERANCE}"
        return RebuildStep("evaluation", "different", text)
    text = "; ".join(f"{name} {pair[0]:.4f} and {pair[1]:.4f}" for name, pair in pairs.items())
    return RebuildStep("evaluation", "within_tolerance", f"within {TOLERANCE}: {text}")


def _flat_scores(bundle: Bundle) -> dict[str, float]:
    """Accuracy and macro-F1 of each split."""
    splits = {name: getattr(bundle.manifest.metrics, name, None) for name in _SPLITS}
    return {
        f"{name}.{score}": getattr(scores, score)
        for name, scores in splits.items()
        if scores
        for score in SCORES
    }


def _compare_documents(stage: str, old: Any, new: Any, text_if_equal: str) -> RebuildStep:
    differing = list(differences(old, new))
    if differing:
        return RebuildStep(stage, "different", format_differences(differing[:1]))
    return RebuildStep(stage, "identical", text_if_equal)


def _read_json(bundle: Bundle, name: str) -> Any:
    path = bundle.folder / name
    return json.loads(path.read_text(encoding="utf-8")) if name in bundle.manifest.files else None
