"""From labels that people gave to a challenger: `mien retrain`.

    champion's data + reviewed samples -> check -> prepare -> train -> evaluate -> register
    champion and challenger on both tests -> reports/<task>/retrain_<version>.md

Every step is that of a run; a killed one is completed by the next retraining.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Full, Queue

from mien import tasks
from mien.config import RunConfig, Settings
from mien.errors import MienError, RetrainError
from mien.model import bundle, runtime
from mien.model.bundle import Bundle
from mien.model.pulling import refresh_champion
from mien.observability.review.store import ReviewStore
from mien.pipeline import Stages, evaluate_all, fit_candidates
from mien.reporting import console
from mien.stages import Run
from mien.stages import check as data_check
from mien.stages import retrain as parts
from mien.stages.data import prepare
from mien.stages.register import Registered, register
from mien.stages.retrain import RetrainLimits, RetrainReport, ReviewedData, webhook
from mien.storage.workspace import Workspace, write_latest
from mien.tracking import Tracker

_HOLD = "It waits for a comparison in the shadow: `mien shadow {} VERSION`."


def retrain(
    task: str,
    workspace: Workspace,
    settings: Settings,
    trigger: str = "command",
    limits: RetrainLimits | None = None,
) -> RetrainReport:
    """Train the champion's config on its data and on what people reviewed; register a challenger.

    Args:
        task: its name.
        workspace: with the champion, its data and the reviewed samples.
        settings: with the key of these samples.
        trigger: what asked for it, for the history.
        limits: of trainings that no person asks for; None for none.

    Raises:
        NotDueError: the limits do not allow it now.
        RetrainError: another retraining runs, or there is no champion that was trained here.
        ConfigError: no key, or a wrong one.
        MienError: as the stages.
    """
    with parts.one_at_a_time(workspace, task):
        if limits is not None:
            parts.require_due(workspace, task, limits)
        champion = _trained_champion(task, workspace)
        samples = ReviewStore(workspace.review, settings.review_key.get_secret_value())
        with parts.record(workspace, task, trigger) as result, workspace.locked(task):
            done = _retrain(champion, workspace, samples)
            result.append(f"version {done.version}")
        return done


def retrain_on_alerts(
    task: str,
    workspace: Workspace,
    settings: Settings,
    limits: RetrainLimits,
    port: int,
    on_ready: Callable[[str], None],
) -> None:
    """Retrain whenever an alert of the task asks for it and the limits allow it, until SIGINT.

    A training that fails is logged, and the next alert is waited for.

    Raises:
        ConfigError: no key, or a port that cannot be used.
    """
    waiting: Queue[str] = Queue(1)

    def ask(alert: str) -> None:
        parts.require_due(workspace, task, limits)
        try:
            waiting.put_nowait(alert)
        except Full:
            raise RetrainError(f"{task}: a training waits already.") from None

    key = settings.retrain_key.get_secret_value()
    with suppress(KeyboardInterrupt), webhook.listening(task, key, port, ask) as address:
        on_ready(address)
        while True:
            trigger = f"alert {waiting.get()[:100]}"
            try:
                retrain(task, workspace, settings, trigger, limits)
            except (MienError, OSError) as error:
                console.failure(f"{trigger}: {error}")


def _trained_champion(task: str, workspace: Workspace) -> Bundle:
    refresh_champion(tasks.load(task).name, Tracker(workspace.home).server, workspace)
    champion = bundle.read_champion(tasks.load(task).name, workspace)
    if champion is None or not champion.manifest.lineage.config:
        kind = "none" if champion is None else "a pulled one, whose training data are not here"
        raise RetrainError(
            f"{task}: expected a champion that was trained in this workspace, found {kind}. Train "
            "one with `mien run`."
        )
    return champion


def _retrain(champion: Bundle, workspace: Workspace, samples: ReviewStore) -> RetrainReport:
    lineage = champion.manifest.lineage
    name, base = f"retrained_{champion.manifest.task}", f"@{lineage.data_fingerprint}"
    config = RunConfig.model_validate({**lineage.config, "name": name, "source": base})
    run = Run.resolve(config, workspace)
    stage = Stages(run.task.name)
    before = run.store.roots()
    reviewed = stage(
        "data",
        lambda: parts.add_reviewed(run, run.store.find(lineage.data_fingerprint), samples),
        lambda result: result.version.root not in before,
    )
    checked = stage("check", lambda: data_check.check(run, reviewed.version), lambda it: it.fresh)
    data_check.require_passed(checked)
    # Not accepted as the latest version: a run without a source goes on with what users fetched.
    prepared = stage("prepare", lambda: prepare(run, reviewed.version), lambda it: it.fresh)
    write_latest(run.processed, name, prepared.folder.name)
    fit_candidates(run, stage)
    stage("evaluate", lambda: evaluate_all(run), lambda result: result.fresh)
    hold = _HOLD.format(run.task.name)
    registered = stage("register", lambda: register(run, hold=hold), lambda it: it.fresh)
    return _compare(run, champion, registered, reviewed, prepared.folder, stage)


def _compare(
    run: Run,
    champion: Bundle,
    registered: Registered,
    reviewed: ReviewedData,
    ready: Path,
    stage: Stages,
) -> RetrainReport:
    """Compare champion and challenger on both tests, and write the report."""
    tests = {"test of the champion's data": run.task.data.examples(ready, "test")}
    version = run.workspace.version(run.task.name, registered.number)
    with runtime.load(champion.folder) as old, runtime.load(version) as new:
        compared = stage(
            "compare",
            lambda: parts.compare(run.task, old, new, tests, reviewed.test),
            lambda _: True,
        )
    report = RetrainReport(
        task=run.task.name,
        champion=int(champion.folder.name),
        version=registered.number,
        alias=registered.alias,
        reason=registered.reason,
        data_version=reviewed.version.number,
        train=len(reviewed.train),
        left_out=dict(reviewed.left_out),
        removed=reviewed.removed,
        tests=compared,
        seconds=stage.seconds,
    )
    parts.write(run, report)
    return report
