"""The training stages in a row: data -> check -> prepare -> train -> [optimize] -> evaluate
-> register."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mien import tasks
from mien.config import FORMS, RunConfig, settings
from mien.errors import MienError, PolicyError
from mien.model.evaluation import Evaluation
from mien.model.pulling import refresh_champion
from mien.observability.prediction_log.location import PredictionLogLocation
from mien.reporting import console
from mien.stages import Run, report, shadow
from mien.stages import check as data_check
from mien.stages import suspects as data_suspects
from mien.stages.data import accept_if_readable, data, fetch, prepare
from mien.stages.evaluate import Evaluated, evaluate, on_other_data
from mien.stages.optimize import optimize as make_variants
from mien.stages.pull import pull as pull_bundle
from mien.stages.register import Registered, promote, register, register_pulled
from mien.stages.train import Trained, fingerprint
from mien.stages.train import train as fit
from mien.storage import shadow as shadow_state
from mien.storage.versions import Version
from mien.storage.workspace import CHAMPION, Workspace, read_latest
from mien.task import Task

T = TypeVar("T")


@dataclass(frozen=True)
class RunReport:
    """What a run did: seconds by stage, which stages were skipped, and the registered version."""

    seconds: Mapping[str, float]  # wall time, by stage
    skipped: Sequence[str]  # stages whose inputs have not changed
    registered: Registered  # the version of the chosen candidate
    page: Path
    """The report of the run, for people."""


def run(config: RunConfig, workspace: Workspace, force: str | None = None) -> RunReport:
    """Take a run from its source to a registered version, skipping what has not changed.

    `force` is why a version that is not trusted may be champion, see `stages/register/trust.py`.
    """
    resolved = Run.resolve(config, workspace)
    with workspace.locked(config.task):
        return _run(resolved, force)


def run_named(
    name: str | Path,
    source: str | None = None,
    overrides: Sequence[str] = (),
    *,
    home: str | Path | None = None,
    force: str | None = None,
) -> RunReport:
    """Run all training stages of a config in order; stages without changes are skipped.

    Args:
        name: of a config that comes with mien or lies in configs/, or a path to a YAML file.
        source: a file, folder or zip; `sample` for drawn data; None for the newest version.
        overrides: config keys, such as ``params.trees=50``.
        home: the workspace; None for $MIEN_HOME or the current folder.
        force: why a version that is not trusted may be champion.

    Raises:
        MienError: the config, the data or a stage failed; the message says what to do.
    """
    workspace = Workspace(Path(home) if home is not None else settings().home)
    return run(tasks.run_config(name, source, overrides), workspace, force)


def try_out(config: RunConfig, workspace: Workspace, on_choice: Callable[[Path], None]) -> None:
    """Take a run from its source to the folder of its evaluated candidates; register nothing.

    `on_choice` gets a folder of the choice alone as soon as it is known, and then that folder, see
    `stages/evaluate`.
    """
    run = Run.resolve(config, workspace, hurried=True)
    with workspace.locked(config.task):
        stage = Stages(config.task)
        try:
            _train_all(run, stage)
            stage("evaluate", lambda: evaluate(run, on_choice), lambda result: result.fresh)
        finally:
            run.do_waiting()


@dataclass(frozen=True)
class Stages:
    """Runs one stage after the other and prints its seconds."""

    task: str
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def __call__(self, name: str, work: Callable[[], T], fresh: Callable[[T], bool]) -> T:
        watch = console.Stopwatch()
        try:
            with console.bar(f"{self.task}: {name}"):
                result = work()
        except (MienError, OSError) as error:
            if self.seconds:
                error.add_note(_how_to_resume(self.seconds, name))
            raise
        self.seconds[name] = watch.seconds
        if not fresh(result):
            self.skipped.append(name)
        state = "done" if fresh(result) else "unchanged, skipped"
        console.info(f"{self.task}: {name:<9}{watch.seconds:6.1f} s  {state}")
        return result


def _train_all(run: Run, stage: Stages) -> data_check.CheckedData:
    """From the source to trained candidates; returns the check of the data."""
    version, _ = stage("data", lambda: fetch(run), lambda result: result[1])
    with accept_if_readable(run, version):
        checked = stage("check", lambda: data_check.check(run, version), lambda each: each.fresh)
        data_check.require_passed(checked)
        stage("prepare", lambda: data(run, version), lambda result: result.fresh)
    fit_candidates(run, stage)
    return checked


def fit_candidates(run: Run, stage: Stages) -> None:
    """Train the candidates of prepared data, and make their variants."""
    stage("train", lambda: fit(run), lambda result: bool(result.fresh))
    if run.config.variants:
        stage("optimize", lambda: make_variants(run), lambda result: bool(result.fresh))


def _run(run: Run, force: str | None) -> RunReport:
    stage = Stages(run.task.name)
    seconds, skipped = stage.seconds, stage.skipped
    checked = _train_all(run, stage)
    try:
        stage("evaluate", lambda: evaluate_all(run), lambda result: result.fresh)
    except PolicyError as error:
        _report_refusal(run, error, checked, seconds)
        raise
    result = stage("register", lambda: register(run, force), lambda result: result.fresh)
    console.info(f"mien-{run.task.name} {result.summary}")
    page = report.path(run)
    if len(skipped) < len(seconds) or not page.is_file():
        page = _write_report(run, _outcome(run, result), checked, seconds)
    return RunReport(seconds, skipped, result, page)


def _write_report(
    run: Run, outcome: report.Outcome, checked: data_check.CheckedData, seconds: Mapping[str, float]
) -> Path:
    verdict, rows = data_check.summary(checked)
    check = report.CheckSummary(verdict, rows)
    folder = read_latest(run.evaluated, run.config.name, "Evaluate first: `mien evaluate CONFIG`.")
    return report.write(run, folder, outcome, check, seconds)


def _report_refusal(
    run: Run,
    error: PolicyError,
    checked: data_check.CheckedData,
    seconds: Mapping[str, float],
) -> None:
    """Write the report of a run without a choice, and name it in the error."""
    folder = read_latest(run.evaluated, run.config.name, "Evaluate first: `mien evaluate CONFIG`.")
    if Evaluation.read(folder).choice is None:
        again = f"mien run {run.config.name} --set policy.KEY=VALUE"
        page = _write_report(run, report.Outcome(str(error), again), checked, seconds)
        error.add_note(f"Report: {page}")


def _outcome(run: Run, registered: Registered) -> report.Outcome:
    task = run.task.name
    is_champion = registered.alias == CHAMPION
    command = f"mien serve {task}" if is_champion else f"mien promote {task} {registered.number}"
    return report.Outcome(f"mien-{task} {registered.summary}", command)


def register_choice(
    config: RunConfig, workspace: Workspace, force: str | None = None
) -> tuple[Registered, Path]:
    """Register the choice of an evaluated run, and write the report of the run."""
    run = Run.resolve(config, workspace)
    with workspace.locked(config.task):
        registered = register(run, force)
        return registered, _write_report(run, _outcome(run, registered), _checked(run), {})


def _how_to_resume(seconds: Mapping[str, float], failed: str) -> str:
    """What a failed run keeps, and where the next one goes on."""
    stages = ", ".join(seconds)
    total = sum(seconds.values())
    return (
        f"Kept, and not done again: {stages} ({total:.0f} s). "
        f"When the cause is fixed, run the same command again: it goes on with {failed}."
    )


def pull(task: Task[Any], workspace: Workspace, force: str | None = None) -> Registered:
    """Register a model without data of the user: the task's public pretrained model or, where there
    is none, one that is trained on the task's drawn sample.

    `force` is why it may replace a champion that it cannot be compared with.
    """
    if not task.training.starters:
        console.info(
            f"{task.name}: no public pretrained model; mien trains one on its drawn sample."
        )
        drawn = RunConfig(name=f"sample_{task.name}", task=task.name, source="sample")
        return run(drawn, workspace, force).registered
    with console.bar(f"{task.name}: pull"), workspace.locked(task.name):
        pulled = pull_bundle(task, workspace)
        return register_pulled(pulled.folder, workspace, force)


def check(config: RunConfig, workspace: Workspace) -> data_check.CheckedData:
    """Check the data of a run's source and print the report."""
    with _fetched(config, workspace, "check") as (run, version), accept_if_readable(run, version):
        return data_check.check(run, version, verbose=True)


