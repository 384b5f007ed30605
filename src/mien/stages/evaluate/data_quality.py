"""What an evaluation takes from the check of its data: leaked examples and completeness."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mien.errors import MienError
from mien.stages import Run
from mien.storage.workspace import DATA_QUALITY, REPORT, read_latest


@dataclass(frozen=True)
class DataQuality:
    """The result of a data check, as an evaluation needs it."""

    leaked: frozenset[str]
    """Names of val and test examples with an exact or near duplicate in train."""
    completeness: Mapping[str, float]
    """Share of items without the issue, by slug of the check."""


def read_data_quality(run: Run, ready: Path) -> DataQuality | None:
    """The check of the data in `ready`; None where the last check was of other data."""
    try:
        path = read_latest(run.checked, run.config.name, "") / DATA_QUALITY
    except MienError:
        return None
    quality = json.loads(path.read_text(encoding="utf-8"))
    prepared = json.loads((ready / REPORT).read_text(encoding="utf-8"))
    if quality["version"] != prepared["data_fingerprint"]:
        return None
    leaked = frozenset(quality["exact"]) | frozenset(quality["near"])
    return DataQuality(leaked, quality["completeness"])
