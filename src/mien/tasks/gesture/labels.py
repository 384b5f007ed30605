"""The labels of a source: one spelling for each, and which of them a model learns.

A model learns the labels that its data have. HaGRID's names matter for spelling and for notes only.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mien.config import list_override
from mien.errors import DataError, nearest
from mien.observability.drift import NO_LABEL

from .params import HAGRID_LABELS, NO_GESTURE
from .table import SourceTable

MIN_ROWS = 3
"""Of each label: one for each split. A training needs more: as many as it has folds."""
MAX_LENGTH = 100
_MAX_EXAMPLES = 5


def normalize_spelling(label: str) -> str:
    """A label without the differences that do not make another label: case, spaces, hyphens."""
    return re.sub(r"[\s_-]+", "_", label.strip().casefold())


def unify_spellings(tables: Sequence[SourceTable], ignore: Sequence[str] = ()) -> list[SourceTable]:
    """The tables with one spelling of each label; a note says which rows were read differently.

    A label that `ignore` names is spelled as there. Of several spellings in the source, HaGRID's is
    taken, or else the most frequent one; a label with a single spelling stays as it is.
    """
    counts = Counter(row.label for table in tables for row in table.rows if row.label)
    spelling = _spellings(counts, ignore)
    return [_respell(table, spelling) for table in tables] if spelling else list(tables)


def require_ignored(ignore: Sequence[str], tables: Sequence[SourceTable]) -> None:
    """Refuse a label that the user ignores and no row has: it is misspelled.

    The labels that are ignored by default may be absent.

    Raises:
        DataError: naming the nearest label of the source.
    """
    present = sorted({row.label for each in tables for row in each.rows if row.label})
    for label in ignore:
        if label not in (*present, *NO_GESTURE):
            raise DataError(
                f"params.ignore_labels: no row has the label {label!r}."
                f"{nearest(label, present)} Correct it, or take it from the setting."
            )


def label_set(
    usable: Mapping[str, int], skipped: Mapping[str, int], ignore: Sequence[str]
) -> tuple[str, ...]:
    """The labels that a model of the data learns, in the order of the alphabet.

    Args:
        usable: usable rows by label.
        skipped: rows by label that cannot be used.
        ignore: the labels that are left out already.

    Raises:
        DataError: a label has too few rows or cannot be a label, or there is only one.
    """
    labels = sorted({*usable, *skipped})
    if not labels:
        raise DataError(
            "expected a label for each hand, found none. Name them in a column label, or put "
            "photos into folders that have the name of their label."
        )
    for label in labels:
        _check_name(label, ignore)
    too_few = [label for label in labels if usable.get(label, 0) < MIN_ROWS]
    if too_few:
        described = "; ".join(
            _describe(label, usable, skipped) for label in too_few[:_MAX_EXAMPLES]
        )
        more = f"; and {len(too_few) - _MAX_EXAMPLES} more" * (len(too_few) > _MAX_EXAMPLES)
        raise DataError(
            f"expected at least {MIN_ROWS} usable rows of each label, found {described}{more}. "
            "Add rows, correct the labels, or leave such rows out: "
            f"--set {shlex.quote(ignore_setting(ignore, too_few))}."
        )
    if len(labels) < 2:
        raise DataError(f"expected at least two labels, found only {labels[0]!r}. Add rows.")
    return tuple(labels)


def ignore_setting(ignore: Iterable[str], more: Iterable[str]) -> str:
    """The setting that leaves out more labels than are ignored already."""
    return list_override("params.ignore_labels", dict.fromkeys((*ignore, *more)))


def notes(labels: Sequence[str]) -> tuple[str, ...]:
    """What to know of a label set that has some of HaGRID's labels and not all, or others too."""
    hagrid = [label for label in labels if label in HAGRID_LABELS]
    own = [label for label in labels if label not in HAGRID_LABELS]
    if not hagrid or len(hagrid) == len(HAGRID_LABELS) == len(labels):
        return ()
    if not own:
        return (f"{len(hagrid)} of HaGRID's {len(HAGRID_LABELS)} labels: a model knows no others.",)
    listed = ", ".join(own[:_MAX_EXAMPLES]) + ", .." * (len(own) > _MAX_EXAMPLES)
    return (f"Labels beside HaGRID's {len(HAGRID_LABELS)}, each a class of its own: {listed}.",)


def _check_name(label: str, ignore: Sequence[str]) -> None:
    if label == NO_LABEL:
        raise DataError(
            f"label {label!r}: expected another word, because it stands for 'no hand' in metrics. "
            f"Rename it, or leave it out: --set {shlex.quote(ignore_setting(ignore, [label]))}."
        )
    if len(label) > MAX_LENGTH or not label.isprintable():
        raise DataError(
            f"label {label[:40]!r}: expected at most {MAX_LENGTH} printable characters, found "
            f"{len(label)}. Correct the column with the labels."
        )


def _describe(label: str, usable: Mapping[str, int], skipped: Mapping[str, int]) -> str:
    count, unusable = usable.get(label, 0), skipped.get(label, 0)
    text = f"{count} of {label!r}" + f" ({unusable} are unusable)" * bool(unusable)
    others = [each for each in usable if each != label and usable[each] >= MIN_ROWS]
    return text + nearest(label, others).removesuffix("?")


def _spellings(counts: Counter[str], ignore: Iterable[str]) -> dict[str, str]:
    """The spelling to use of each label that is spelled otherwise."""
    ignored = {normalize_spelling(label): label for label in ignore}
    hagrid = {normalize_spelling(label): label for label in HAGRID_LABELS}
    groups: dict[str, list[str]] = {}
    for label, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        groups.setdefault(normalize_spelling(label), []).append(label)
    result = {}
    for key, spellings in groups.items():
        several = hagrid.get(key, spellings[0]) if len(spellings) > 1 else spellings[0]
        chosen = ignored.get(key, several)
        result.update({each: chosen for each in spellings if each != chosen})
    return result


def _respell(table: SourceTable, spelling: Mapping[str, str]) -> SourceTable:
    changed = Counter(row.label for row in table.rows if row.label in spelling)
    if not changed:
        return table
    rows = [replace(row, label=spelling.get(row.label, row.label)) for row in table.rows]
    listed = ", ".join(
        f"{label!r} as {spelling[label]!r} ({count} rows)" for label, count in changed.items()
    )
    return replace(table, rows=rows, note=f"{table.note} Labels were read: {listed}.".strip())
