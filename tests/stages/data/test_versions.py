"""Promises of `mien data log`, `diff`, `checkout` and `verify`."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mien import tasks
from mien.cli.options import app
from mien.config import RunConfig
from mien.errors import ConfigError, DataError
from mien.stages import Run, data
from mien.stages.data import sources, versions
from mien.stages.data.versions import SampleState
from mien.storage.versions import Store
from mien.storage.workspace import Workspace
from mien.tasks.emotion.sample import draw_face_image

PICTURES = {
    "train/a.png": SampleState("happy", "1", "train"),
    "train/b.png": SampleState("sad", "2", "train"),
    "test/c.png": SampleState("sad", "3", "test"),
}


def changed(**edits: SampleState | None) -> dict[str, SampleState]:
    """The three pictures with some others in their places; None takes one out."""
    names = {name.partition("/")[2][0]: name for name in PICTURES}
    edited = {names.get(key, key): each for key, each in edits.items()}
    return {name: each for name, each in {**PICTURES, **edited}.items() if each}


def differences(
    old: Mapping[str, SampleState], new: Mapping[str, SampleState]
) -> dict[str, object]:
    """What a difference names, without what it leaves empty."""
    found = vars(versions.compare(old, new))
    return {key: value for key, value in found.items() if value and key not in ("before", "after")}


def test_nothing_changed_between_equals() -> None:
    """Also where order differs."""
    assert differences(PICTURES, dict(reversed(PICTURES.items()))) == {}


def test_each_change_is_told_as_what_it_is() -> None:
    """Added, removed, relabelled, moved to another split, other pixels under the same name."""
    new = SampleState("happy", "9", "train")
    assert differences(PICTURES, changed(new=new)) == {"added": ("new",)}
    assert differences(PICTURES, changed(a=None)) == {"removed": ("train/a.png",)}
    relabelled = changed(a=SampleState("sad", "1", "train"))
    assert differences(PICTURES, relabelled) == {"relabelled": {"train/a.png": ("happy", "sad")}}
    moved = {**changed(a=None), "val/a.png": SampleState("happy", "1", "val")}
    assert differences(PICTURES, moved) == {"moved": {"val/a.png": ("train", "val")}}
    altered = changed(a=SampleState("happy", "9", "train"))
    assert differences(PICTURES, altered) == {"altered": ("train/a.png",)}
    both = versions.compare(PICTURES, relabelled)
    assert (both.before, both.after) == ({"happy": 1, "sad": 2}, {"sad": 3})


def test_copies_are_not_taken_for_one_another() -> None:
    """Of two equal pictures each stays in its own split, and with its own label."""
    old = {"a": SampleState("sad", "1", "train"), "b": SampleState("sad", "1", "test")}
    assert differences(old, {"x": old["b"], "y": old["a"]}) == {}
    other = {"a": SampleState("sad", "1", "train"), "b": SampleState("happy", "1", "train")}
    assert differences(other, {"x": other["b"], "y": other["a"]}) == {}


ROWS = st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 5)), max_size=12)


@given(old=ROWS, put=ROWS, place=st.integers(0, 12))
def test_rows_stay_themselves_when_lines_are_put_in(
    old: list[tuple[str, int]], put: list[tuple[str, int]], place: int
) -> None:
    """A row is named by its line; new lines before it add rows, and change none."""

    def listed(rows: list[tuple[str, int]]) -> dict[str, SampleState]:
        numbered = enumerate(rows)
        return {f"t.csv:{n}": SampleState(label, str(value), "") for n, (label, value) in numbered}

    found = versions.compare(listed(old), listed([*old[:place], *put, *old[place:]]))
    assert len(found.added) == len(put)
    assert (found.removed, found.relabelled, found.moved, found.altered) == ((), {}, {}, ())


@given(old=ROWS, new=ROWS)
def test_no_sample_is_counted_twice(old: list[tuple[str, int]], new: list[tuple[str, int]]) -> None:
    """What was there, without what was removed, with what was added, is what is there."""
    one, two = (
        {f"{n}": SampleState(label, str(value), "") for n, (label, value) in enumerate(rows)}
        for rows in (old, new)
    )
    found = versions.compare(one, two)
    assert len(old) - len(found.removed) + len(found.added) == len(new)


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    """A workspace with two versions of the gesture sample: one row is relabelled in the second."""
    workspace = Workspace(tmp_path / "home")
    tasks.load("gesture").data.write_sample(tmp_path, 0)
    path = tmp_path / "landmarks.csv"
    lines = path.read_text().splitlines()
    lines = [*lines[:21], *lines[-19:]]  # of two labels
    place = lines[0].split(",").index("label")
    for label in ("like", "rock"):
        fields = lines[5].split(",")
        fields[place] = label
        lines[5] = ",".join(fields)
        path.write_text("\n".join(lines) + "\n")
        run = RunConfig(name="run", task="gesture", source=str(path))
        resolved = Run.resolve(run, workspace)
        with data.accept_if_readable(resolved, data.fetch(resolved)[0]):
            pass
    return workspace


def ask(home: Workspace, *arguments: str, status: int = 0) -> str:
    """What `mien data` prints on a terminal of 80 columns."""
    done = CliRunner(env={"COLUMNS": "80", "MIEN_HOME": str(home.home)}).invoke(
        app, ["data", *arguments]
    )
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output
    return done.output


def test_the_log_fits_a_terminal(home: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    """One line for each version, the newest last, none wider than 80 columns."""
    lines = ask(home, "log", "gesture").splitlines()
    assert lines[0] == "Versions of gesture (now: 2)"
    assert [line.split()[0] for line in lines[2:]] == ["1", "2"]
    assert all(
        re.search(r" \d{4}-\d\d-\d\d \d\d:\d\d .*landmarks\.csv +fetched", row) for row in lines[2:]
    )
    assert max(map(len, lines)) <= 80


def test_a_difference_is_told_in_samples(
    home: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The relabelled row with both labels, and how many there were of each."""
    found = versions.diff("gesture", "1", None, home)
    assert list(found.relabelled.values()) == [("like", "rock")]
    assert (found.added, found.removed, found.altered) == ((), (), ())
    assert found.files == ("landmarks.csv",)
    out = ask(home, "diff", "gesture", "1", "2")
    assert "like -> rock" in out
    assert ask(home, "diff", "gesture", "2", "1").count("rock -> like") == 1
    assert "itself" not in capsys.readouterr().err
    versions.diff("gesture", "2", None, home)
    assert "Version 2 is compared with itself" in capsys.readouterr().err
    assert not list(home.raw("gesture").glob(".*"))


