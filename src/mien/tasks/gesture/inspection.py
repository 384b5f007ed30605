"""What a source holds, hand by hand, and what is wrong with it.

A row that cannot be used is a fault and not an error. The samples' splits are those that `prepare`
will give with the same params: both take them from the same rows by the same rule. Values of a
sample are its features as a classifier gets them, so that the same pose is near itself wherever the
hand was in its picture; the depth is left out where nobody knows it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.task import Gate, Inspection, Sample, Split

from . import anatomy, data, depth, hagrid, landmarks, photos, sources, splits, table, typical
from .landmarks import Floats, Known
from .params import LABELS, Params
from .table import Faults, Part, Row, Rows

MISSING, UNKNOWN, IMPOSSIBLE = "missing values", "unknown labels", "impossible hands"
UNUSUAL, ORDER = "unusual hands", "points out of order"
UNITS, MIXED, SIZES = "units unclear", "units mixed", "no picture size"
SPLITS, DEPTH = "unclear splits", "no depth"
HANDLESS, BROKEN, POINTLESS = "photos without a hand", "unreadable photos", "hands without points"

GATES: Mapping[str, Gate] = {
    MISSING: Gate(
        "They lack numbers or a label and are left out; many of them are an export that went "
        "wrong.",
        "error",
        0.05,
        mends=True,
    ),
    UNKNOWN: Gate("They are none of the gestures: `prepare` refuses them.", "error"),
    IMPOSSIBLE: Gate(
        "Their points were mixed up, or the landmarker failed.",
        "error",
        0.01,
        mends=True,
    ),
    ORDER: Gate(
        "The 21 points of a table do not stand in MediaPipe's order; served hands do.", "error"
    ),
    UNUSUAL: Gate(
        "They are unlike the others: a wrong label, or a failed landmarker.", "warn", 0.01
    ),
    UNITS: Gate("It cannot be told what x and y are; say it: params.convention.", "error"),
    MIXED: Gate(
        "Some rows have another unit than the rest: `prepare` refuses it.", "error", mends=True
    ),
    SIZES: Gate(
        "Shares of a picture of unknown shape have lost the hand's proportions. Give the columns "
        "width and height, or params.aspect.",
        "error",
        0.05,
    ),
    SPLITS: Gate("They are neither train, val nor test: `prepare` refuses them.", "error"),
    DEPTH: Gate("Files without depth: a model loses the part of its skill that comes from it."),
    HANDLESS: Gate("They are left out.", "warn", 0.05, mends=True),
    BROKEN: Gate("They are damaged, or neither JPEG, PNG nor WEBP, and are left out.", mends=True),
    POINTLESS: Gate("They are annotated without landmarks, and left out.", "warn", 0.1),
}
_TYPICAL = 6.0
"""Distance beyond which a hand is unusual, see `typical.py`: about 1 in 200 of public tables."""
_ENOUGH = 250
"""Hands by which the others are judged, for 63 features."""
_REASONS = {
    table.UNREADABLE: MISSING,
    table.UNLABELLED: MISSING,
    photos.NO_HAND: HANDLESS,
    photos.BROKEN: BROKEN,
    hagrid.NO_POINTS: POINTLESS,
}
_UNDIVIDED: Mapping[str, Split] = {}


@dataclass
class _Found:
    """What comes together while the parts of a source are looked at."""

    faults: dict[str, list[str]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GATES, 0))
    rows: list[Rows] = field(default_factory=list)
    """As `prepare` will have them, part by part."""
    values: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def add(self, gate: str, names: Iterable[str], total: int) -> None:
        self.faults.setdefault(gate, []).extend(names)
        self.totals[gate] = self.totals.get(gate, 0) + total

    def keep(self, gate: str, rows: list[Row], right: Sequence[bool]) -> list[Row]:
        """The rows that are right; the others are at fault."""
        both = list(zip(rows, right, strict=True))
        self.add(gate, [row.name for row, fine in both if not fine], len(rows))
        return [row for row, fine in both if fine]


def inspect(raw: Path, params: Params, cache: Path) -> Inspection:
    """List every hand of a source that is not of an ignored label, and what is wrong with it.

    Raises:
        DataError: there is nothing that holds hands, a file cannot be read as what it is, or no
            row has a known label.
    """
    source = sources.find(raw, params.ignore_labels)
    found = _Found()
    rows: list[Row] = []
    for part in sources.parts(source, cache, lambda label: label in LABELS):
        kept = [row for row in part.rows if row.label not in params.ignore_labels]
        rows += kept
        _look(replace(part, rows=kept), params, found)
    if not any(row.label in LABELS for row in rows):
        labels = ", ".join(sorted({repr(row.label) for row in rows})[:5]) or "no row"
        raise DataError(
            f"no row has a label that is known; found {labels}. Known labels: {', '.join(LABELS)}."
        )
    divided, digests = _divided(found, params)
    samples = tuple(_sample(row, divided, digests, found.values) for row in rows)
    told = {gate: tuple(names) for gate, names in found.faults.items() if names}
    return Inspection(samples, told, found.totals)


def _look(part: Part, params: Params, found: _Found) -> None:
    good = _sort(part, found)
    if not good:
        return
    told, good = _units(part, good, params, found)
    if told == "unit" and (part.sized or params.aspect is None):
        known = [part.sized and bool(np.isfinite(row.size).all()) for row in good]
        good = found.keep(SIZES, good, known)
    good = found.keep(IMPOSSIBLE, good, landmarks.measurable(_points(good)).tolist())
    if told is not None and good:
        rows, _ = data.common(
            replace(part, rows=good), params.model_copy(update={"convention": told}), Faults()
        )
        _judge(rows, part, found)


def _sort(part: Part, found: _Found) -> list[Row]:
    """The rows that have points and a known label; the others are faults."""
    good = []
    for gate in {_REASONS[why] for why in (*part.reasons, table.UNREADABLE)}:
        found.add(gate, (), len(part.rows))
    for row in part.rows:
        why = table.reason(row, ())
        if row.label and row.label not in LABELS:
            found.add(UNKNOWN, [row.name], 0)
        elif why:
            found.add(_REASONS[why], [row.name], 0)
        else:
            good.append(row)
    found.add(UNKNOWN, (), len(part.rows))
    return good


def _units(
    part: Part, good: list[Row], params: Params, found: _Found
) -> tuple[Known | None, list[Row]]:
    """The convention of a part, None where it cannot be told, and the rows that keep to it."""
    points = _points(good)
    found.add(UNITS, (), 1)
    try:
        told, _ = data.convention(part, points, params)
        found.add(MIXED, (), len(good))
        return told, good
    except DataError:
        kinds = [landmarks.kind(hand) for hand in points]
    conventions: tuple[Known, ...] = ("pixels", "unit", "wrist")
    main = max(conventions, key=kinds.count)
    if kinds.count(main) < _MOST * len(kinds):
        found.add(UNITS, [part.title], 0)
        return None, []
    return main, found.keep(MIXED, good, [kind == main for kind in kinds])


_MOST = 0.8
"""Share of rows of one unit that makes the others astray; with fewer it is anybody's guess."""


