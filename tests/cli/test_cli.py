"""Promises of the command line: it reads well, and no mistake ends in a traceback."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from command_line import CommandLine
from project import ROOT, free_port
from typer.main import get_command
from waiting import PATIENCE, until

from mien import tasks
from mien.cli import app
from mien.cli.predictions import format_prediction
from mien.storage.workspace import Workspace


def test_help_names_every_command(command_line: CommandLine) -> None:
    """A newcomer finds the way from `mien --help` alone."""
    done = command_line("--help", home=ROOT)
    for command in ("run", "data", "train", "evaluate", "register", "serve", "predict", "tasks"):
        assert f" {command} " in done.stdout
    assert done.returncode == 0


def help_pages(command: Any, name: str, above: Any = None) -> Iterator[tuple[str, Any, str]]:
    """Address, command and page of a command and of all below it, 80 columns wide."""
    context = command.context_class(command, info_name=name, parent=above, terminal_width=80)
    yield context.command_path, context, command.get_help(context)
    for part, each in getattr(command, "commands", {}).items():
        yield from help_pages(each, part, context)


def test_every_page_of_help_reads_well_in_80_columns() -> None:
    """Nothing is cut or of Python; every argument and option says what it means."""
    for path, context, page in help_pages(get_command(app), "mien"):
        assert [line for line in page.splitlines() if len(line) > 80] == [], path
        assert re.findall(r"<\w+.*?>|[{}]|\w\.\.\.$", page) == [], path
        for each in context.command.params:
            assert each.help, f"{path}: {each.name}"


@pytest.mark.parametrize(
    ("label", "outcome", "reason", "text"),
    [
        ("like", "ok", None, "gesture like 0.900 (ok)"),
        ("like", "unsure", "low_confidence", "gesture like 0.900 (unsure: low confidence)"),
        ("like", "unsure", "unlike_training", "gesture like 0.900 (unsure: unlike training)"),
        (None, "no_hand", None, "gesture: no_hand"),
    ],
)
def test_an_answer_says_whether_it_counts_and_why_not(
    label: str | None, outcome: str, reason: str | None, text: str
) -> None:
    """In the same words wherever a command prints one."""
    answer = {"gesture": label, "confidence": 0.9, "outcome": outcome, "unsure_reason": reason}
    assert format_prediction(answer) == text


@pytest.mark.skipif(sys.platform != "linux", reason="/sys is a folder where nobody may write")
def test_a_folder_that_cannot_be_written_is_named_with_advice(
    tmp_path: Path, command_line: CommandLine
) -> None:
    """What the system says, the path, and what to do."""
    done = command_line("run", "sample_gesture", "--home", "/sys/mien", home=tmp_path)
    assert done.returncode == 1
    assert "/sys/mien" in done.stderr
    assert "Name a folder that you may write to" in done.stderr


def test_the_recipes_are_listed_without_an_installation(tmp_path: Path) -> None:
    """A newcomer who asks for help, or misspells a recipe, does not install 6 GB first."""
    shutil.copy(ROOT / "tasks.py", tmp_path)
    for arguments, words in ((["--help"], "  demo  "), (["dmeo"], "expected one of bench, ")):
        done = subprocess.run(
            [sys.executable, "tasks.py", *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert words in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.py"]


@pytest.mark.parametrize("command", ["serve", "ui"])
def test_a_port_that_does_not_exist_is_refused(
    tmp_path: Path, command: str, command_line: CommandLine
) -> None:
    """Before a model is loaded or a database is made."""
    done = command_line(command, "--port", "99999", home=tmp_path)
    assert done.returncode == 2
    assert "Invalid value for '--port'" in done.stderr
    assert "Traceback" not in done.stderr


_ALL_HELPS = """
import sys
import typer.main
from mien.cli import app, main

def paths(command, path=()):
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from paths(child, (*path, name))

