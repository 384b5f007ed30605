"""Which checks run on a task's data, with the levels of the config, and how issues are judged.

A check has a level and a limit: with a larger share of issues it fails (`error`) or warns (`warn`).
Only what makes the scores misleading stops a training by default.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from mien.config import CheckConfig, Level, Schema
from mien.errors import ConfigError, nearest
from mien.task import Check, Inspection, IssueExample, Issues, Task

from .checks import SHARED_CHECKS
from .context import CheckContext
from .examples import sample_examples

State = Literal["passed", "noted", "warned", "failed", "off"]
"""`noted`: issues within the limit. `off`: switched off, or nothing to look at."""


class DataCheckResult(Schema):
    """The judged result of one check."""

    slug: str
    level: Level
    limit: float
    count: int
    total: int
    share: float
    state: State
    description: str
    examples: tuple[IssueExample, ...] = Field(default=(), repr=False)
    names: tuple[str, ...] = Field(default=(), repr=False)
    fixable: bool = False
    """Whether `--fix` repairs these issues."""
    setting: str = ""
    """A config key with a value that helps where the check fails."""
    hint: str = ""
    """What to look at first, for the console."""


def checks_of(task: Task[Any]) -> dict[str, Check[CheckContext]]:
    """Every check of a task's data by slug; a task's own check replaces a shared one."""
    return {each.slug: each for each in (*SHARED_CHECKS, *map(_with_examples, task.data.checks))}


def configured(
    task: Task[Any], config: Mapping[str, CheckConfig]
) -> dict[str, Check[CheckContext]]:
    """The checks of a task with the levels and limits of a config.

    Raises:
        ConfigError: the config names an unknown check.
    """
    checks = checks_of(task)
    for slug, change in config.items():
        if slug not in checks:
            hint = nearest(slug, checks) or f" Known checks: {', '.join(checks)}."
            raise ConfigError(f"checks: unknown check {slug!r}.{hint}")
        check = checks[slug]
        level = check.level if change.level is None else change.level
        limit = check.limit if change.limit is None else change.limit
        checks[slug] = replace(check, level=level, limit=limit)
    return checks


def run_checks(
    context: CheckContext, checks: Mapping[str, Check[CheckContext]]
) -> tuple[DataCheckResult, ...]:
    """Run and judge every check; a check that is off does not run.

    Raises:
        ValueError: the task recorded issues of a check that it does not have.
    """
    unknown = sorted(set(context.inspection.issues) - set(checks))
    if unknown:
        raise ValueError(f"task {context.task.name}: no check for issues {', '.join(unknown)}")
    counting = (checks["no_subject"], checks["multiple_subjects"])
    context.subjects_required = any(each.level == "error" for each in counting)
    return tuple(
        judge(check, Issues() if check.level == "off" else check.find(context))
        for check in checks.values()
    )


def judge(check: Check[Any], issues: Issues) -> DataCheckResult:
    """Compare the share of issues with the limit of the check."""
    count = len(issues.names) if issues.count is None else issues.count
    share = count / issues.total if issues.total else 0.0
    return DataCheckResult(
        slug=check.slug,
        level=check.level,
        limit=check.limit,
        count=count,
        total=issues.total,
        share=share,
        state=_state(check, share, issues.total),
        description=check.description,
        examples=issues.examples,
        names=issues.names,
        fixable=check.fixable,
        setting=issues.setting or f"checks.{check.slug}.level=warn",
        hint=issues.hint,
    )


def markdown_table(task: Task[Any]) -> str:
    """The checks of a task with default level and limit, as a table in Markdown for the docs."""
    rows = [
        f"| `{check.slug}` | {check.level} | {check.limit * 100:g} % | {check.description} |"
        for check in checks_of(task).values()
    ]
    header = ["| check | level | limit | description |", "| --- | --- | --- | --- |"]
    return "\n".join([*header, *rows])


def _with_examples(check: Check[Inspection]) -> Check[CheckContext]:
    """A task's check, which sees the inspection alone, with examples of the samples it names."""

    def find(context: CheckContext) -> Issues:
        issues = check.find(context.inspection)
        return replace(issues, examples=sample_examples(context, issues.names))

    return Check(check.slug, check.description, find, check.level, check.limit, check.fixable)


def _state(check: Check[Any], share: float, total: int) -> State:
    if check.level == "off" or not total:
        return "off"
    if not share:
        return "passed"
    if share <= check.limit:
        return "noted"
    return "failed" if check.level == "error" else "warned"
