"""Promises of `reporting.leaderboard`: the table of an evaluation says everything in 80 columns."""

import pytest

from mien.reporting import leaderboard


def ratio(median: float) -> dict[str, float]:
    return {"median": median, "low": median, "high": median, "pairs": 20}


def row(name: str, megabytes: float = 1) -> dict[str, object]:
    return {"candidate": name, "bundle_mb": megabytes, "cpu_cost": ratio(3.0)}


def variant(name: str, megabytes: float, slower: float) -> dict[str, object]:
    about = {"form": "int8", "of": name, "cpu_ratio": ratio(1 + slower)}
    return {**row(f"{name}-int8", megabytes), "variant": about}


def test_the_table_fits_a_terminal_and_tells_every_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """80 columns; what a variant gains and loses, who has none, and why one was not chosen."""
    scores = {"macro_f1": 0.9, "accuracy": 0.9, "map50": 0.8, "map50_95": 0.7, "miss_rate": 0}
    whole = {"test": scores, "val": scores, "latency": {"p50_ms": 1.0, "p95_ms": 2.0}, "fault": ""}
    net = {**row("yolox-nano", 4), **whole}
    lost = {**variant("yolox-nano", 1, 0.25), **whole, "fault": "25% slower > 10%"}
    document = {
        "task": "emotion",
        "choice": "yolox-nano",
        "candidates": [net, {**lost, "val": {**scores, "macro_f1": 0.8}}],
        "without": {"svm": "nothing to make smaller", "forest": "nothing to make smaller"},
    }
    leaderboard.show(document)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "yolox-nano-int8 is not chosen: 25% slower > 10%" in out
    assert "No variant of svm, forest: nothing to make smaller" in out
    (line,) = [line for line in out.splitlines() if "x 0.25" in line]
    assert line.split()[3:] == ["x", "1.25", "-0.1000", "+0.0000", "+0.0000", "+0.0000"]


def test_leak_free_scores_stand_beside_those_as_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the table sees what copies in train were worth."""
    whole = {"accuracy": 0.9, "macro_f1": 0.9, "examples": 10}
    free = {"accuracy": 0.51, "macro_f1": 0.52, "examples": 9}
    measured = {"val": whole, "test": whole, "test_leak_free": free, "fault": ""}
    found = row("svm") | measured | {"latency": {"p50_ms": 1.0, "p95_ms": 2.0}}
    leaderboard.show({"task": "letter", "choice": "svm", "candidates": [found]})
    told = capsys.readouterr().out
    assert "Test as shipped (10) and leak-free, without copies in train (9)" in told
    assert "0.510" in told
    assert "0.520" in told
