"""The results of a sweep for people: a table, and a config that trains the best params again."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from mien.config import RunConfig
from mien.reporting import console
from mien.storage.files import atomic_write

from .search_space import SearchSpace, TrialParams
from .trial import TrialResult

FinishedTrials = Mapping[int, tuple[TrialParams, TrialResult]]
_TABLE_ROWS = 10
_COPIED_SECTIONS = {"checks", "variants", "policy"}


def rank(trials: FinishedTrials) -> list[int]:
    """Numbers of the trials that did not fail, the best first; ties by number."""
    succeeded = [number for number, (_, result) in trials.items() if not result.error]
    return sorted(succeeded, key=lambda number: (-trials[number][1].value, number))


def show(run: RunConfig, trials: FinishedTrials, importances: Mapping[str, float]) -> None:
    """Print the best trials, the importance of each param, and the failed trials."""
    best, keys = rank(trials)[:_TABLE_ROWS], sorted(run.search_space)
    rows = [
        [
            *(str(number), f"{result.value:.4f}", result.best, f"{result.seconds:.1f}"),
            *(_format_value(values[key]) for key in keys),
        ]
        for number, (values, result) in ((number, trials[number]) for number in best)
    ]
    title = f"The best of {len(trials)} trials of {run.task} (validation split)"
    columns = ["trial", f"val {run.policy.maximise}", "candidate", "seconds", *keys]
    console.table(title, columns, rows, mark=0)
    if importances:
        text = ", ".join(f"{key} {importance:.0%}" for key, importance in importances.items())
        console.result(f"Importance (PED-ANOVA): {text}")
    errors = {number: result.error for number, (_, result) in trials.items() if result.error}
    for message in dict.fromkeys(errors.values()):
        numbers = [str(number) for number, error in errors.items() if error == message]
        console.result(f"failed: trial {', '.join(numbers)}: {message}")


def format_trial(number: int, values: TrialParams, result: TrialResult) -> str:
    """One trial as one line."""
    outcome = result.error or f"{result.value:.4f} {result.best}"
    same = f", as trial {result.same_as}" if result.same_as is not None else ""
    settings = " ".join(f"{key}={_format_value(value)}" for key, value in values.items())
    return f"trial {number}: {outcome}  {settings}  {result.seconds:.1f} s{same}"


def format_best(trials: FinishedTrials) -> str:
    """The best trial in a few words."""
    best = rank(trials)[:1]
    return f"best {trials[best[0]][1].value:.4f} (trial {best[0]})" if best else "all failed so far"


def write_best_config(
    run: RunConfig,
    space: SearchSpace,
    trials: FinishedTrials,
    version: str,
    path: Path,
    only: str | None = None,
) -> None:
    """Write the config of the best trial: the same data, seed, params, candidates and policy."""
    number = rank(trials)[0]
    values, result = trials[number]
    params = space.with_values(values) | ({"candidates": [only]} if only else {})
    document = {
        "task": run.task,
        "source": f"@{version}",
        "seed": run.seed,
        "params": params,
        **run.model_dump(mode="json", include=_COPIED_SECTIONS, exclude_defaults=True),
    }
    head = (
        f"# The best of {len(trials)} trials of a sweep of {run.name!r}: trial {number}, "
        f"{result.best}, validation\n# {run.policy.maximise} {result.value:.4f}. The source is "
        "the data version of the sweep.\n"
    )
    with atomic_write(path) as temporary:
        text = head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")


def _format_value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
