"""Checks an installation before anyone waits for a build or a training: `mien doctor`.

Every check looks at one thing and changes nothing. They run side by side, bounded in time. Only
`--for cloud-run` asks the network.
"""

from collections.abc import Sequence
from concurrent import futures
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread

from mien import config
from mien.config import Schema, Settings
from mien.errors import ConfigError, MienError, ProgramError, nearest
from mien.reporting import console
from mien.storage.workspace import Workspace

from .checks import DOCTOR_CHECKS
from .contract import (
    TARGETS,
    DoctorCheck,
    Finding,
    FindingState,
    Installation,
    Target,
    failed,
    warning,
)

_LIMIT_S = 4.0
_LIMIT_WITH_PROGRAMS_S = 20.0
"""`gcloud` takes a second to start and asks the network; a container takes one, too."""


class DoctorResult(Schema):
    """What one check found."""

    slug: str
    description: str
    state: FindingState
    text: str
    remedy: str


def target(name: str) -> Target:
    """The target of that name.

    Raises:
        ConfigError: there is none.
    """
    for each in TARGETS:
        if each == name:
            return each
    names = ", ".join(TARGETS)
    raise ConfigError(f"--for: expected one of {names}, found {name!r}.{nearest(name, TARGETS)}")


def installation(
    project: Path, home: Path | None, target: Target = "local", image: str | None = None
) -> Installation:
    """What is checked; where the environment cannot be read, its defaults and the reason."""
    settings, error = Settings.model_construct(), ""
    try:
        settings = config.settings()
    except ConfigError as reason:
        error = str(reason)
    workspace = Workspace((home or settings.home).expanduser())
    limit_s = _LIMIT_S if target == "local" and image is None else _LIMIT_WITH_PROGRAMS_S
    return Installation(project, workspace, settings, target, image, error, limit_s)


def examine(
    subject: Installation, checks: Sequence[DoctorCheck] = DOCTOR_CHECKS
) -> tuple[DoctorResult, ...]:
    """Run every check side by side; the order of the results is that of the checks.

    A check that does not end within `subject.limit_s` is left alone and becomes a warning; an error
    that the user can fix is a failure.
    """
    running = [(check, _start(check, subject)) for check in checks]
    futures.wait([future for _, future in running], subject.limit_s)
    return tuple(_result(check, future, subject.limit_s) for check, future in running)


def _start(check: DoctorCheck, subject: Installation) -> "Future[Finding]":
    future: Future[Finding] = Future()

    def run() -> None:
        try:
            future.set_result(check.find(subject))
        except ProgramError as error:
            future.set_result(failed(str(error), "Run it by hand to see all of its output."))
        except MienError as error:
            future.set_result(failed(str(error), ""))
        except OSError as error:
            text = f"{error.filename or check.slug}: {error.strerror or error}"
            future.set_result(failed(text, "Correct the path or its permissions."))
        except BaseException as error:  # noqa: BLE001 - raised by `_result`, in the caller's thread
            future.set_exception(error)

    # A daemon: the command ends although a check hangs.
    Thread(target=run, name=f"mien-doctor-{check.slug}", daemon=True).start()
    return future


def _result(check: DoctorCheck, future: "Future[Finding]", limit_s: float) -> DoctorResult:
    hung = warning(f"no result within {limit_s:g} s", "Run it again on a quiet machine.")
    finding = future.result() if future.done() else hung
    return DoctorResult(
        slug=check.slug,
        description=check.description,
        state=finding.state,
        text=finding.text,
        remedy=finding.remedy,
    )


def is_healthy(results: Sequence[DoctorResult]) -> bool:
    """Whether no check failed; warnings do not count."""
    return all(result.state != "failed" for result in results)


def show(results: Sequence[DoctorResult]) -> None:
    """Print the results as a table, and how many there are of each state."""
    rows = [
        [each.slug, each.state, "\n".join(filter(None, (each.text, each.remedy)))]
        for each in results
    ]
    console.table("Doctor", ["check", "state", "finding"], rows)
    states = [result.state for result in results]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    console.result(", ".join(sorted(counts, key=_alarms_last)))


def _alarms_last(count: str) -> int:
    order = ("skipped", "ok", "warning", "failed")
    with suppress(ValueError):
        return order.index(count.partition(" ")[2])
    return len(order)


def markdown_table() -> str:
    """The checks as a table in Markdown for the docs."""
    rows = [f"| `{check.slug}` | {check.description} |" for check in DOCTOR_CHECKS]
    return "\n".join(["| check | looks at |", "| --- | --- |", *rows])