for path in paths(typer.main.get_command(app)):
    sys.argv = ["mien", *path, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, path
own = {"cli", "errors", "reporting"}
counts = {"mien.model", "mien.model.cpus"}  # asked before numpy is loaded; standard library alone
imported = set(sys.modules)
print(sorted({"json", "logging", "numpy", "pydantic", "rich", "yaml"} & imported))
mine = {n for n in imported if n.startswith("mien.")} - counts
print(sorted(n for n in mine if n.split(".")[1] not in own))
"""


def test_the_help_of_every_command_imports_no_library() -> None:
    """Neither rich nor pydantic, which typer can do without, nor a module of a stage: the import of
    any of them takes longer than the help."""
    done = subprocess.run(
        [sys.executable, "-c", _ALL_HELPS], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: mien") > 20
    assert done.stdout.splitlines()[-2:] == ["[]", "[]"]


def test_tasks_are_listed(command_line: CommandLine) -> None:
    """`mien tasks` names each folder under tasks/."""
    done = command_line("tasks", home=ROOT)
    for name in tasks.names():
        assert name in done.stdout


MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "no config": (("run", "configs/absent.yaml"), "no config file configs/absent.yaml"),
    "no file": (("run",), "There are: emotion,"),
    "misspelled file": (("train", "gestur"), "Did you mean 'gesture'?"),
    "no source": (("run", "emotion"), "--source"),
    "no such source": (("data", "emotion", "--source", "absent.zip"), "absent.zip"),
    "unknown param": (
        ("run", "sample_emotion", "--set", "params.epoch=5"),
        "Did you mean 'epochs'?",
    ),
    "bad param": (("run", "sample_emotion", "--set", "params.epochs=0"), "epochs"),
    "bad override": (("run", "sample_emotion", "--set", "epochs"), "KEY=VALUE"),
    "unknown task": (("models", "emotoin"), "Did you mean 'emotion'?"),
    "too early": (("train", "emotion"), "mien data"),
    "no champion": (("predict", "README.md"), "There is no champion"),
    "nothing to serve": (("serve",), "no champion"),
    "no such task": (("predict", "README.md", "--task", "gestur"), "Did you mean 'gesture'?"),
    "a file as workspace": (("models", "--home", "README.md"), "README.md is a file"),
    "no bundle": (("predict", "README.md", "--bundle", "tests"), "is no bundle"),
    "no version": (("promote", "emotion", "7"), "no version 7"),
    "no rollback": (("rollback", "emotion"), "expected a champion before the present one"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_ends_in_one_message(
    tmp_path: Path, kind: str, command_line: CommandLine
) -> None:
    """Status 1, a message that says what to do, no traceback, and nothing half-written."""
    arguments, message = MISTAKES[kind]
    done = command_line(*arguments, home=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob(".*"))


_TERMINATED = """
import os, signal, sys, tempfile
from mien import cli

def app():
    with tempfile.TemporaryDirectory(dir=sys.argv[1]):
        os.kill(os.getpid(), signal.SIGTERM)

cli.app = app
cli.main()
"""


def test_sigterm_leaves_no_temporary_folder(tmp_path: Path) -> None:
    """Exit status as shells say it: 128 and the signal's number."""
    done = subprocess.run([sys.executable, "-c", _TERMINATED, str(tmp_path)], timeout=PATIENCE)
    assert (done.returncode, list(tmp_path.iterdir())) == (128 + signal.SIGTERM, [])


_WORKERS = """
import os
from threading import Event

from mien import cli
from mien.cli import demo


def work(name):
    print(os.getpid(), flush=True)
    Event().wait()


cli.app = lambda: demo.in_processes("train", work)

if __name__ == "__main__":
    cli.main()
"""


def test_sigterm_ends_the_processes_of_a_demo(tmp_path: Path) -> None:
    """In the middle of their work; the pipe ends only when all processes have ended."""
    script = tmp_path / "script.py"
    script.write_text(_WORKERS)
    command = [sys.executable, str(script)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.terminate()
        process.communicate(timeout=PATIENCE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_port_in_use_is_told_before_anything_is_trained(
    tmp_path: Path, command_line: CommandLine
) -> None:
    """Not after a minute of training."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = command_line("demo", "--exit", home=tmp_path, PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "Set another PORT" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_unusable_port_is_told(tmp_path: Path, command_line: CommandLine) -> None:
    """The environment is checked as strictly as a config."""
    done = command_line("serve", home=tmp_path, PORT="many")
    assert (done.returncode, "PORT" in done.stderr) == (1, True)


def test_predict_answers_for_pictures_and_landmarks(
    served_home: Path, tmp_path: Path, command_line: CommandLine
) -> None:
    """One line a file for people, one JSON document a file for machines; faults do not stop it."""
    for name in ("emotion", "gesture"):
        tasks.load(name).inference.sample_picture().save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    done = command_line(
        "predict", str(tmp_path / "emotion.png"), "--task", "emotion", home=served_home
    )
    assert any(f"emotion {label} " in done.stdout for label in tasks.load("emotion").default_labels)
    assert "--task" not in done.stderr
    done = command_line("predict", str(tmp_path / "gesture.png"), home=served_home)
    assert "Using the champion of emotion; --task gesture uses another." in done.stderr
    files = [str(tmp_path / "broken.jpg"), str(tmp_path / "gesture.png")]
    done = command_line("predict", *files, "--task", "gesture", "--json", home=served_home)
    broken, answer = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 1
    assert "damaged" in broken["error"]
    assert answer["gesture"] == "like"
    landmarks = answer["detections"][0]["landmarks"]
    (tmp_path / "hand.json").write_text(json.dumps({"landmarks": landmarks}))
    done = command_line(
        "predict", str(tmp_path / "hand.json"), "--task", "gesture", "--json", home=served_home
    )
    assert json.loads(done.stdout)["gesture"] == "like"


def test_models_lists_versions_and_their_history(
    small_gesture: Workspace, command_line: CommandLine
) -> None:
    """Who made which version champion when, and why."""
    done = command_line("models", "gesture", home=small_gesture.home)
    assert "mien-gesture" in done.stdout
    assert "register: champion -> 1. " in done.stdout  # in a tree with changes: forced, and why
    assert "There was no champion before." in done.stdout
    words = [line.split()[:3] for line in done.stdout.splitlines()]
    assert ["1", "logistic_regression", "real"] in words, "a row of 80 columns breaks no name"


@pytest.mark.long
def test_mlflows_page_is_shown_and_stops(tmp_path: Path, mlflow_database: Path) -> None:
    """One process: no workers beside it, none of the job runners that MLflow starts by itself."""
    shutil.copy(mlflow_database, tmp_path)
    port = free_port()
    command = [sys.executable, "-m", "mien.cli", "ui", "--no-open", "--port", str(port)]
    command += ["--home", str(tmp_path)]
    started = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(f"{address}/health"))
        asked = f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name=empty"
        assert requests.get(asked, timeout=PATIENCE).status_code == 200
        assert len(_processes(started.pid)) == 1
    finally:
        os.killpg(started.pid, signal.SIGTERM)
    started.wait(PATIENCE)


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=PATIENCE).status_code == 200
    except requests.ConnectionError:
        return False


def _processes(group: int) -> list[int]:
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [number for number in numbers if _group(number) == group]


def _group(number: int) -> int:
    try:
        return os.getpgid(number)
    except ProcessLookupError:
        return 0
