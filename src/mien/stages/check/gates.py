"""The gates that hold for every task, what a config says of them, and how a finding is judged.

A gate has a level and a limit: more than that share of the things looked at being at fault makes
it fail (`error`) or warn (`warn`). Levels are chosen so that only what fools a reader of the scores
stops a training. What each gate looks for is in `findings.py`; a task's own are in `Task.gates`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mien.config import GateConfig, Level
from mien.errors import ConfigError, nearest
from mien.task import Gate, Task

State = Literal["passed", "noted", "warned", "failed", "off"]
"""`noted`: something was found within the limit. `off`: switched off, or nothing to look at."""

UNREADABLE = "unreadable files"
EXACT, EXACT_ACROSS = "exact copies", "copies across splits"
NEAR, NEAR_ACROSS = "near copies", "near copies across splits"
PEOPLE = "people across splits"
CONFLICTS = "one picture, two labels"
EMPTY, IMBALANCE, SHORTCUT = "empty classes", "imbalance", "shortcut"
NOBODY, SEVERAL = "no subject found", "more than one subject"

GATES: Mapping[str, Gate] = {
    UNREADABLE: Gate("They cannot be decoded, and are left out of the training.", "error", 0.01),
    EXACT: Gate("The same again: it counts more than once.", "warn", 0.01, mends=True),
    EXACT_ACROSS: Gate(
        "The same is in val or test and where it was learnt or chosen: scores are too good.",
        "error",
        mends=True,
    ),
    NEAR: Gate("Almost the same again: there is less to learn than it seems.", "warn", 0.05),
    NEAR_ACROSS: Gate(
        "Almost the same is in val or test and where it was learnt or chosen: scores are too good.",
        "warn",
        0.01,
        mends=True,
    ),
    PEOPLE: Gate(
        "Who is learnt from is in val or test too: on new people scores will be lower.",
        "warn",
        mends=True,
    ),
    CONFLICTS: Gate(
        "A copy has another label: one of the two is wrong.", "error", 0.01, mends=True
    ),
    EMPTY: Gate("Labels without a sample in train are never learnt.", "error"),
    IMBALANCE: Gate(
        "What the smallest class lacks of the largest: it is learnt worse.", "warn", 0.9
    ),
    SHORTCUT: Gate(
        "Labels guessed without the subject, beyond the commonest one: a model may learn that.",
        "warn",
        0.08,
    ),
    NOBODY: Gate("Labelled, and no subject was found in them.", "warn", 0.05),
    SEVERAL: Gate("More subjects than labels: which one is meant?", "warn", 0.1),
}


@dataclass(frozen=True)
class Case:
    """One example of what a gate found: a sample, or samples that belong together."""

    names: tuple[str, ...]
    what: str
    """In words, such as ``happy in train, sad in val``."""


@dataclass(frozen=True)
class Found:
    """What was found for a gate, not yet judged."""

    names: tuple[str, ...] = ()
    """All that are at fault."""
    total: int = 0
    """How many were looked at."""
    cases: tuple[Case, ...] = ()
    """A few to look at."""
    number: int | None = None
    """How many are at fault, where that is not the number of names."""


@dataclass(frozen=True)
class Outcome:
    """A gate as it was judged."""

    name: str
    level: Level
    limit: float
    found: int
    total: int
    share: float
    state: State
    meaning: str
    examples: tuple[Case, ...] = field(default=(), repr=False)
    names: tuple[str, ...] = field(default=(), repr=False)
    mends: bool = False
    """Whether `--fix` mends what was found."""


def known(task: Task[Any]) -> dict[str, Gate]:
    """Every gate that data of a task are held to; the task's own word on a gate counts."""
    return {**GATES, **task.data.gates}


def chosen(task: Task[Any], wishes: Mapping[str, GateConfig]) -> dict[str, Gate]:
    """The gates of a task with the levels and limits that a config asks for.

    Raises:
        ConfigError: the config names a gate that there is not.
    """
    gates = known(task)
    names = {_plain(name): name for name in gates}
    for wish, said in wishes.items():
        name = names.get(_plain(wish))
        if name is None:
            hint = nearest(_plain(wish), names) or f" There are: {', '.join(gates)}."
            raise ConfigError(f"gates: there is no gate {wish!r}.{hint}")
        gate = gates[name]
        level = gate.level if said.level is None else said.level
        limit = gate.limit if said.limit is None else said.limit
        gates[name] = Gate(gate.meaning, level, limit)
    return gates


def judge(name: str, gate: Gate, found: Found) -> Outcome:
    """Hold what was found to the gate's limit."""
    number = len(found.names) if found.number is None else found.number
    share = number / found.total if found.total else 0.0
    return Outcome(
        name=name,
        level=gate.level,
        limit=gate.limit,
        found=number,
        total=found.total,
        share=share,
        state=_state(gate, share, found.total),
        meaning=gate.meaning,
        examples=found.cases,
        names=found.names,
        mends=gate.mends,
    )


def table(task: Task[Any]) -> str:
    """The gates of a task with default level and limit, as a table in Markdown for the docs."""
    rows = [
        f"| {name} | {gate.level} | {gate.limit * 100:g} % | {gate.meaning} |"
        for name, gate in known(task).items()
    ]
    return "\n".join(["| gate | level | limit | meaning |", "| --- | --- | --- | --- |", *rows])


def _state(gate: Gate, share: float, total: int) -> State:
    if gate.level == "off" or not total:
        return "off"
    if not share:
        return "passed"
    if share <= gate.limit:
        return "noted"
    return "failed" if gate.level == "error" else "warned"


def _plain(name: str) -> str:
    """Spaces, underscores and commas alike, so that a name is easily written as a YAML key."""
    return re.sub(r"[\s_,]+", " ", name).strip().lower()
