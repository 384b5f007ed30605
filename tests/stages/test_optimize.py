"""Promises of the optimize stage, on small trained networks and their data."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small
import yaml
from project import mien

from mien import pipeline, tasks
from mien.config import RunConfig
from mien.errors import BundleError
from mien.model import bundle, runtime
from mien.model.bundle import Bundle
from mien.model.evaluation import Evaluation
from mien.stages import Run, evaluate, optimize, register
from mien.storage.workspace import DATA, RESULT, VARIANTS, Workspace, read_latest

pytestmark = pytest.mark.long


FREE = small.ANY.model_copy(update={"max_score_drop": 0.5, "max_latency_increase": 100})
"""Lets the size decide alone: scores of int8 and times depend on the machine."""


def asked(task: str, *forms: str) -> RunConfig:
    run = {"gesture": small.GESTURE, "emotion": small.EMOTION}[task]
    return run.model_copy(update={"variants": forms, "policy": FREE})


def trained(run: RunConfig, workspace: Workspace) -> Path:
    return read_latest(workspace.trained(run.task), run.name, "")


def bundles(run: RunConfig, workspace: Workspace) -> dict[str, Bundle]:
    folder = trained(run, workspace)
    return {path.parent.name: bundle.read(path.parent) for path in folder.glob("*/bundle.json")}


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Fewer examples, for the time it takes: no promise here depends on their number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimize, "CALIBRATION", 36)
        yield


@pytest.fixture(scope="module")
def workspace(small_models: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the small models, to be added to."""
    home = tmp_path_factory.mktemp("optimize") / "home"
    shutil.copytree(small_models.home, home)
    return Workspace(home)


@pytest.fixture(scope="module")
def made(workspace: Workspace) -> dict[str, Bundle]:
    """The candidate and its variants, made once for all tests of this file."""
    run = asked("emotion", "int8", "fp16")
    done = optimize.optimize(Run.resolve(run, workspace))
    assert set(done.fresh) == {"yolox-nano-int8", "yolox-nano-fp16"}
    assert not done.without
    return bundles(run, workspace)


def test_a_variant_is_a_bundle_that_says_what_it_was_made_from(made: dict[str, Bundle]) -> None:
    """Its own name and the digest of its origin; the same preprocessing and labels."""
    source = made["yolox-nano"]
    for form, share in (("int8", 0.5), ("fp16", 0.6)):
        variant = made[f"yolox-nano-{form}"]
        origin = variant.manifest.lineage.variant
        assert origin is not None
        assert variant.manifest.candidate == f"yolox-nano-{form}"
        assert (origin.form, origin.base, origin.digest) == (form, "yolox-nano", source.digest)
        assert set(origin.libraries) == {"onnx", "onnxruntime"}
        assert variant.manifest.preprocessing == source.manifest.preprocessing
        assert variant.manifest.labels == source.manifest.labels
        assert variant.megabytes < share * source.megabytes
        rest = variant.manifest.lineage.model_copy(update={"variant": None})
        assert rest == source.manifest.lineage


def test_ranges_are_found_on_training_examples(made: dict[str, Bundle]) -> None:
    """For int8 alone, through `predict`: a form without ranges asks for no example."""
    origins = {f: made[f"yolox-nano-{f}"].manifest.lineage.variant for f in ("int8", "fp16")}
    counted = {form: origin.calibrated_on for form, origin in origins.items() if origin}
    assert counted["fp16"] == 0
    assert optimize.CALIBRATION / 2 < counted["int8"] <= optimize.CALIBRATION


def test_the_examples_come_from_the_whole_training_split(workspace: Workspace) -> None:
    """A split may be sorted by label: nearly all are there, and neither val nor test is read."""
    run = asked("gesture")
    task, read = tasks.load("gesture"), set()
    given = task.data.examples

    def examples(ready: Path, split: str) -> object:
        read.add(split)
        return given(ready, split)  # type: ignore[arg-type]

    watched = replace(task, data=replace(task.data, examples=examples))  # type: ignore[arg-type]
    ready = read_latest(workspace.processed("gesture"), run.name, "")
    found = [example.label for example in optimize._spread(watched, ready)]
    assert read == {"train"}
    assert len(set(found)) > len(task.default_labels) / 2
    assert optimize.CALIBRATION / 2 < len(found) <= optimize.CALIBRATION


def test_a_variant_answers_as_its_origin_does(
    workspace: Workspace, made: dict[str, Bundle]
) -> None:
    """Through the session that serves. The scores of all classes are compared, not the labels: on
    some processors a detector that has learned for seconds tells no label from another."""
    task = tasks.load("emotion")
    ready = read_latest(workspace.processed("emotion"), small.EMOTION.name, "")
    examples = list(task.data.examples(ready, "val"))
    scores = {}
    for name, each in made.items():
        with runtime.RecordingModel(bundle.read(each.folder)) as model:
            for example in examples:
                task.inference.predict(example.request, model)
            # Boxes and objectness are before them.
            scores[name] = np.concatenate([run[0][..., 5:].ravel() for _, _, run in model.recorded])
    for form, least in (("int8", 0.9), ("fp16", 0.999)):
        alike = np.corrcoef(scores[f"yolox-nano-{form}"], scores["yolox-nano"])[0, 1]
        assert alike > least, form


