"""What a rebuild found, step by step, and the verdict over all of them. Plain values only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any, Literal

State = Literal["identical", "within_tolerance", "warning", "different"]
"""`warning`: not as recorded, and the rebuild goes on."""
COMPARED = ("data", "prepared", "history", "preprocessing", "networks", "evaluation")
"""The stages whose results are held against the record, in the order in which they follow."""
NOTHING = "nothing"
_SHOWN = 60
_NAMED = 8


@dataclass(frozen=True)
class Step:
    """One thing that was looked at."""

    stage: str
    state: State
    text: str


@dataclass(frozen=True)
class Outcome:
    """What came of rebuilding one version."""

    model: str
    version: int
    candidate: str
    digest: str
    steps: tuple[Step, ...]

    @property
    def first(self) -> Step | None:
        """The first step that differs."""
        return next((step for step in self.steps if step.state == "different"), None)

    @property
    def compared(self) -> tuple[str, ...]:
        """The stages whose results were found to be what they were, or alike."""
        return tuple(step.stage for step in self.steps if step.stage in COMPARED)

    @property
    def rebuilt(self) -> bool:
        """Whether there was a result to hold against the record."""
        return COMPARED[-1] in self.compared

    @property
    def passed(self) -> bool:
        return self.rebuilt and self.first is None

    @property
    def identical(self) -> bool:
        """Whether every stage left the bytes that it left then."""
        states = {step.state for step in self.steps if step.stage in COMPARED}
        return self.passed and states == {"identical"}

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.first:
            return f"differs at {self.first.stage}: {self.first.text}"
        told = [
            step.stage for step in self.steps if step.state == "warning" and step.stage in _USED
        ]
        with_ = f", with another {' and '.join(told)} than recorded" if told else ""
        if self.identical:
            return f"identical: {len(self.compared)} stages{with_}"
        return f"alike: scores within the tolerance, other bytes{with_}"

    def as_json(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        return {
            "model": self.model,
            "version": self.version,
            "candidate": self.candidate,
            "digest": self.digest,
            "passed": self.passed,
            "identical": self.identical,
            "verdict": self.verdict,
            "steps": [asdict(step) for step in self.steps],
        }


_USED = ("code", "environment", "platform")

Difference = tuple[str, Any, Any]
"""The key, what was recorded and what was found."""


def differences(old: Any, new: Any, at: str = "") -> Iterator[Difference]:
    """Where two JSON values differ, in the order of the keys of the first."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            inner = f"{at}.{key}" if at else str(key)
            yield from differences(old.get(key, NOTHING), new.get(key, NOTHING), inner)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        for place, (one, two) in enumerate(zip_longest(old, new, fillvalue=NOTHING)):
            yield from differences(one, two, f"{at}[{place}]")
    elif old != new and not (old != old and new != new):  # NaN is what it was
        yield at, old, new


def summary(found: Sequence[Difference], there: str = "recorded", here: str = "here") -> str:
    """Differences as a person reads them, the first few of them."""
    told = [
        f"{key}: {_plain(old)} {there}, {_plain(new)} {here}" for key, old, new in found[:_NAMED]
    ]
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "; ".join(told) + more


def _plain(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
