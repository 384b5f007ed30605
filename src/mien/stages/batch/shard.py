"""Which share of the parts a process scores: from the command line, or from what started it."""

import os
import re
from dataclasses import dataclass
from typing import Self

from mien.errors import ConfigError

VARIABLES = (
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETION_COUNT"),
    ("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
)
"""Of an Indexed Job of Kubernetes, which sets the index alone, and of a job of Cloud Run."""


@dataclass(frozen=True)
class Shard:
    """Every `count`-th part, from number `index`."""

    index: int
    count: int

    @classmethod
    def of(cls, text: str | None) -> Self:
        """Read `I/N`, or without a text what the environment says.

        Raises:
            ConfigError: neither names a shard.
        """
        name = "--shard"
        if text is None:
            name, text = next(
                (
                    (f"{index}/{count}", f"{os.environ[index]}/{os.environ.get(count, '')}")
                    for index, count in VARIABLES
                    if index in os.environ
                ),
                (name, ""),
            )
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match or int(match[1]) >= int(match[2]):
            pairs = " or ".join(" and ".join(pair) for pair in VARIABLES)
            raise ConfigError(
                f"{name}: expected I/N with I from 0 to N - 1, found {text or 'nothing'}. Give "
                f"--shard I/N, or set {pairs}."
            )
        return cls(int(match[1]), int(match[2]))

    def parts(self, count: int) -> range:
        """The numbers of its parts, of `count` in all."""
        return range(self.index, count, self.count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
