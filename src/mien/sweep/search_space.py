"""The `search_space:` section of a config: which params a sweep may vary, and in which ranges.

Knows ranges and lists, and nothing of how a sweep chooses among them.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field, model_validator

from mien import config, tasks
from mien.config import RunConfig, Schema
from mien.errors import ConfigError

TrialParams = Mapping[str, Any]
"""One value for each key of a search space, as JSON values."""

_EXAMPLE = "search_space: {trees: {low: 50, high: 300, step: 50}, cv_folds: [3, 5]}"
_INNER_POINT = 0.382
"""Relative position of one more value to check in a range of floats; unlikely to be an integer."""
_MAX_CHECKED = 1000
"""Up to so many integers of a range are checked one by one."""


class Range(Schema):
    """A range that includes both ends; of integers if both ends are."""

    low: int | float = Field(allow_inf_nan=False)
    high: int | float = Field(allow_inf_nan=False)
    step: int | None = Field(default=None, gt=0)
    """Of integers."""
    log: bool = False
    """Whether to sample on a logarithmic scale."""

    @property
    def is_integer(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @model_validator(mode="after")
    def _check_ends(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"expected low below high, found {self.low} and {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("expected low above 0 and no step with log")
        if self.step is not None and not self.is_integer:
            raise ValueError("step is for integers; give single values as a list")
        return self


Dimension = Range | tuple[Any, ...]
"""A range, or the values to choose from."""


@dataclass(frozen=True)
class SearchSpace:
    """The params of a run, and the dimensions in which they may vary."""

    base: Mapping[str, Any]
    dimensions: Mapping[str, Dimension]
    """By key of `params`, with dots for nested keys, in alphabetical order."""

    @classmethod
    def from_config(cls, run: RunConfig) -> Self:
        """Read the `search_space:` section of a run and check its values against the task.

        Raises:
            ConfigError: there is no section, it has a key that the task does not have or that
                determines the data, or a value that the task refuses.
        """
        if not run.search_space:
            raise ConfigError(
                f"Config {run.name!r}: expected a section `search_space:`, found none. Give the "
                f"values to try for keys of params: {_EXAMPLE}"
            )
        keys = sorted(run.search_space)
        space = cls(run.params, {key: _parse_dimension(key, run.search_space[key]) for key in keys})
        space._check(run)
        return space

    def with_values(self, values: TrialParams) -> dict[str, Any]:
        """Return the complete `params:` section with the given values."""
        document = deepcopy(dict(self.base))
        for key, value in values.items():
            *parents, last = key.split(".")
            section = document
            for parent in parents:
                section = section.setdefault(parent, {})
                if not isinstance(section, dict):
                    raise ConfigError(
                        f"search_space.{key}: expected a section params.{parent}, found a value."
                    )
            section[last] = value
        return document

    def as_json(self) -> dict[str, Any]:
        """The dimensions as JSON values."""
        return {
            key: dimension.model_dump() if isinstance(dimension, Range) else list(dimension)
            for key, dimension in self.dimensions.items()
        }

    def _check(self, run: RunConfig) -> None:
        task = tasks.load(run.task)
        for key, dimension in self.dimensions.items():
            self._check_key(key, task.data.param_names)
            for value in _values_to_check(dimension):
                name = f"search_space.{key} = {json.dumps(value)}"
                try:
                    params = config.parse(
                        task.training.Params, self.with_values({key: value}), name
                    )
                    task.training.candidates(params)
                except ConfigError as error:
                    raise ConfigError(_add_hint(str(error), dimension, value)) from None

    def _check_key(self, key: str, data_params: tuple[str, ...]) -> None:
        if key.split(".")[0] in data_params:
            raise ConfigError(
                f"search_space.{key}: {key} determines the data, and a sweep compares trainings on "
                "the same data. Set it under params and sweep the others."
            )
        nested = [other for other in self.dimensions if other.startswith(f"{key}.")]
        if nested:
            raise ConfigError(f"search_space.{key} and search_space.{nested[0]} overlap.")


def _values_to_check(dimension: Dimension) -> Sequence[Any]:
    """Values whose validity shows whether a schema accepts the whole dimension."""
    if not isinstance(dimension, Range):
        return dimension
    low, high = dimension.low, dimension.high
    if isinstance(low, int) and isinstance(high, int):
        values = range(low, high + 1, dimension.step or 1)
        return values if len(values) <= _MAX_CHECKED else (values[0], values[-1])
    return low, high, low + (high - low) * _INNER_POINT


def _parse_dimension(key: str, value: Any) -> Dimension:
    if isinstance(value, list):
        if not value:
            raise ConfigError(f"search_space.{key}: expected at least one value, found none.")
        return tuple(value)
    if not isinstance(value, dict):
        raise ConfigError(
            f"search_space.{key}: expected a range such as {{low: 0.001, high: 0.1, log: true}} or "
            f"a list of values, found {value!r}"
        )
    return config.parse(Range, value, f"search_space.{key}")


def _add_hint(text: str, dimension: Dimension, value: Any) -> str:
    if (
        isinstance(dimension, Range)
        and not dimension.is_integer
        and value not in (dimension.low, dimension.high)
    ):
        return f"{text} (for integers write both ends without a decimal point)"
    return text
