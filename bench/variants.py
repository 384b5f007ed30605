"""Smaller variants of the candidates of the demo, and of `bench emotion` if it was run.

What a variant costs in time depends on how much each layer computes, so networks without training
are timed for larger pictures too. Variants of one model are always asked in turn.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from bench import page
from mien import config, pipeline, tasks
from mien.config import FORMS, RunConfig
from mien.model import bundle, runtime, variants
from mien.model.evaluation import CandidateScores, Evaluation
from mien.model.runtime import Model, RecordingModel, Session
from mien.reporting import scores
from mien.stages import optimize
from mien.storage.workspace import DATA, Workspace, read_latest
from mien.task import Example
from mien.tasks.emotion import networks
from mien.tasks.emotion.params import LABELS

EXAMPLES = 200
SIDES = (96, 320, 640)
SIZES = ("yolox-nano", "yolov9-t")
ROUNDS = 20
NETWORK = "model.onnx"
_MOVING = ("Concat", "Resize", "Slice", "Split")
WAYS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "layers and operations between them (as in the product)": (False, variants._BETWEEN),
    "layers only": (False, ()),
    "also operations that move numbers": (False, (*variants._BETWEEN, *_MOVING)),
    "also operations after the last layer": (True, (*variants._BETWEEN, *_MOVING)),
}
"""Whether operations after the last layer are in 8 bits, and which operators besides layers."""


@dataclass(frozen=True)
class Times:
    """Milliseconds of repeated calls."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    """CPU time of the calling thread, which alone runs the network; other load has no effect."""


def main() -> None:
    """Make and measure the missing variants, and write the tables."""
    home = config.settings().home
    learnt = [(name, home) for name in ("sample_emotion", "sample_gesture")]
    real = home / "build" / "bench-emotion"
    learnt += [("emotion", real)] if real.is_dir() else []
    parts = []
    for name, folder in learnt:
        run = tasks.run_config(name)
        parts += [f"## `{name}.yaml`", candidates(run, Workspace(folder))]
        if run.task == "emotion":
            about = "Ways to quantise to 8 bits, on the validation split, measured in alternation:"
            parts += [about, page.table(ways(run, Workspace(folder)))]
    about = "Untrained networks; median CPU time of one picture, all forms measured in alternation."
    parts += ["## Larger pictures", about, page.table(list(sizes()))]
    page.write("variants", "Smaller variants", parts)


def candidates(run: RunConfig, workspace: Workspace) -> str:
    """The leaderboard, with latencies measured again, all forms of one candidate in alternation."""
    _, done = pipeline.optimize(run, workspace)
    evaluation = Evaluation.read(done.folder)
    times = _times(run, workspace, done.folder, evaluation)
    rows: list[dict[str, object]] = []
    for row in evaluation.candidates:
        name, of = row.candidate, row.base
        result = {
            "candidate": of,
            "variant": row.variant.form if row.variant else "",
            "MB": f"{row.bundle_mb:.2f}",
            "p50 ms": f"{np.median(times[name].wall):.2f}",
            "p95 ms": f"{np.percentile(times[name].wall, 95):.2f}",
            "CPU time": _ratio(times[name], times[of]),
        }
        for score, words in (("macro_f1", "macro-F1"), ("map50_95", "mAP50-95")):
            result |= {
                f"{split} {words}": each.named()[score]
                for split, each in (("val", row.val), ("test", row.test))
                if score in each.named()
            }
        rows.append({**result, "chosen": _outcome(row, evaluation)})
    return page.table(rows)


def ways(run: RunConfig, workspace: Workspace) -> list[dict[str, object]]:
    """Compare which operations to compute in 8 bits, for the first candidate of a run."""
    task = tasks.load(run.task)
    trained = read_latest(workspace.trained(run.task), run.name, "Train first.")
    ready = workspace.processed(run.task) / (trained / DATA).read_text(encoding="utf-8").strip()
    source = optimize._candidates(trained)[0]
    examples = list(task.data.examples(ready, "val"))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        models = {"float32": stack.enter_context(Model(source))}
        listening = stack.enter_context(RecordingModel(source))
        feeds = list(optimize._feeds(task, listening, ready, NETWORK))
        for way, (all_of_it, between) in WAYS.items():
            target = Path(folder) / str(len(models))
            shutil.copytree(source.folder, target)
            folded = target.with_suffix(".onnx")
            after = variants._fold(source.folder / NETWORK, folded)
            kept = [] if all_of_it else after
            variants._to_int8(folded, target / NETWORK, feeds, kept, between)
            models[way] = stack.enter_context(Model(bundle.write(target, source.manifest)))
        calls = [
            {
                way: partial(task.inference.predict, each.request, model)
                for way, model in models.items()
            }
            for each in examples[:EXAMPLES]
        ]
        times = _in_turn(calls)
        return [_way(way, model, task, examples, times) for way, model in models.items()]


def _way(
    way: str, model: Model, task: Any, examples: Sequence[Example], times: dict[str, Times]
) -> dict[str, object]:
    answers = [
        scores.scored(each, task.inference.predict(each.request, model), 0.0) for each in examples
    ]
    found = scores.summary(answers, task.default_labels).named()
    return {
        "in 8 bits": way,
        "MB": f"{model.bundle.manifest.files[NETWORK].bytes / 1e6:.2f}",
        "CPU time": _ratio(times[way], times["float32"]),
        **{f"val {name}": found[name] for name in ("macro_f1", "map50", "map50_95")},
    }


def sizes() -> Iterator[dict[str, object]]:
    """File size and time of one picture, for each form, network and picture side."""
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            network = networks.build(size, LABELS, 0, None)[0]
            for side in SIDES:
                path = Path(folder) / f"{size}-{side}.onnx"
                networks.export(network, size, networks.family(size).spec(side), path)
                yield {"network": size, "side": side, **_forms(path, side)}


def _forms(path: Path, side: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    feeds = [{"images": rng.random((1, 3, side, side), np.float32)} for _ in range(4)]
    paths: dict[str, Path] = {"fp32": path}
    for form in FORMS:
        paths[form] = path.with_suffix(f".{form}.onnx")
        variants.convert(path, paths[form], form, feeds)
    sessions = {name: Session(each) for name, each in paths.items()}
    calls = {name: partial(each.run, feeds[0]) for name, each in sessions.items()}
    times = _in_turn([calls] * ROUNDS)
    result: dict[str, object] = {}
    for name, each in paths.items():
        result |= {
            f"{name} MB": f"{each.stat().st_size / 1e6:.2f}",
            f"{name} ms": _middle(times[name]),
        }
    return {**result, "int8 / fp32": _ratio(times["int8"], times["fp32"])}


def _times(
    run: RunConfig, workspace: Workspace, folder: Path, evaluation: Evaluation
) -> dict[str, Times]:
    """Times of each candidate for the same validation examples, in alternation."""
    task = tasks.load(run.task)
    ready = workspace.processed(run.task) / evaluation.data
    names = [row.candidate for row in evaluation.candidates]
    models = {name: runtime.load(folder / name) for name in names}
    examples = list(islice(task.data.examples(ready, "val"), EXAMPLES))
    return _in_turn(
        [
            {
                name: partial(task.inference.predict, each.request, model)
                for name, model in models.items()
            }
            for each in examples
        ]
    )


def _in_turn(rounds: Sequence[Mapping[str, Callable[[], object]]]) -> dict[str, Times]:
    """Times of each call, in alternation; the first round is a warm-up."""
    times = {name: Times() for name in rounds[0]}
    for place, calls in enumerate([rounds[0], *rounds]):
        for name, call in calls.items():
            wall, processor = perf_counter(), thread_time()
            call()
            if place:
                times[name].processor.append((thread_time() - processor) * 1000)
                times[name].wall.append((perf_counter() - wall) * 1000)
    return times


def _middle(times: Times) -> str:
    return f"{np.median(times.processor):.2f}"


def _ratio(one: Times, other: Times) -> str:
    return f"x {np.median(one.processor) / np.median(other.processor):.2f}"


def _outcome(row: CandidateScores, evaluation: Evaluation) -> str:
    if row.candidate == evaluation.choice:
        return "yes"
    return row.fault or evaluation.without.get(row.candidate, "")


if __name__ == "__main__":
    main()
