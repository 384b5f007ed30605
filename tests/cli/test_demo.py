"""Promises of the demo: the whole way works from one command, and both models learned."""

import re

import pytest
from project import ROOT, Demo, free_port, mien

from bench import dashboard_tiles
from mien import tasks
from mien.model.evaluation import Evaluation
from mien.storage.workspace import Workspace, read_latest

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.long]


def test_every_task_gets_a_champion_that_learned(demo: Demo) -> None:
    """Macro-F1 on the sample's test split is 0.8 or better for what is served."""
    for name in tasks.names():
        if name not in demo.out:
            continue
        table = Evaluation.read(
            read_latest(Workspace(demo.home).evaluated(name), f"sample_{name}", "")
        )
        row = table.chosen
        assert row is not None
        assert row.test.macro_f1 >= 0.8, row


def test_the_committed_dashboard_shows_the_scores_of_the_demo(demo: Demo) -> None:
    """The same candidates; other processors train a little differently, a detector more so."""
    picture = ROOT / "reports" / "figures" / "dashboard_model.png"
    panels = dashboard_tiles.numbers(picture)["panels"]
    rows = panels["Scores of every candidate"]["rows"]
    shown = {
        (row["task"], row["candidate"]): float(row["macro-F1"].removesuffix(" %")) / 100
        for row in rows
        if row["split"] == "test"
    }
    scores = {}
    for name in tasks.names():
        folder = read_latest(Workspace(demo.home).evaluated(name), f"sample_{name}", "")
        for each in Evaluation.read(folder).candidates:
            off = 0.15 if name == "emotion" else 0.05
            scores[name, each.candidate] = pytest.approx(each.test.macro_f1, abs=off)
    assert shown == scores


def test_it_prints_the_table_the_seconds_and_the_addresses(demo: Demo) -> None:
    """A user reads who won, how long each stage took, an answer, and where to go on."""
    for word in (
        "version 1 is champion",
        "data: synthetic",
        "macro-F1",
        "train",
        "evaluate",
        "register",
        "/docs",
    ):
        assert word in demo.out
    # On some processors the detector is less sure.
    outcome = r"\((ok|unsure: low confidence)\)"
    assert re.search(rf"prediction for a drawn picture: emotion happy 0\.\d+ {outcome}", demo.out)
    assert re.search(r"prediction for a drawn picture: gesture like 0\.\d+ \(ok\)", demo.out)


def test_a_second_run_skips_what_has_not_changed(demo: Demo) -> None:
    """Nothing is trained twice; the output says so."""
    again = mien("demo", "--exit", "--no-pull", home=demo.home, PORT=str(free_port()))
    assert again.returncode == 0, again.stderr
    for stage in ("data", "train", "evaluate", "register"):
        assert re.search(rf": {stage} .*unchanged, skipped", again.stderr), stage
    assert "version 1 is champion" in again.stdout


def test_tracking_holds_a_run_for_each_candidate(demo: Demo) -> None:
    """Each run has lineage, metrics by step, figures and the bundle."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{demo.home / 'mlflow.db'}")
    for name in tasks.names():
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            continue
        table = Evaluation.read(
            read_latest(Workspace(demo.home).evaluated(name), f"sample_{name}", "")
        )
        wanted = {row.candidate for row in table.candidates}
        runs = client.search_runs([experiment.experiment_id])
        assert {run.data.params["candidate"] for run in runs} == wanted
        for run in runs:
            assert run.info.status == "FINISHED"
            assert "mlflow.source.git.commit" in run.data.tags
            assert {"key/macro_f1", "test/macro_f1"} <= set(run.data.metrics)
            assert len(run.inputs.dataset_inputs) == 3, "train, val and test"
            folder = "model/bundle"
            stored = {file.path for file in client.list_artifacts(run.info.run_id, folder)}
            assert {f"{folder}/{name}" for name in ("bundle.json", "model.onnx")} <= stored
            drawn = {f.path for f in client.list_artifacts(run.info.run_id, f"{folder}/figures")}
            assert f"{folder}/figures/reliability.png" in drawn
        chosen = next(run for run in runs if run.data.params["candidate"] == table.choice)
        assert client.list_artifacts(chosen.info.run_id, "report"), "the report of the run"


def test_the_champion_of_the_registry_is_the_one_that_is_served(demo: Demo) -> None:
    """MLflow's alias and the export for the server name the same version."""
    from mien.tracking import Tracker

    workspace = Workspace(demo.home)
    for name in tasks.names():
        assert Tracker(demo.home).aliases(f"mien-{name}") == workspace.aliases(name)
