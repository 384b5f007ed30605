"""What a sweep may choose: the `search_space:` section of a config, checked by the task's params.

Knows ranges and lists, and nothing of how a sweep chooses among them.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field, model_validator

from mien import config, tasks
from mien.config import RunConfig, Schema
from mien.errors import ConfigError

Choice = Mapping[str, Any]
"""One value for each key of a space, as JSON values."""

_EXAMPLE = "search_space: {trees: {low: 50, high: 300, step: 50}, folds: [3, 5]}"
_INSIDE = 0.382
"""Where between the ends of a range one more value is tried: no whole number by chance."""
_ALL = 1000
"""Whole numbers up to which every one of a range is held against the params."""


class Between(Schema):
    """A range with both ends; whole numbers if both ends are."""

    low: int | float = Field(allow_inf_nan=False)
    high: int | float = Field(allow_inf_nan=False)
    step: int | None = Field(default=None, gt=0)
    """Of whole numbers."""
    log: bool = False
    """Whether small values are looked at as closely as large ones."""

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high; found {self.low} and {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0, and no step")
        if self.step is not None and not self.whole:
            raise ValueError("step is for whole numbers; a list names single values")
        return self

    def trials(self) -> Iterator[int | float]:
        """The values that tell whether a schema takes this range."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            every = range(self.low, self.high + 1, self.step or 1)
            yield from every if len(every) <= _ALL else (every[0], every[-1])
            return
        yield from (self.low, self.high, self.low + (self.high - self.low) * _INSIDE)


Axis = Between | tuple[Any, ...]
"""A range, or the values to choose from."""


@dataclass(frozen=True)
class Space:
    """The params of a run, and what may stand in their place."""

    base: Mapping[str, Any]
    axes: Mapping[str, Axis]
    """By key of `params`, dots for nested ones, in order of the alphabet."""

    @classmethod
    def of(cls, run: RunConfig) -> Self:
        """Read the `search_space:` section of a run and try every end and every listed value.

        Raises:
            ConfigError: there is no section, a key that the task does not have, one that decides
                about the data, or a value that the task refuses.
        """
        if not run.search_space:
            raise ConfigError(
                f"The config {run.name!r} has no `search_space:` section. Say what may be chosen, "
                f"by key of params: {_EXAMPLE}"
            )
        space = cls(
            run.params, {key: _axis(key, run.search_space[key]) for key in sorted(run.search_space)}
        )
        space._check(run)
        return space

    def filled(self, choice: Choice) -> dict[str, Any]:
        """The whole `params:` section with a choice in it."""
        document = deepcopy(dict(self.base))
        for key, value in choice.items():
            *parents, last = key.split(".")
            section = document
            for parent in parents:
                section = section.setdefault(parent, {})
                if not isinstance(section, dict):
                    raise ConfigError(
                        f"search_space.{key}: params.{parent} holds a value, no section."
                    )
            section[last] = value
        return document

    def as_json(self) -> dict[str, Any]:
        """The axes as JSON values."""
        return {
            key: axis.model_dump() if isinstance(axis, Between) else list(axis)
            for key, axis in self.axes.items()
        }

    def _check(self, run: RunConfig) -> None:
        task = tasks.load(run.task)
        for key, axis in self.axes.items():
            self._alone(key, task.data.param_names)
            for value in axis.trials() if isinstance(axis, Between) else axis:
                where = f"search_space.{key} = {json.dumps(value)}"
                try:
                    task.training.candidates(
                        config.parse(task.training.Params, self.filled({key: value}), where)
                    )
                except ConfigError as error:
                    raise ConfigError(_with_hint(str(error), axis, value)) from None

    def _alone(self, key: str, data_params: tuple[str, ...]) -> None:
        if key.split(".")[0] in data_params:
            raise ConfigError(
                f"search_space.{key}: {key} changes the data, and a sweep compares trainings "
                "on the same data. Set it under params and sweep the rest."
            )
        within = [other for other in self.axes if other.startswith(f"{key}.")]
        if within:
            raise ConfigError(
                f"search_space.{key} and search_space.{within[0]} choose the same thing twice."
            )


def _axis(key: str, told: Any) -> Axis:
    if isinstance(told, list):
        if not told:
            raise ConfigError(
                f"search_space.{key} is an empty list; name the values to choose from."
            )
        return tuple(told)
    if not isinstance(told, dict):
        raise ConfigError(
            f"search_space.{key} is a range such as {{low: 0.001, high: 0.1, log: true}} or a list "
            f"of values; found {told!r}"
        )
    return config.parse(Between, told, f"search_space.{key}")


def _with_hint(text: str, axis: Axis, value: Any) -> str:
    if isinstance(axis, Between) and not axis.whole and value not in (axis.low, axis.high):
        return f"{text} (for whole numbers write both ends without a point)"
    return text