def test_a_second_call_does_nothing_and_a_lost_variant_comes_back_byte_for_byte(
    workspace: Workspace, made: dict[str, Bundle]
) -> None:
    """What it was made of decides every byte; what lies there whole is not made again."""
    run = asked("emotion", "int8", "fp16")
    assert optimize.optimize(Run.resolve(run, workspace)).fresh == ()
    (made["yolox-nano-int8"].folder / "model.onnx").unlink()
    assert optimize.optimize(Run.resolve(run, workspace)).fresh == ("yolox-nano-int8",)
    again = bundles(run, workspace)
    assert {name: each.digest for name, each in again.items()} == {
        name: each.digest for name, each in made.items()
    }


def test_classifiers_have_nothing_to_make_smaller(workspace: Workspace) -> None:
    """It is said of each, no variant is made, and evaluation does not wait for one."""
    run = asked("gesture", "int8")
    before = bundles(run, workspace)
    done = optimize.optimize(Run.resolve(run, workspace))
    assert set(done.without) == set(before) == set(bundles(run, workspace))
    assert all("nothing to make smaller" in why for why in done.without.values())
    assert len(evaluate._bundles(trained(run, workspace), run.variants)) == len(before)


def test_variants_take_part_only_where_a_run_asks_for_them(
    workspace: Workspace, made: dict[str, Bundle]
) -> None:
    """They lie beside the candidate, and a run of another config does not see them."""
    folder = trained(asked("emotion"), workspace)
    for forms, names in (
        ((), ["yolox-nano"]),
        (("fp16",), ["yolox-nano", "yolox-nano-fp16"]),
        (("int8", "fp16"), sorted(made)),
    ):
        taking_part = evaluate._bundles(folder, asked("emotion", *forms).variants)
        assert [each.manifest.candidate for each in taking_part] == names


def test_a_variant_that_is_missing_or_of_another_training_is_told(
    workspace: Workspace, made: dict[str, Bundle], tmp_path: Path
) -> None:
    """With the command that makes it."""
    source = made["yolox-nano"].folder
    bundle.copy(source, tmp_path / "yolox-nano")
    with pytest.raises(BundleError, match="mien optimize"):
        evaluate._bundles(tmp_path, ("int8",))
    bundle.copy(made["yolox-nano-int8"].folder, tmp_path / "yolox-nano-int8")
    assert len(evaluate._bundles(tmp_path, ("int8",))) == 2
    other = made["yolox-nano"].manifest
    bundle.write(
        tmp_path / "yolox-nano",
        other.model_copy(update={"lineage": other.lineage.model_copy(update={"seed": 7})}),
    )
    with pytest.raises(BundleError, match="mien optimize"):
        evaluate._bundles(tmp_path, ("int8",))


def test_the_policy_may_make_a_variant_champion(
    workspace: Workspace, made: dict[str, Bundle], tmp_path: Path
) -> None:
    """Measured as every candidate is, chosen by size where the policy bears its loss, registered
    like any version; the command, called afterwards, has nothing to do and shows the table."""
    run = asked("emotion", "int8", "fp16")
    fresh, done = pipeline.optimize(run, workspace)
    assert (fresh, done.fresh) == ((), True)
    evaluation = Evaluation.read(done.folder)
    rows = {row.candidate: row for row in evaluation.candidates}
    assert set(rows) == set(made)
    assert rows["yolox-nano"].variant is None
    comparison = rows["yolox-nano-int8"].variant
    assert comparison is not None
    assert comparison.base == "yolox-nano"
    assert comparison.cpu_ratio.low > 0
    assert evaluation.choice == "yolox-nano-int8"
    # A network of one epoch has learnt nothing, which the registry would hold back.
    registered = register.register(Run.resolve(run, workspace), force="a test")
    assert (registered.alias, registered.fresh) == ("champion", True)
    served = bundle.read(workspace.version("emotion", registered.number))
    assert served.manifest.lineage.variant == made["yolox-nano-int8"].manifest.lineage.variant
    assert "yolox-nano-int8" in (served.folder / "card.md").read_text(encoding="utf-8")
    config = tmp_path / f"{run.name}.yaml"
    config.write_text(yaml.safe_dump(run.model_dump(mode="json", exclude={"name"})))
    again = mien("optimize", str(config), home=workspace.home)
    assert again.returncode == 0, again.stderr
    assert "Variants and their base candidates" in again.stdout
    assert f"made: nothing new; {done.folder}" in again.stdout


def test_what_has_no_variant_is_written_down(workspace: Workspace, made: dict[str, Bundle]) -> None:
    """Beside the trained bundles, for the evaluation and its table."""
    folder = trained(asked("emotion"), workspace)
    assert (folder / DATA).is_file()
    assert json.loads((folder / VARIANTS).read_text(encoding="utf-8")) == {"without": {}}
    assert not (folder / RESULT).exists()