def repair(config: RunConfig, workspace: Workspace) -> data_check.CheckedData:
    """Repair the data of a run's source as a new version where that is safe, and check it."""
    with _fetched(config, workspace, "repair") as (run, version):
        with accept_if_readable(run, version):
            repaired = data_check.repair(run, version)
        with accept_if_readable(run, repaired):
            return data_check.check(run, repaired, verbose=True)


def suspects(config: RunConfig, workspace: Workspace) -> data_suspects.Suspects:
    """Rank the labels of a run's data by how probably they are wrong."""
    ranked = _fetched(config, workspace, "suspects")
    with ranked as (run, version), accept_if_readable(run, version):
        return data_suspects.suspects(run, version)


def relabel(config: RunConfig, workspace: Workspace, corrections: Path) -> Version:
    """Make a new version of a run's data with the labels of a corrected ranking."""
    with _fetched(config, workspace, "relabel") as (run, version):
        relabelled = data_suspects.relabel(run, version, corrections)
        run.store.set_latest(relabelled.root)
        return relabelled


@contextmanager
def _fetched(config: RunConfig, workspace: Workspace, stage: str) -> Iterator[tuple[Run, Version]]:
    """The run of a config and the version of its source, while the task is locked."""
    run = Run.resolve(config, workspace)
    with console.bar(f"{config.task}: {stage}"), workspace.locked(config.task):
        yield run, fetch(run)[0]