def _judge(rows: Rows, part: Part, found: _Found) -> None:
    """Look at hands of the common frame, and keep them as `prepare` has them."""
    points = rows.landmarks
    features = landmarks.normalise(points)
    found.values |= dict(zip(rows.names, features, strict=True))
    wrong = anatomy.impossible(points)
    found.add(IMPOSSIBLE, [rows.names[place] for place in np.flatnonzero(wrong)], 0)
    found.add(ORDER, [part.title] if anatomy.disordered(points) else (), 1)
    found.add(DEPTH, [part.title] if depth.unknown(points) else (), 1)
    if (~wrong).sum() >= _ENOUGH:
        usual = typical.Typical.of(typical.describe(features[~wrong]))
        far = [
            rows.names[place]
            for place in np.flatnonzero(~wrong)
            if usual.distance(features[place]) > _TYPICAL
        ]
        found.add(UNUSUAL, far, len(features))
    found.rows.append(data.lent(rows, part.title)[0])


def _divided(found: _Found, params: Params) -> tuple[Mapping[str, Split], Mapping[str, str]]:
    """The split and the content of each row that `prepare` will have, by name."""
    if not found.rows:
        return _UNDIVIDED, {}
    rows = table.join(found.rows)
    digests = dict(zip(rows.names, splits.fingerprints(rows), strict=True))
    words = [splits.read(word) for word in rows.splits]
    wrong = [name for name, word in zip(rows.names, words, strict=True) if word is None]
    if any(rows.splits) and wrong:
        found.add(SPLITS, wrong, len(words))
        named = zip(rows.names, words, strict=True)
        return {name: word for name, word in named if word is not None}, digests
    chosen, _ = splits.assign(rows, params.val, params.test)
    return dict(zip(rows.names, chosen, strict=True)), digests


def _sample(
    row: Row,
    divided: Mapping[str, Split],
    digests: Mapping[str, str],
    values: Mapping[str, NDArray[np.float32]],
) -> Sample:
    features = values.get(row.name)
    return Sample(
        name=row.name,
        labels=(row.label,) if row.label else (),
        digest=digests.get(row.name) or _content(row),
        split=divided.get(row.name),
        picture=row.picture,
        values=None if features is None else tuple(features.tolist()),
        person=row.user,
        facts=row.facts,
    )


def _content(row: Row) -> str:
    """A digest for a row that no model will see."""
    if row.picture is not None:
        return sha256(row.picture.read_bytes()).hexdigest()
    content = row.name.encode() if row.points is None else row.points.tobytes()
    return sha256(content).hexdigest()


def _points(rows: Sequence[Row]) -> Floats:
    return np.array([row.points for row in rows], dtype=np.float64).reshape(-1, 21, 3)
