"""Writes the result: one row for each file as Parquet, CSV or JSON lines.

The only importer of pyarrow. The bytes depend on the rows alone. Knows neither models nor the
checkpoint.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mien.errors import ConfigError
from mien.storage.files import json_text
from mien.task import Prediction

from .result import BatchIdentity

ROW_GROUP_SIZE = 8192
"""Rows of a Parquet row group; so many are in memory at a time."""
BOX_COLUMNS = ("box_x1", "box_y1", "box_x2", "box_y2")


@dataclass(frozen=True)
class TableSchema:
    """The columns, and the model that filled them."""

    task: str
    labels: tuple[str, ...]
    key_column: str
    """`file` or `row`."""
    identity: BatchIdentity

    @property
    def model(self) -> dict[str, str]:
        """Name, version and digest of the model."""
        return {
            "model": f"mien-{self.task}",
            "version": self.identity.version,
            "digest": self.identity.digest,
        }


TableWriter = Callable[[Path, Iterator[dict[str, Any]], TableSchema], None]


def writer_for(out: Path) -> TableWriter:
    """Return the writer for the suffix of a file name.

    Raises:
        ConfigError: the suffix is unknown, or the library for Parquet is not installed.
    """
    suffix = out.suffix.lower()
    if suffix not in _WRITERS:
        raise ConfigError(
            f"--out {out}: expected one of {', '.join(_WRITERS)} at its end, or a folder."
        )
    if suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401 - fail now and not after hours of scoring
        except ImportError:
            raise ConfigError(
                "Parquet needs pyarrow: `pip install pyarrow`, or end --out in .csv or .jsonl."
            ) from None
    return _WRITERS[suffix]


def result_row(
    name: str, prediction: Prediction | None = None, error: str | None = None
) -> dict[str, Any]:
    """One row as JSON values; `name` is the name of the file or the number of the row."""
    document = prediction.as_json("label") if prediction else None
    return {"name": name, "prediction": document, "error": error}


def read_back(path: Path, key_column: str) -> Iterator[tuple[str, bool]]:
    """Key and failure of each row of a table.

    Raises:
        ValueError, LookupError, OSError: it is not a whole table.
    """
    for row in _READERS[path.suffix](path, (key_column, "error")):
        yield str(row[key_column]), bool(row["error"])


def _read_csv(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as stream:
        lines = list(stream)
    if not lines or not lines[-1].endswith("\n"):
        raise ValueError("the last row is cut off")
    yield from csv.DictReader(lines, strict=True)


def _read_jsonl(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as table:
        for group in table.iter_batches(columns=list(columns)):
            yield from group.to_pylist()


def _to_cells(row: dict[str, Any], schema: TableSchema) -> dict[str, Any]:
    """A row with one plain value for each column."""
    name, prediction = row["name"], row["prediction"] or {}
    best: dict[str, Any] = next(iter(prediction.get("detections", ())), {})
    scores, box = best.get("scores", {}), best.get("box") or (None,) * 4
    return {
        schema.key_column: int(name) if schema.key_column == "row" else name,
        "label": prediction.get("label"),
        "confidence": prediction.get("confidence"),
        "outcome": prediction.get("outcome"),
        **{f"score_{label}": scores.get(label) for label in schema.labels},
        **dict(zip(BOX_COLUMNS, box, strict=True)),
        "error": row["error"],
    }


def _write_csv(path: Path, rows: Iterator[dict[str, Any]], schema: TableSchema) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for number, row in enumerate(rows):
            cells = {**_to_cells(row, schema), **schema.model}
            if not number:
                writer.writerow(cells)
            writer.writerow(cells.values())


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]], schema: TableSchema) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            cells = {**_to_cells(row, schema), **schema.model}
            stream.write(json_text(cells, ensure_ascii=False) + "\n")


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]], schema: TableSchema) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {"row": pyarrow.int64()}
    types |= dict.fromkeys(("file", "label", "outcome", "error"), pyarrow.string())
    names = _to_cells(result_row("0"), schema)
    metadata = {f"mien.{name}": value for name, value in schema.model.items()}
    fields = [(name, types.get(name, pyarrow.float64())) for name in names]
    arrow_schema = pyarrow.schema(fields, metadata=metadata)
    with parquet.ParquetWriter(path, arrow_schema) as writer:
        while group := [_to_cells(row, schema) for row in islice(rows, ROW_GROUP_SIZE)]:
            writer.write_table(pyarrow.Table.from_pylist(group, schema=arrow_schema))


_WRITERS: dict[str, TableWriter] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}
_READERS: dict[str, Callable[[Path, Sequence[str]], Iterator[dict[str, Any]]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
}
