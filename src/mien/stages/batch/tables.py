"""The form of the result: one row for each file as Parquet, CSV or JSON lines.

The only importer of pyarrow. What is written hangs on the rows alone: the same rows, the same
bytes. Knows neither models nor how rows are kept until then.
"""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mien.errors import ConfigError
from mien.task import Prediction

from .parts import Run

GROUP = 8192
"""Rows of a Parquet row group, which is what is held in memory."""
BOX = ("box_x1", "box_y1", "box_x2", "box_y2")


@dataclass(frozen=True)
class Described:
    """What the columns are, and what made them."""

    task: str
    labels: tuple[str, ...]
    key: str
    """`file` or `row`."""
    run: Run

    @property
    def model(self) -> dict[str, str]:
        """Name, version and checksum of the model."""
        return {
            "model": f"mien-{self.task}",
            "version": self.run.version,
            "digest": self.run.digest,
        }


Write = Callable[[Path, Iterator[dict[str, Any]], Described], None]


def form(out: Path) -> Write:
    """What writes a file with this ending.

    Raises:
        ConfigError: the ending is not known, or Parquet's library is not there.
    """
    ending = out.suffix.lower()
    if ending not in _FORMS:
        raise ConfigError(f"{out} must end in {', '.join(_FORMS)}: it says what is written.")
    if ending == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401 - asked for now, not after hours of scoring
        except ImportError:
            raise ConfigError(
                "Parquet needs pyarrow: `pip install pyarrow`, or end --out in .csv or .jsonl."
            ) from None
    return _FORMS[ending]


def row(name: str, answer: Prediction | None = None, error: str | None = None) -> dict[str, Any]:
    """One row as JSON values; `name` is the file's name or the row's number."""
    best = answer.best if answer else None
    return {
        "name": name,
        "label": best.label if best else None,
        "confidence": best.confidence if best else None if answer is None else 0.0,
        "outcome": answer.outcome if answer else None,
        "scores": dict(best.scores) if best else None,
        "box": best.box if best else None,
        "error": error,
    }


def _flat(kept: dict[str, Any], described: Described) -> dict[str, Any]:
    """A row as it is written: every cell a plain value."""
    scores, box = kept["scores"] or {}, kept["box"] or (None,) * 4
    name = kept["name"]
    return {
        described.key: int(name) if described.key == "row" else name,
        "label": kept["label"],
        "confidence": kept["confidence"],
        "outcome": kept["outcome"],
        **{f"score_{label}": scores.get(label) for label in described.labels},
        **dict(zip(BOX, box, strict=True)),
        "error": kept["error"],
    }


def _csv(path: Path, rows: Iterator[dict[str, Any]], described: Described) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for number, kept in enumerate(rows):
            cells = {**_flat(kept, described), **described.model}
            if not number:
                writer.writerow(cells)
            writer.writerow(cells.values())


def _jsonl(path: Path, rows: Iterator[dict[str, Any]], described: Described) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for kept in rows:
            cells = {**_flat(kept, described), **described.model}
            stream.write(json.dumps(cells, ensure_ascii=False) + "\n")


def _parquet(path: Path, rows: Iterator[dict[str, Any]], described: Described) -> None:
    import pyarrow
    from pyarrow import parquet

    kinds = {"row": pyarrow.int64()}
    kinds |= dict.fromkeys(("file", "label", "outcome", "error"), pyarrow.string())
    names = _flat(row("0"), described)
    told = {f"mien.{name}": value for name, value in described.model.items()}
    fields = [(name, kinds.get(name, pyarrow.float64())) for name in names]
    schema = pyarrow.schema(fields, metadata=told)
    with parquet.ParquetWriter(path, schema) as writer:
        while group := [_flat(kept, described) for kept in islice(rows, GROUP)]:
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


_FORMS: dict[str, Write] = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
