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

from . import anatomy, checks, data, depth, labels, landmarks, sources, splits, table
from .checks import CHECKS
from .columns import POINTS
from .landmarks import Convention, Floats
from .outlier_model import fit_outlier_model
from .params import Params
from .table import LandmarkTable, SourceRow, SourceTable

_MAX_DISTANCE = 6.0
"""Distance above which a hand is an outlier (`outlier_model.py`): 1 in 200 of public tables."""
_MIN_HANDS = 250
"""Hands that are enough to find outliers, for 63 features."""
_MIN_MAJORITY = 0.8
"""Share of rows in one unit from which the others are the exception; with fewer the unit of the
table is ambiguous."""


_SETTINGS = {
    checks.AMBIGUOUS_UNITS: "params.convention=pixels",
    data.MISSING_IMAGE_SIZE: "params.aspect_ratio=0.75",
    checks.UNKNOWN_SPLIT: "params.splits=drawn",
}
"""Another value may be the right one."""


@dataclass
class _HandRecord:
    """Issues, and rows as `prepare` has them, while the tables of a source are read."""

    issues: dict[str, list[str]] = field(default_factory=dict)
    """Names by slug."""
    totals: Counter[str] = field(default_factory=Counter)
    settings: dict[str, str] = field(default_factory=lambda: dict(_SETTINGS))
    """By slug: with it, `prepare` reads such rows too, or leaves them out."""
    rows: list[LandmarkTable] = field(default_factory=list)
    values: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    of_one_label: dict[str, Floats] = field(default_factory=dict)
    """Hands of tables that hold one label, by title: fists alone do not show the order of their
    landmarks, all gestures together do."""

    def add(self, slug: str, names: Iterable[str], total: int) -> None:
        self.issues.setdefault(slug, []).extend(names)
        self.totals[slug] += total

    def passing(self, slug: str, rows: list[SourceRow], passed: Sequence[bool]) -> list[SourceRow]:
        """The rows that pass a check; the others are recorded."""
        pairs = list(zip(rows, passed, strict=True))
        self.add(slug, [row.name for row, fine in pairs if not fine], len(rows))
        return [row for row, fine in pairs if fine]


def inspect(raw: Path, params: Params, cache: Path) -> Inspection:
    """List every hand of a source whose label is not ignored, and check it.

    Raises:
        DataError: the source holds no hands, a file cannot be read as what it is, or no row has a
            label.
    """
    source = sources.find_source(raw, params.ignore_labels)
    record = _HandRecord()
    rows: list[SourceRow] = []
    source_tables = sources.read_tables(source, cache)
    labels.require_ignored(params.ignore_labels, source_tables)
    for source_table in source_tables:
        used = [row for row in source_table.rows if row.label not in params.ignore_labels]
        rows += used
        _inspect_table(replace(source_table, rows=used), params, record)
    if record.of_one_label:
        points = np.concatenate(list(record.of_one_label.values()))
        _inspect_order(list(record.of_one_label), points, record)
    learned = tuple(sorted({row.label for row in rows if row.label}))
    if not learned:
        raise DataError(
            f"no row has a label: expected one in each of {len(rows)} rows. Name them in a column "
            "label, or put photos into folders that have the name of their label."
        )
    _inspect_labels(rows, params, record)
    split_of, digests = _splits(record, params)
    samples = tuple(_sample(row, split_of, digests, record.values) for row in rows)
    issues = {
        check.slug: Issues(
            tuple(record.issues.get(check.slug, ())),
            record.totals[check.slug],
            setting=record.settings.get(check.slug, ""),
        )
        for check in CHECKS
    }
    return Inspection(samples, issues, learned)


