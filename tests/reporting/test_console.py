"""Promises of `mien.reporting.console`: something moves, and results stay clean."""

import io
import json
import re

import pytest
from rich.console import Console
from waiting import until

from mien.reporting import console


def test_a_bar_within_a_bar_is_shown_below_it(
    terminal: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage without steps shows that it is at work; a result inside goes to standard output."""
    with console.bar("gesture: train"):
        with console.bar("train [svm]") as advance:
            advance(3, 10, "fold 3 " + "of a long name " * 9)
            console._displays[0].refresh()
        console.result("done")
        with console.bar("second"):
            console._displays[0].refresh()
    shown = terminal.getvalue()
    for text in ("gesture: train", "train [svm]", "3/10", "0:00:00", "fold 3", "second"):
        assert text in shown
    assert "0/?" not in shown, "a block without steps counts none"
    assert capsys.readouterr().out == "done\n"
    assert "done" not in shown


def test_a_terminal_gets_whole_words(terminal: io.StringIO) -> None:
    """A sentence of any length; what is longer than a line is not broken either."""
    path = "/a/path/of/more/than/eighty/characters" * 3
    sentence = f"{'Rows were divided one by one. ' * 6}See {path}."
    console.info(sentence)
    lines = terminal.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines if path not in line)
    assert " ".join(lines).split() == sentence.split()


@pytest.mark.parametrize(
    "copied",
    [
        "params.learning_rate=0.0005",
        "--set checks.split_leakage.level=warn",
        "--set 'params.ignore_labels=[nobody, somebody else]'",
        "`mien data check emotion --source @1a897c5388f8 --fix`",
        "'a folder/with spaces/photos.zip'",
        "(`mien doctor gesture`).",
    ],
)
def test_what_users_copy_is_on_one_line(terminal: io.StringIO, copied: str) -> None:
    """A setting, a command or a quoted path that fits a line, wherever the line would end. An
    apostrophe in a word is no quotation mark."""
    for start in range(40, 80):
        console.failure(f"{'x' * (start - 7)} {copied} or the users' own and others' settings.")
    shown = terminal.getvalue()
    assert shown.count(copied) == 40
    assert all(len(line) <= 80 for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines())


def test_a_document_stays_valid_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text of any length within it is not broken over lines."""
    terminal = Console(force_terminal=True, width=80, highlight=False, soft_wrap=True)
    monkeypatch.setattr(console, "_out", lambda: terminal)
    value = {"text": "a sentence of many words [bold] " * 9}
    console.document(value)
    assert json.loads(capsys.readouterr().out) == value


def test_a_log_gets_a_line_from_time_to_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the innermost block: what the trainer reports and the time left, or the time so far."""
    seconds, lines = [0.0], list[str]()
    monkeypatch.setattr(console, "perf_counter", lambda: seconds[0])
    monkeypatch.setattr(console, "LINE_INTERVAL_S", 0.01)
    monkeypatch.setattr(console, "info", lines.append)
    with console.bar("gesture: train"):
        seconds[0] = 60
        until(lambda: "gesture: train: 1 min" in lines)
        with console.bar("train yolov9-t") as advance:
            seconds[0] = 120
            advance(1, 10, "loss 2")
            until(lambda: "train yolov9-t: 1 of 10, loss 2, 1 min" in lines)
            for step in (2, 3, 4):
                seconds[0] += 30
                advance(step, 10, "loss 1")
            until(lambda: "train yolov9-t: 4 of 10, loss 1, about 3 min left" in lines)
            seconds[0] += 30
            advance(9, 10)
            until(lambda: "train yolov9-t: 9 of 10, about 15 s left" in lines)
    assert console._blocks == []
    assert not [line for line in lines if "1 of 10" in line and "left" in line], (
        "the first step, which loads everything, says nothing of the others"
    )


def test_a_quiet_process_shows_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose parent prints the result."""
    monkeypatch.setattr(console, "_quiet", {"bars"})
    monkeypatch.setattr(console, "LINE_INTERVAL_S", 0)
    with console.bar("train") as advance:
        advance(1, 2)
    assert capsys.readouterr().err == ""