def train(config: RunConfig, workspace: Workspace) -> Trained:
    """Fit every candidate on prepared data that pass their checks.

    Raises:
        DataCheckError: they do not.
    """
    run = Run.resolve(config, workspace)
    with workspace.locked(config.task):
        data_check.require_passed(_checked(run))
        return fit(run)


def measure(config: RunConfig, workspace: Workspace) -> Evaluated:
    """Measure every candidate of a trained run, knowing which examples training has seen."""
    run = Run.resolve(config, workspace)
    with workspace.locked(config.task):
        _checked(run)
        return evaluate_all(run)


def optimize(config: RunConfig, workspace: Workspace) -> tuple[tuple[str, ...], Evaluated]:
    """Make smaller variants of a trained run's candidates, measure all and let the policy choose.

    Of every form where the config names none. Returns the variants that were made just now.
    """
    forms = config.variants or FORMS
    run = Run.resolve(config.model_copy(update={"variants": forms}), workspace)
    with workspace.locked(config.task):
        optimized = make_variants(run)
        _checked(run)
        return optimized.fresh, evaluate_all(run)


def score_elsewhere(config: RunConfig, workspace: Workspace) -> dict[str, dict[str, float]]:
    """Measure the candidates of a trained run on the data of `config.source`, all splits."""
    run = Run.resolve(config, workspace)
    with workspace.locked(config.task):
        version, _ = fetch(run)  # not accepted: the next training uses the same data as before
        prepared = prepare(run, version)
    return on_other_data(run, prepared.folder)


def promote_challenger(task: str, workspace: Workspace, log: PredictionLogLocation) -> int:
    """Make the version that answers after the champion champion, if it is better; its number.

    A promotion that was killed is completed.

    Raises:
        RegistryError: the test does not say so, or as for `register.promote`.
        PredictionLogError: there is no prediction log, or it cannot be read.
    """
    with workspace.locked(task):
        plan, aliases = shadow_state.read(workspace, task), workspace.aliases(task)
        if plan is not None and plan.version == aliases.get(CHAMPION):
            number = plan.version
            workspace.write_aliases(task, aliases)
        else:
            compared = shadow.report(task, workspace, log)
            number = compared.challenger
            promote(task, number, shadow.require_better(compared), workspace)
        shadow_state.stop(workspace, task)  # until then servers ignore the shadow of a champion
    return number


def evaluate_all(run: Run) -> Evaluated:
    """Measure every candidate, and the champion: that of the team's server, where there is one."""
    refresh_champion(run.task.name, run.tracker.server, run.workspace)
    return evaluate(run)


def _checked(run: Run) -> data_check.CheckedData:
    """The check of the data that a run has prepared, whatever was checked since."""
    return data_check.check(run, run.store.find(fingerprint(run)))
