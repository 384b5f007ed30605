"""The training stages in a row: data -> train -> [optimize] -> evaluate -> register."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mien import console
from mien.config import FORMS, RunConfig
from mien.stages.data import data, prepare
from mien.stages.evaluate import Evaluated, evaluate, on_other_data
from mien.stages.optimize import optimize as make_variants
from mien.stages.register import Registered, register
from mien.stages.train import train
from mien.workspace import Workspace

T = TypeVar("T")


@dataclass
class Report:
    """What a run did: seconds by stage, which stages were skipped, and the registered version."""

    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    registered: Registered | None = None


def run(config: RunConfig, workspace: Workspace) -> Report:
    """Take a run from its source to a registered version, skipping what has not changed."""
    with workspace.locked(config.task):
        return _run(config, workspace)


def _run(config: RunConfig, workspace: Workspace) -> Report:
    report = Report()

    def stage(name: str, work: Callable[[], T], fresh: Callable[[T], bool]) -> T:
        watch = console.Stopwatch()
        done = work()
        report.seconds[name] = watch.seconds
        if not fresh(done):
            report.skipped.append(name)
        state = "done" if fresh(done) else "unchanged, skipped"
        console.say(f"{config.task}: {name:<9}{watch.seconds:6.1f} s  {state}")
        return done

    stage("data", lambda: data(config, workspace), lambda done: done.fresh)
    stage("train", lambda: train(config, workspace), lambda done: bool(done.fresh))
    if config.variants:
        stage("optimize", lambda: make_variants(config, workspace), lambda done: bool(done.fresh))
    stage("evaluate", lambda: evaluate(config, workspace), lambda done: done.fresh)
    done = stage("register", lambda: register(config, workspace), lambda done: done.fresh)
    report.registered = done
    console.say(f"mien-{config.task} version {done.number} is {done.alias}. {done.why}")
    return report


def optimize(config: RunConfig, workspace: Workspace) -> tuple[tuple[str, ...], Evaluated]:
    """Make smaller variants of a trained run's candidates, measure all and let the policy choose.

    Of every form where the config names none. Returns the variants that were made just now.
    """
    asked = config if config.variants else config.model_copy(update={"variants": FORMS})
    with workspace.locked(config.task):
        made = make_variants(asked, workspace)
        return made.fresh, evaluate(asked, workspace)


def score_elsewhere(config: RunConfig, workspace: Workspace) -> dict[str, dict[str, float]]:
    """Measure the candidates of a trained run on the data of `config.source`, all splits."""
    return on_other_data(config, workspace, prepare(config, workspace).folder)
