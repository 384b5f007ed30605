"""Lists the hands of a source and records the issues of the task's own checks.

A row that cannot be used is an issue and not an error. The samples' splits are those that `prepare`
makes with the same params: both take them from the same rows by the same rule. The values of a
sample are its features as a classifier gets them, so that the same pose has near values wherever
the hand is in its image; a missing depth is left out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.task import Inspection, Issues, Sample, Split

from . import anatomy, checks, data, depth, landmarks, sources, splits, table, typical
from .checks import CHECKS
from .landmarks import Floats, Known
from .params import LABELS, Params
from .table import Part, Row, Rows

_MAX_DISTANCE = 6.0
"""Distance beyond which a hand is an outlier, see `typical.py`: about 1 in 200 of public tables."""
_MIN_HANDS = 250
"""Hands from which outliers can be told, for 63 features."""
_MIN_MAJORITY = 0.8
"""Share of rows in one unit from which the others are the exception; with fewer the unit of the
table is ambiguous."""


@dataclass
class _Record:
    """Issues, and rows as `prepare` has them, while the parts of a source are read."""

    issues: dict[str, list[str]] = field(default_factory=dict)
    """Names by slug."""
    totals: Counter[str] = field(default_factory=Counter)
    rows: list[Rows] = field(default_factory=list)
    values: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def add(self, slug: str, names: Iterable[str], total: int) -> None:
        self.issues.setdefault(slug, []).extend(names)
        self.totals[slug] += total

    def passing(self, slug: str, rows: list[Row], passed: Sequence[bool]) -> list[Row]:
        """The rows that pass a check; the others are recorded."""
        pairs = list(zip(rows, passed, strict=True))
        self.add(slug, [row.name for row, fine in pairs if not fine], len(rows))
        return [row for row, fine in pairs if fine]


def inspect(raw: Path, params: Params, cache: Path) -> Inspection:
    """List every hand of a source whose label is not ignored, and check it.

    Raises:
        DataError: the source holds no hands, a file cannot be read as what it is, or no row has a
            known label.
    """
    source = sources.find(raw, params.ignore_labels)
    record = _Record()
    rows: list[Row] = []
    for part in sources.parts(source, cache, lambda label: label in LABELS):
        used = [row for row in part.rows if row.label not in params.ignore_labels]
        rows += used
        _inspect_part(replace(part, rows=used), params, record)
    if not any(row.label in LABELS for row in rows):
        labels = ", ".join(sorted({repr(row.label) for row in rows})[:5]) or "no row"
        raise DataError(
            f"no row has a known label: expected {', '.join(LABELS)}, found {labels}. Correct the "
            "labels of the source."
        )
    split_of, digests = _splits(record, params)
    samples = tuple(_sample(row, split_of, digests, record.values) for row in rows)
    issues = {
        check.slug: Issues(tuple(record.issues.get(check.slug, ())), record.totals[check.slug])
        for check in CHECKS
    }
    return Inspection(samples, issues)


def _inspect_part(part: Part, params: Params, record: _Record) -> None:
    usable = _with_points(part, record)
    if not usable:
        return
    convention, usable = _in_one_unit(part, usable, params, record)
    if convention == "unit" and (part.sized or params.aspect is None):
        sized = [part.sized and bool(np.isfinite(row.size).all()) for row in usable]
        usable = record.passing(data.MISSING_IMAGE_SIZE, usable, sized)
    measurable = landmarks.measurable(_points(usable)).tolist()
    usable = record.passing(data.IMPOSSIBLE_HAND, usable, measurable)
    if convention is not None and usable:
        stated = params.model_copy(update={"convention": convention})
        rows, _ = data.common(replace(part, rows=usable), stated, Counter())
        _inspect_hands(rows, part, record)


def _with_points(part: Part, record: _Record) -> list[Row]:
    """The rows that have points and a known label; the others are recorded."""
    usable = []
    for slug in (*part.reasons, table.MISSING_VALUES, checks.UNKNOWN_LABEL):
        record.add(slug, (), len(part.rows))
    for row in part.rows:
        reason = table.reason(row, ())
        if row.label and row.label not in LABELS:
            record.add(checks.UNKNOWN_LABEL, [row.name], 0)
        elif reason:
            record.add(reason, [row.name], 0)
        else:
            usable.append(row)
    return usable


def _in_one_unit(
    part: Part, rows: list[Row], params: Params, record: _Record
) -> tuple[Known | None, list[Row]]:
    """The convention of a part, None if it is ambiguous, and the rows that follow it."""
    points = _points(rows)
    record.add(checks.AMBIGUOUS_UNITS, (), 1)
    try:
        convention, _ = data.convention(part, points, params)
        record.add(checks.MIXED_UNITS, (), len(rows))
        return convention, rows
    except DataError:
        kinds = [landmarks.kind(hand) for hand in points]
    conventions: tuple[Known, ...] = ("pixels", "unit", "wrist")
    main = max(conventions, key=kinds.count)
    if kinds.count(main) < _MIN_MAJORITY * len(kinds):
        record.add(checks.AMBIGUOUS_UNITS, [part.title], 0)
        return None, []
    return main, record.passing(checks.MIXED_UNITS, rows, [kind == main for kind in kinds])


def _inspect_hands(rows: Rows, part: Part, record: _Record) -> None:
    """Check hands of the common frame, and store them as `prepare` has them."""
    points = rows.landmarks
    features = landmarks.normalise(points)
    record.values |= dict(zip(rows.names, features, strict=True))
    impossible = anatomy.impossible(points)
    names = [rows.names[index] for index in np.flatnonzero(impossible)]
    record.add(data.IMPOSSIBLE_HAND, names, 0)
    disordered, flat = anatomy.disordered(points), depth.unknown(points)
    record.add(checks.LANDMARK_ORDER, [part.title] if disordered else (), 1)
    record.add(checks.MISSING_DEPTH, [part.title] if flat else (), 1)
    if (~impossible).sum() >= _MIN_HANDS:
        model = typical.Typical.of(typical.describe(features[~impossible]))
        outliers = [
            rows.names[index]
            for index in np.flatnonzero(~impossible)
            if model.distance(features[index]) > _MAX_DISTANCE
        ]
        record.add(checks.OUTLIER_HAND, outliers, len(features))
    record.rows.append(data.lent(rows, part.title)[0])


def _splits(record: _Record, params: Params) -> tuple[Mapping[str, Split], Mapping[str, str]]:
    """The split and the digest of each row that `prepare` will have, by name."""
    if not record.rows:
        return {}, {}
    rows = table.join(record.rows)
    digests = dict(zip(rows.names, splits.fingerprints(rows), strict=True))
    words = [splits.read(word) for word in rows.splits]
    unknown = [name for name, word in zip(rows.names, words, strict=True) if word is None]
    if any(rows.splits) and unknown:
        record.add(checks.UNKNOWN_SPLIT, unknown, len(words))
        named = zip(rows.names, words, strict=True)
        return {name: word for name, word in named if word is not None}, digests
    assigned, _ = splits.assign(rows, params.val, params.test)
    return dict(zip(rows.names, assigned, strict=True)), digests


def _sample(
    row: Row,
    split_of: Mapping[str, Split],
    digests: Mapping[str, str],
    values: Mapping[str, NDArray[np.float32]],
) -> Sample:
    features = values.get(row.name)
    return Sample(
        name=row.name,
        labels=(row.label,) if row.label else (),
        digest=digests.get(row.name) or _digest(row),
        split=split_of.get(row.name),
        image_path=row.picture,
        values=None if features is None else tuple(features.tolist()),
        person=row.user,
        metadata=row.facts,
    )


def _digest(row: Row) -> str:
    """A digest for a row that no model will see."""
    if row.picture is not None:
        return sha256(row.picture.read_bytes()).hexdigest()
    content = row.name.encode() if row.points is None else row.points.tobytes()
    return sha256(content).hexdigest()


def _points(rows: Sequence[Row]) -> Floats:
    return np.array([row.points for row in rows], dtype=np.float64).reshape(-1, 21, 3)
