"""What the stages before `register` leave: one measured bundle, tracked and chosen."""

import io
from hashlib import sha256
from pathlib import Path
from typing import Any

from measured import candidate, scores

from mien.config import Policy, RunConfig
from mien.model import bundle
from mien.model.evaluation import (
    BundleMetrics,
    ChampionScores,
    Evaluation,
    MajorityComparison,
    Measurements,
)
from mien.model.lineage import CodeState, Lineage
from mien.reporting.model_card import CARD, SECTIONS
from mien.storage.versions import Item, Store
from mien.storage.workspace import WORK, Workspace, write_latest
from mien.tracking import Tracker

RUN = RunConfig(name="run", task="gesture")
MODEL = "mien-gesture"
CLEAN = CodeState(version="0", commit="abc", dirty=False, sha256="code")


def stored(home: Path, content: bytes = b"rows") -> str:
    """The fingerprint of raw data that the workspace's store holds."""
    item = Item("rows.csv", sha256(content).hexdigest(), len(content), lambda: io.BytesIO(content))
    return Store(Workspace(home).raw("gesture")).add([item], "rows.csv").root


def complete_card() -> str:
    """The shortest card with which a bundle is registered."""
    return "# gesture: svm\n\n" + "\n".join(f"## {name}\n\nText.\n" for name in SECTIONS)


def evaluated(
    home: Path,
    name: str,
    score: float,
    champion: tuple[int, float] | None,
    majority: MajorityComparison | None = None,
    **origin: Any,
) -> None:
    """What the stages before leave for `register`: one measured bundle, tracked and chosen.

    `origin` replaces what its lineage says of `code` and `data_fingerprint`.
    """
    workspace = Workspace(home)
    origin = {"code": CLEAN, "data_fingerprint": stored(home), **origin}
    trained, folder = workspace.trained("gesture") / name, workspace.evaluated("gesture") / name
    work = trained / WORK / "svm"
    work.mkdir(parents=True)
    with Tracker(home).run("gesture", "svm", work, {}, {"seed": 0}):
        pass
    (folder / "svm").mkdir(parents=True)
    (folder / "svm" / "model.onnx").write_text(name)
    row = candidate("svm", score, majority=majority)
    measured = {field: getattr(row, field) for field in Measurements.model_fields}
    manifest = bundle.describe(
        "gesture",
        ("a", "b"),
        "svm",
        {},
        metrics=BundleMetrics(**measured),
        lineage=Lineage(**origin),
    )
    (folder / "svm" / CARD).write_text(complete_card())
    bundle.write(folder / "svm", manifest)
    Evaluation(
        task="gesture",
        trained=name,
        data="data",
        policy=Policy(),
        choice="svm",
        candidates=(row,),
    ).write(folder)
    if champion:
        measure(folder, champion[0], ChampionScores(scores=scores(champion[1])))
    for place in (workspace.trained("gesture"), workspace.evaluated("gesture")):
        write_latest(place, "run", name)


def measure(folder: Path, number: int, champion: ChampionScores) -> None:
    """Write what `evaluate` writes of the present champion."""
    path = folder.with_name(f"{folder.name}.champion-{number}.json")
    path.write_text(champion.model_dump_json())
