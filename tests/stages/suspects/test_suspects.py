"""Labels that are flipped in drawn data are found, and corrected in a new version."""

import csv
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from html_page import Page, require_self_contained

from mien import pipeline, tasks
from mien.config import RunConfig
from mien.errors import DataError
from mien.stages import Run, suspects
from mien.storage.versions import Store
from mien.storage.workspace import Workspace
from mien.task import Inspection, RepairPlan, Split

FLIPPED = 15
_KEPT = 3
"""One of so many drawn samples stays: the others would only cost time."""


TASKS = [
    pytest.param(name, marks=[pytest.mark.long] if name == "emotion" else [])
    for name in tasks.names()
]
"""Faces are drawn, written and read again for many seconds."""


@pytest.fixture(params=TASKS)
def flipped(
    request: pytest.FixtureRequest, drawn_samples: Callable[[str], Path], tmp_path: Path
) -> tuple[Run, dict[str, str]]:
    """A run on the drawn sample of a task with wrong labels, and the right ones by name."""
    name: str = request.param
    raw = tmp_path / "flipped"
    raw.mkdir()
    run = Run.resolve(
        RunConfig(name=name, task=name, source=str(raw)), Workspace(tmp_path / "home")
    )
    drawn = drawn_samples(name)
    before = run.task.data.inspect(drawn, run.params, tmp_path)
    chance = random.Random(0)
    chosen = chance.sample([each for each in before.samples[::_KEPT] if each.labels], FLIPPED)
    labels = before.labels or run.task.default_labels
    wrong = {
        each.name: chance.choice([label for label in labels if label not in each.labels])
        for each in chosen
    }
    plan = RepairPlan(drop=_dropped(before), relabel=wrong, repair=False)
    run.task.data.repair(drawn, raw, plan, run.params, tmp_path)
    return run, {each.name: each.labels[0] for each in chosen}


def _dropped(inspection: Inspection) -> frozenset[str]:
    return frozenset(each.name for number, each in enumerate(inspection.samples) if number % _KEPT)


def inspected(run: Run, version: str, folder: Path) -> Inspection:
    folder.mkdir()
    run.store.write(run.store.find(version), folder)
    return run.task.data.inspect(folder, run.params, run.cache)


def contents(inspection: Inspection) -> list[tuple[str, tuple[str, ...], Split | None]]:
    return sorted(((each.digest, each.labels, each.split) for each in inspection.samples), key=str)


