"""What a sweep found, for people: a table, a config that trains the best choice again."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from mien.config import RunConfig
from mien.reporting import console
from mien.storage.files import atomic_write

from .space import Choice, Space
from .trial import Outcome

Told = Mapping[int, tuple[Choice, Outcome]]
_SHOWN = 10
_AS_IT_IS = {"gates", "variants", "policy"}


def ranked(told: Told) -> list[int]:
    """Numbers of the trials that did not fail, the best first; the earlier of equals."""
    good = [number for number, (_, outcome) in told.items() if not outcome.error]
    return sorted(good, key=lambda number: (-told[number][1].value, number))


def show(run: RunConfig, told: Told, importances: Mapping[str, float]) -> None:
    """Print the best trials, what mattered, and what failed."""
    best, keys = ranked(told)[:_SHOWN], sorted(run.search_space)
    rows = [
        [str(number), f"{done.value:.4f}", done.best, _seconds(done), *_values(choice, keys)]
        for number, (choice, done) in ((number, told[number]) for number in best)
    ]
    title = f"The best of {len(told)} trials of {run.task} (validation split)"
    columns = ["trial", f"val {run.policy.maximise}", "candidate", "seconds", *keys]
    console.table(title, columns, rows, mark=0)
    if importances:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in importances.items())
        console.result(f"What mattered (PED-ANOVA): {shares}")
    failed = {number: done.error for number, (_, done) in told.items() if done.error}
    for why in dict.fromkeys(failed.values()):
        numbers = [str(number) for number, error in failed.items() if error == why]
        console.result(f"failed: trial {', '.join(numbers)}: {why}")


def line(number: int, choice: Choice, outcome: Outcome) -> str:
    """One trial in words."""
    found = outcome.error or f"{outcome.value:.4f} {outcome.best}"
    again = f", as trial {outcome.same_as}" if outcome.same_as is not None else ""
    settings = " ".join(f"{key}={_value(value)}" for key, value in choice.items())
    return f"trial {number}: {found}  {settings}  {outcome.seconds:.1f} s{again}"


def so_far(told: Told) -> str:
    """The best trial in a few words."""
    best = ranked(told)[:1]
    return f"best {told[best[0]][1].value:.4f} (trial {best[0]})" if best else "all failed so far"


def write(
    run: RunConfig, space: Space, told: Told, version: str, path: Path, only: str | None = None
) -> None:
    """Write the config of the best trial: the same data, seed, params, candidates and policy."""
    number = ranked(told)[0]
    choice, outcome = told[number]
    params = space.filled(choice) | ({"candidates": [only]} if only else {})
    document = {
        "task": run.task,
        "source": f"@{version}",
        "seed": run.seed,
        "params": params,
        **run.model_dump(mode="json", include=_AS_IT_IS, exclude_defaults=True),
    }
    head = (
        f"# The best of {len(told)} trials of a sweep of {run.name!r}: trial {number}, "
        f"{outcome.best}, validation\n# {run.policy.maximise} {outcome.value:.4f}. The source is "
        "the version of the data that was swept.\n"
    )
    with atomic_write(path) as temporary:
        text = head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")


def _values(choice: Choice, keys: list[str]) -> list[str]:
    return [_value(choice[key]) for key in keys]


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _seconds(outcome: Outcome) -> str:
    return f"{outcome.seconds:.1f}"