def label_features(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """The normalized landmarks (n, 63); NaN for a sample without a usable hand."""
    missing = (np.nan,) * (3 * POINTS)
    return np.array([each.values or missing for each in samples], np.float32).reshape(
        -1, len(missing)
    )


def _inspect_labels(rows: Sequence[SourceRow], params: Params, record: _HandRecord) -> None:
    """Record the rows of labels that have too few usable rows."""
    usable = Counter(row.label for row in rows if not table.skip_reason(row, ()))
    rare = [row for row in rows if row.label and usable[row.label] < labels.MIN_ROWS]
    record.add(checks.RARE_LABEL, [row.name for row in rare], len(rows))
    names = sorted({row.label for row in rare})
    record.settings[checks.RARE_LABEL] = labels.ignore_setting(params.ignore_labels, names)


def _inspect_table(source_table: SourceTable, params: Params, record: _HandRecord) -> None:
    usable = _with_points(source_table, record)
    if not usable:
        return
    convention, usable = _in_one_unit(source_table, usable, params, record)
    aspect_ratio = params.aspect_ratio or source_table.default_aspect_ratio
    if convention == "normalized" and aspect_ratio is None:
        sized = [
            source_table.has_image_sizes and bool(np.isfinite(row.image_size).all())
            for row in usable
        ]
        usable = record.passing(data.MISSING_IMAGE_SIZE, usable, sized)
    measurable = landmarks.has_extent(_points(usable)).tolist()
    usable = record.passing(data.IMPOSSIBLE_HAND, usable, measurable)
    if convention is not None and usable:
        stated = params.model_copy(update={"convention": convention})
        rows, _ = data.to_common_frame(replace(source_table, rows=usable), stated, Counter())
        _inspect_hands(rows, source_table, record)


def _with_points(source_table: SourceTable, record: _HandRecord) -> list[SourceRow]:
    """The rows that have points and a label; the others are recorded."""
    usable = []
    for slug in (*source_table.skip_reasons, table.MISSING_VALUES):
        record.add(slug, (), len(source_table.rows))
    for row in source_table.rows:
        reason = table.skip_reason(row, ())
        if reason:
            record.add(reason, [row.name], 0)
        else:
            usable.append(row)
    return usable


def _in_one_unit(
    source_table: SourceTable, rows: list[SourceRow], params: Params, record: _HandRecord
) -> tuple[Convention | None, list[SourceRow]]:
    """The convention of a table, None if it is ambiguous, and the rows that follow it."""
    points = _points(rows)
    record.add(checks.AMBIGUOUS_UNITS, (), 1)
    try:
        convention, _ = data.table_convention(source_table, points, params)
        record.add(checks.MIXED_UNITS, (), len(rows))
        return convention, rows
    except DataError:
        kinds = [landmarks.convention_of_hand(hand) for hand in points]
    conventions: tuple[Convention, ...] = ("pixels", "normalized", "wrist_relative")
    main = max(conventions, key=kinds.count)
    if kinds.count(main) < _MIN_MAJORITY * len(kinds):
        record.add(checks.AMBIGUOUS_UNITS, [source_table.title], 0)
        return None, []
    record.settings[checks.MIXED_UNITS] = f"params.convention={main}"
    return main, record.passing(checks.MIXED_UNITS, rows, [kind == main for kind in kinds])


def _inspect_hands(rows: LandmarkTable, source_table: SourceTable, record: _HandRecord) -> None:
    """Check hands of the common frame, and store them as `prepare` has them."""
    points = rows.landmarks
    features = landmarks.normalize(points)
    record.values |= dict(zip(rows.names, features, strict=True))
    impossible = anatomy.impossible_hands(points)
    names = [rows.names[index] for index in np.flatnonzero(impossible)]
    record.add(data.IMPOSSIBLE_HAND, names, 0)
    if len(set(rows.labels)) > 1:
        _inspect_order([source_table.title], points, record)
    else:
        record.of_one_label[source_table.title] = points
    flat = depth.has_no_depth(points)
    record.add(checks.MISSING_DEPTH, [source_table.title] if flat else (), 1)
    if (~impossible).sum() >= _MIN_HANDS:
        model = fit_outlier_model(features[~impossible])
        outliers = [
            rows.names[index]
            for index in np.flatnonzero(~impossible)
            if model.distance(features[index]) > _MAX_DISTANCE
        ]
        record.add(checks.OUTLIER_HAND, outliers, len(features))
    record.rows.append(data.with_depth(rows, source_table.title)[0])


def _inspect_order(titles: Sequence[str], points: Floats, record: _HandRecord) -> None:
    disordered = anatomy.has_wrong_order(points)
    record.add(checks.LANDMARK_ORDER, titles if disordered else (), len(titles))


def _splits(record: _HandRecord, params: Params) -> tuple[Mapping[str, Split], Mapping[str, str]]:
    """The split and the digest of each row that `prepare` will have, by name."""
    if not record.rows:
        return {}, {}
    rows = data.concatenate(record.rows, params)
    digests = dict(zip(rows.names, splits.landmark_hashes(rows), strict=True))
    parsed = dict(zip(rows.names, map(splits.parse_split, rows.splits), strict=True))
    unknown = [name for name, split in parsed.items() if split is None]
    if any(rows.splits) and unknown:
        record.add(checks.UNKNOWN_SPLIT, unknown, len(parsed))
        return {name: split for name, split in parsed.items() if split is not None}, digests
    assigned, _ = splits.assign_splits(rows, params.val_fraction, params.test_fraction)
    return dict(zip(rows.names, assigned, strict=True)), digests


def _sample(
    row: SourceRow,
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
        image_path=row.image_path,
        values=None if features is None else tuple(features.tolist()),
        person=row.user,
        metadata=row.facts,
    )


def _digest(row: SourceRow) -> str:
    """A digest for a row that no model will see."""
    if row.image_path is not None:
        return sha256(row.image_path.read_bytes()).hexdigest()
    content = row.name.encode() if row.landmarks is None else row.landmarks.tobytes()
    return sha256(content).hexdigest()


def _points(rows: Sequence[SourceRow]) -> Floats:
    return np.array([row.landmarks for row in rows], dtype=np.float64).reshape(-1, 21, 3)
