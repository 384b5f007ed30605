"""The steps of a rebuild, and the verdict over all of them. Plain values only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any, Literal

State = Literal["identical", "within_tolerance", "warning", "different"]
"""`warning`: not as recorded, and the rebuild continues."""
COMPARED_STAGES = ("data", "prepared", "history", "preprocessing", "networks", "evaluation")
"""The stages whose results are compared with the record, in their order."""
_ENVIRONMENT_STAGES = ("code", "environment", "platform")
MISSING = "nothing"
_MAX_VALUE_LENGTH = 60
_MAX_DIFFERENCES = 8


@dataclass(frozen=True)
class RebuildStep:
    """The result of one comparison."""

    stage: str
    state: State
    text: str


@dataclass(frozen=True)
class RebuildOutcome:
    """The result of rebuilding one version."""

    model: str
    version: int
    candidate: str
    digest: str
    model_sha256: str
    steps: tuple[RebuildStep, ...]

    @property
    def first_difference(self) -> RebuildStep | None:
        """The first step that differs."""
        return next((step for step in self.steps if step.state == "different"), None)

    @property
    def compared(self) -> tuple[str, ...]:
        """The stages whose results were compared."""
        return tuple(step.stage for step in self.steps if step.stage in COMPARED_STAGES)

    @property
    def rebuilt(self) -> bool:
        """Whether the pipeline produced a result to compare with the record."""
        return COMPARED_STAGES[-1] in self.compared

    @property
    def passed(self) -> bool:
        return self.rebuilt and self.first_difference is None

    @property
    def identical(self) -> bool:
        """Whether every stage produced the same bytes as before."""
        states = {step.state for step in self.steps if step.stage in COMPARED_STAGES}
        return self.passed and states == {"identical"}

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.first_difference:
            return f"differs at {self.first_difference.stage}: {self.first_difference.text}"
        changed = [
            step.stage
            for step in self.steps
            if step.state == "warning" and step.stage in _ENVIRONMENT_STAGES
        ]
        suffix = f", with another {' and '.join(changed)} than recorded" if changed else ""
        if self.identical:
            return f"identical: {len(self.compared)} stages{suffix}"
        return f"within tolerance: scores agree, bytes differ{suffix}"

    def as_json(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        return {
            "model": self.model,
            "version": self.version,
            "candidate": self.candidate,
            "digest": self.digest,
            "model_sha256": self.model_sha256,
            "passed": self.passed,
            "identical": self.identical,
            "verdict": self.verdict,
            "steps": [asdict(step) for step in self.steps],
        }


Difference = tuple[str, Any, Any]
"""The key, the recorded value and the present value."""


def differences(old: Any, new: Any, path: str = "") -> Iterator[Difference]:
    """Yield the differences of two JSON values, in the order of the keys of the first."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            inner = f"{path}.{key}" if path else str(key)
            yield from differences(old.get(key, MISSING), new.get(key, MISSING), inner)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        for index, pair in enumerate(zip_longest(old, new, fillvalue=MISSING)):
            yield from differences(*pair, f"{path}[{index}]")
    elif old != new and not (old != old and new != new):  # NaN equals NaN here
        yield path, old, new


def format_differences(
    differing: Sequence[Difference], old_name: str = "recorded", new_name: str = "here"
) -> str:
    """The first few differences as text."""
    parts = [
        f"{key}: {_shorten(old)} {old_name}, {_shorten(new)} {new_name}"
        for key, old, new in differing[:_MAX_DIFFERENCES]
    ]
    hidden = len(differing) - _MAX_DIFFERENCES
    return "; ".join(parts) + (f"; and {hidden} more" if hidden > 0 else "")


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MAX_VALUE_LENGTH else text[: _MAX_VALUE_LENGTH - 3] + "..."