def correct(path: Path, labels: Mapping[str, str]) -> None:
    """Write right labels into a ranking, as a person does."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "label": labels.get(row["name"], row["label"])} for row in rows)


def test_flipped_labels_are_found_and_corrected(
    flipped: tuple[Run, dict[str, str]], drawn_samples: Callable[[str], Path], tmp_path: Path
) -> None:
    """Nearly all flipped labels are the first suspects; with them corrected, the new version
    holds the drawn sample again, in its splits, and the old one is as it was."""
    run, right = flipped
    found = pipeline.suspects(run.config, run.workspace)
    first = [each for each in found.ranked[: 2 * FLIPPED] if each.name in right]
    assert len(first) >= 0.9 * FLIPPED
    assert sum(each.suggested_label == right[each.name] for each in first) >= 0.6 * len(first)
    require_page(run, found)
    old = run.store.versions()[0]
    correct(found.csv, right)
    new = pipeline.relabel(run.config, run.workspace, found.csv)
    assert (new.parent, run.store.latest_root) == (old.root, new.root)
    assert new.reason == f"relabelled: {FLIPPED} samples"
    truth = run.task.data.inspect(drawn_samples(run.task.name), run.params, run.cache)
    rest = replace(truth, samples=truth.samples[::_KEPT])
    assert contents(inspected(run, new.root, tmp_path / "new")) == contents(rest)
    wrong = inspected(run, old.root, tmp_path / "old")
    assert sum(each.labels[:1] != (right.get(each.name),) for each in wrong.samples
               if each.name in right) == FLIPPED  # fmt: skip


def require_page(run: Run, found: suspects.Suspects) -> None:
    """Hands with their bones or faces as pictures, the given and the suspected label."""
    text = found.page.read_text(encoding="utf-8")
    require_self_contained(text)
    page, hands = Page(text), len(Page(text).all("svg"))
    assert len(page.all("img")) + hands == min(len(found.ranked), suspects.page.MAX_SHOWN)
    assert len(page.all("line")) == len(run.task.inference.skeleton) * hands
    assert f"suspected {found.ranked[0].suggested_label}" in page.text
    assert found.ranked[0].name in page.text


@pytest.fixture(scope="module")
def ranked_hands(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Workspace, Path]:
    """A ranking of few drawn hands."""
    home = tmp_path_factory.mktemp("ranked")
    config, workspace = hands(home)
    return config, workspace, pipeline.suspects(config, workspace).csv


def hands(home: Path) -> tuple[RunConfig, Workspace]:
    """A run on few hands of two labels that lie apart."""
    rng = np.random.default_rng(0)
    lines = [",".join([f"{axis}{point}" for point in range(1, 22) for axis in "xyz"]) + ",label"]
    shapes = rng.uniform(100, 300, (2, 63))
    for number in range(80):
        hand = shapes[number % 2] + rng.normal(0, 8, 63)
        lines.append(
            ",".join(f"{value:.2f}" for value in hand) + f",{['fist', 'palm'][number % 2]}"
        )
    (home / "hands.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    params = {"convention": "pixels"}
    config = RunConfig(name="hands", task="gesture", source=str(home / "hands.csv"), params=params)
    return config, Workspace(home)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\nnobody:7,fist\n", "1 other names (nobody:7)"),
        ("name,label\nhands.csv:2,fits\n", "Did you mean 'fist'?"),
        ("name,label\nhands.csv:2,\n", "expected one of fist, palm; found ''"),
        ("name,suggested_label\nhands.csv:2,fist\n", "expected the columns name and label"),
        ("name,label\nhands.csv:2,fist\n", "expected corrected labels"),
        ("name,label\nhands.csv:2,fist\nhands.csv:2,palm\n", "Delete one of the rows"),
        ("", "expected the columns name and label"),
    ],
)
def test_corrections_that_cannot_be_made_are_refused(
    ranked_hands: tuple[RunConfig, Workspace, Path], tmp_path: Path, text: str, message: str
) -> None:
    """The message says what is wrong, and no version is made."""
    config, workspace, _ = ranked_hands
    path = tmp_path / "corrected.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        pipeline.relabel(config, workspace, path)
    assert message in str(error.value)
    assert len(Store(workspace.raw("gesture")).versions()) == 1


def test_a_file_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """With a byte order mark, semicolons and line ends of Windows."""
    config, workspace = hands(tmp_path)
    path = tmp_path / "corrected.csv"
    path.write_bytes(b"\xef\xbb\xbfname;split;label\r\nhands.csv:2;train;palm\r\n")
    assert pipeline.relabel(config, workspace, path).reason == "relabelled: 1 samples"


def test_corrections_are_not_written_over(
    ranked_hands: tuple[RunConfig, Workspace, Path],
) -> None:
    """A second ranking of the same version writes the same file, and no other one."""
    config, workspace, path = ranked_hands
    text = path.read_text(encoding="utf-8")
    assert pipeline.suspects(config, workspace).csv.read_text(encoding="utf-8") == text
    path.write_text(text.replace("fist", "palm", 1), encoding="utf-8")
    with pytest.raises(DataError, match="perhaps your corrections"):
        pipeline.suspects(config, workspace)
    path.write_text(text, encoding="utf-8")


def test_a_task_without_features_is_refused(
    ranked_hands: tuple[RunConfig, Workspace, Path],
) -> None:
    """The message names what is missing."""
    config, workspace, _ = ranked_hands
    run = Run.resolve(config, workspace)
    data = replace(run.task.data, label_features=None)
    bare = replace(run, task=replace(run.task, data=data))
    with pytest.raises(DataError, match="expected label_features in its TaskData, found none"):
        suspects.suspects(bare, run.store.versions()[0])


def test_a_task_that_ignores_new_labels_stores_nothing(tmp_path: Path) -> None:
    """What a task writes is read again before it becomes a version."""
    config, workspace = hands(tmp_path)
    run = Run.resolve(config, workspace)
    found = pipeline.suspects(config, workspace)
    correct(found.csv, {"hands.csv:2": "palm"})

    def copy(raw: Path, out: Path, plan: RepairPlan, *rest: Path) -> tuple[str, ...]:
        return run.task.data.repair(raw, out, RepairPlan(repair=False), run.params, run.cache)

    deaf = replace(run, task=replace(run.task, data=replace(run.task.data, repair=copy)))
    with pytest.raises(DataError, match="cannot write these labels: 1 samples"):
        suspects.relabel(deaf, run.store.versions()[0], found.csv)
    assert len(run.store.versions()) == 1


def test_both_commands_say_what_to_do_next(tmp_path: Path, command_line: CommandLine) -> None:
    """The ranking names the command of the correction, which names that of the comparison."""
    config, _ = hands(tmp_path)
    chosen = ("gesture", "--source", str(config.source), "--set", "params.convention=pixels")
    done = command_line("data", "suspects", *chosen, home=tmp_path)
    path = tmp_path / "reports" / "gesture" / "suspects_1.csv"
    assert f"mien data relabel gesture {path}" in done.stdout.replace("\n", "")
    assert "80 labels ranked" in done.stdout
    correct(path, {"hands.csv:3": "fist"})
    done = command_line("data", "relabel", chosen[0], str(path), *chosen[1:], home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mien data diff gesture 1" in done.stdout
