"""A rebuilt bundle against the recorded one: the first stage that differs, and by what.

Where bytes cannot be promised only the scores are compared, within a tolerance.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mien.model import lineage
from mien.model.bundle import Bundle
from mien.storage.files import sha256_file
from mien.storage.workspace import REPORT, Workspace

from .steps import Step, differences, summary

TOLERANCE = 0.02
"""Of accuracy and macro-F1, on another processor or system, where other last digits of sums move
single answers. Set, not measured: a second kind of processor was not at hand."""
SCORES = ("accuracy", "macro_f1")
_NOT_SCORES = ("latency", "cpu_cost", "leaderboard", "bundle_mb")
"""Metrics that depend on the machine, on other candidates, or on the card."""


def stages(old: Bundle, new: Bundle, exact: bool, where: "PreparedFolders") -> Iterator[Step]:
    """Hold what each stage left against the record, in the order of the stages.

    Args:
        old: the recorded bundle.
        new: the rebuilt one.
        exact: whether bytes are promised here; if not, other ones are told and borne.
        where: the prepared data of both.
    """
    found = [
        _prepared(old, new, where),
        _history(old, new),
        _same("preprocessing", old.manifest.preprocessing, new.manifest.preprocessing, "every key"),
        _networks(old, new),
    ]
    for step in found:
        borne = step.state == "different" and not exact
        excuse = f"not promised here: {step.text}"
        yield Step(step.stage, "within_tolerance", excuse) if borne else step
    last = _evaluation(old, new)
    yield last if exact or last.state == "identical" else _scores(old, new)


class PreparedFolders:
    """Where the prepared data of a record and of its rebuild may lie."""

    def __init__(self, task: str, workspace: Workspace, scratch: Workspace) -> None:
        self._old, self._new = workspace.processed(task), scratch.processed(task)

    def pair(self, old_hash: str, new_hash: str) -> tuple[Path, Path] | None:
        """Both folders; None where one is gone."""
        old, new = _of_hash(self._old, old_hash), _of_hash(self._new, new_hash)
        return (old, new) if old and new else None


def _of_hash(folder: Path, wanted: str) -> Path | None:
    found = (path.parent for path in sorted(folder.glob(f"*/{REPORT}")))
    return next((each for each in found if lineage.folder_hash(each) == wanted), None)


def _prepared(old: Bundle, new: Bundle, where: PreparedFolders) -> Step:
    hashes = [str(each.manifest.lineage.get("prepared_sha256")) for each in (old, new)]
    then, now = (
        {"external_weights": each.manifest.lineage.get("external_weights")} for each in (old, new)
    )
    if hashes[0] == hashes[1]:
        return _same("prepared", then, now, f"{hashes[0][:12]}, every file")
    text = f"{hashes[0][:12]} recorded, {hashes[1][:12]} here"
    pair = where.pair(*hashes)
    if pair:
        text += f"; {_first_file(*pair)}"
    return Step("prepared", "different", text)


def _first_file(old: Path, new: Path) -> str:
    then, now = lineage.files(old), lineage.files(new)
    for name in sorted({*then, *now}):
        if name not in now:
            return f"{name} is missing here"
        if name not in then:
            return f"{name} is new here"
        if sha256_file(then[name]) != sha256_file(now[name]):
            return f"the first file is {name}"
    return "the files are the same, and were others when the model was trained"


def _history(old: Bundle, new: Bundle) -> Step:
    then, now = (_json(each, "history.json") or [] for each in (old, new))
    for place, (one, two) in enumerate(zip(then, now, strict=False), start=1):
        found = list(differences(one, two))
        if found:
            return Step(
                "history", "different", f"step {place} of {len(then)}, {summary(found[:1])}"
            )
    if len(then) != len(now):
        return Step("history", "different", f"{len(then)} steps recorded, {len(now)} here")
    return Step("history", "identical", f"{len(then)} steps, every metric")


def _networks(old: Bundle, new: Bundle) -> Step:
    then, now = _weights(old), _weights(new)
    for name in dict.fromkeys([*then, *now]):
        if name not in then or name not in now:
            place = "here alone" if name in now else "in the record alone"
            return Step("networks", "different", f"{name} is {place}")
        if then[name] != now[name]:
            text = f"{name} is {then[name][:12]} recorded, {now[name][:12]} here"
            if name.endswith(".onnx"):
                from .networks import first_difference

                text += f"; {first_difference(old.folder / name, new.folder / name)}"
            return Step("networks", "different", text)
    return Step(
        "networks", "identical", ", ".join(f"{name} {each[:12]}" for name, each in then.items())
    )


def _weights(opened: Bundle) -> dict[str, str]:
    files = opened.manifest.files
    return {name: files[name].sha256 for name in files if name.endswith((".onnx", ".task"))}


def _evaluation(old: Bundle, new: Bundle) -> Step:
    then, now = (
        {"metrics": _measured(each), "reference": _json(each, "reference.json")}
        for each in (old, new)
    )
    return _same("evaluation", then, now, "every score and reference")


def _measured(opened: Bundle) -> dict[str, Any]:
    metrics = opened.manifest.metrics
    return {name: value for name, value in metrics.items() if name not in _NOT_SCORES}


def _scores(old: Bundle, new: Bundle) -> Step:
    then, now = (_flat(_measured(each)) for each in (old, new))
    pairs = {name: (then[name], now.get(name, float("nan"))) for name in then}
    far = {
        name: (one, two) for name, (one, two) in pairs.items() if not abs(one - two) <= TOLERANCE
    }
    if far or not pairs:
        name, (one, two) = next(iter(far.items()), ("scores", (float("nan"), float("nan"))))
        text = f"{name}: {one:.4f} recorded, {two:.4f} here; at most {TOLERANCE} is borne"
        return Step("evaluation", "different", text)
    told = "; ".join(f"{name} {one:.4f} and {two:.4f}" for name, (one, two) in pairs.items())
    return Step("evaluation", "within_tolerance", f"within {TOLERANCE}: {told}")


def _flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Accuracy and macro-F1 of each split."""
    return {
        f"{split}.{score}": float(values[score])
        for split, values in metrics.items()
        if isinstance(values, Mapping)
        for score in SCORES
        if score in values
    }


def _same(stage: str, old: Any, new: Any, what: str) -> Step:
    found = list(differences(old, new))
    if found:
        return Step(stage, "different", summary(found[:1]))
    return Step(stage, "identical", what)


def _json(opened: Bundle, name: str) -> Any:
    path = opened.folder / name
    return json.loads(path.read_text(encoding="utf-8")) if name in opened.manifest.files else None