def test_versions_that_cannot_be_read_are_compared_by_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without names of classes; the setting that the message names makes samples of them."""
    workspace = Workspace(tmp_path / "home")
    store = Store(workspace.raw("emotion"))
    face = draw_face_image("happy")
    for count in (4, 5):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            face.resize((60 + number, 80)).save(folder / f"{number}.png")
            (folder / f"{number}.txt").write_text("4 0.5 0.5 0.4 0.6\n")
        with sources.open_source(str(folder), tmp_path / "cache") as opened:
            store.add(opened.items, opened.name)
    found = versions.diff("emotion", "1", "2", workspace)
    assert found.added == ("4.png", "4.txt")
    assert "Samples cannot be compared: The classes have no names" in capsys.readouterr().err
    names = ["params.names=affectnet8"]
    assert len(versions.diff("emotion", "1", "2", workspace, names).added) == 1
    with pytest.raises(ConfigError, match=r"expected params\.NAME=VALUE, found seed"):
        versions.diff("emotion", "1", "2", workspace, ["seed=1"])


def test_a_version_can_be_the_newest_again(home: Workspace) -> None:
    """The next run takes it, and nothing is lost."""
    ask(home, "checkout", "gesture", "1")
    latest = Store(home.raw("gesture")).latest()
    assert latest is not None
    assert latest.number == 1
    assert "(now: 1)" in ask(home, "log", "gesture")


def test_a_version_comes_back_as_plain_files(home: Workspace, tmp_path: Path) -> None:
    """In a new folder; one that is there is left alone."""
    first = Store(home.raw("gesture")).find("1")
    versions.checkout("gesture", first.short, tmp_path / "out", home)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["landmarks.csv"]
    with pytest.raises(DataError, match=r"exists\. Name a new folder"):
        versions.checkout("gesture", "2", tmp_path / "out", home)
    with pytest.raises(DataError, match="is no version"):
        versions.checkout("gesture", "9", None, home)
    latest = Store(home.raw("gesture")).latest()
    assert latest is not None
    assert latest.number == 2


def test_verify_says_all_is_well_or_what_is_not(home: Workspace) -> None:
    """Exit status 0 and one sentence, or 1 and the file at fault."""
    expected = "gesture, version 1, 2: every byte is as it was stored\n"
    assert ask(home, "verify", "gesture") == expected
    shard = next(home.raw("gesture").rglob("*.zip"))
    content = shard.read_bytes()
    assert b"label" in content
    shard.write_bytes(content.replace(b"label", b"lobel", 1))
    assert "lacks landmarks.csv" in ask(home, "verify", "gesture", status=1)


@pytest.mark.parametrize("command", ["log", "verify"])
def test_a_task_without_data_says_how_to_get_some(tmp_path: Path, command: str) -> None:
    """The first thing that one may try."""
    with pytest.raises(DataError, match="mien data gesture --source PATH"):
        getattr(versions, command)("gesture", Workspace(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["log", "gesture"], "(now: 2)"),
        (["--home", "HOME", "log", "gesture"], "(now: 2)"),
        (["--home=HOME", "log", "gesture"], "(now: 2)"),
        (["log", "--home", "HOME", "gesture"], "(now: 2)"),
        (["gesture"], "prepared:"),
        (["prepare", "gesture"], "prepared:"),
        (["--home", "HOME", "gesture"], "prepared:"),
        (["--set", "seed=3", "gesture", "--home", "HOME"], "prepared:"),
        (["--help"], "CONFIG"),
        (["gesture", "--help"], "--source"),
        (["log", "--help"], "List the versions"),
    ],
)
def test_options_stand_before_or_after(home: Workspace, arguments: list[str], words: str) -> None:
    """`mien data CONFIG` needs no name of a command, wherever its options stand."""
    given = [each.replace("HOME", str(home.home)) for each in arguments]
    small = ["--set", "params.val_fraction=0.3", "--set", "params.test_fraction=0.3"]
    small += ["--set", "params.ignore_labels=[rock]"]  # of which there is one
    assert words in ask(home, *given, *(small if words == "prepared:" else []))


@pytest.mark.parametrize("arguments", [["--bogus"], ["--source"], ["log"]])
def test_what_is_missing_is_a_usage_error(home: Workspace, arguments: list[str]) -> None:
    """Exit status 2, and which argument or option it is."""
    ask(home, *arguments, status=2)


def test_alone_it_shows_its_help(home: Workspace) -> None:
    """All that can be done with data, in one screen."""
    out = ask(home, status=2)
    assert all(name in out for name in ("prepare", "check", "log", "diff", "checkout", "verify"))
