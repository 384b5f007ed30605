"""The policy applied to the table of an evaluation, and that table in words.

Knows rows of measured candidates and variants, and nothing of how they are measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mien import console
from mien.config import Policy

Row = Mapping[str, Any]
"""One candidate: name, scores of `val` and `test`, `latency`, `bundle_mb`; of a variant also
`variant`: its `form`, the candidate it is `of`, and by which share it is `slower`."""

_KEPT = ("macro_f1", "accuracy", "map50", "map50_95")
"""Scores of which a variant may lose little: it stands in for its origin in all that it does."""


def choose(rows: Sequence[Row], policy: Policy) -> tuple[str | None, list[str]]:
    """Apply the policy: the best validation score among the rows that keep its limits.

    Of the candidate with that score and its variants, the smallest that keeps them is taken: a
    variant keeps them only if it is smaller, not slower, and as good within `max_loss`.

    Returns:
        The candidate's name or None, and for each row what it breaks ("" for nothing).
    """
    faults = [_fault(row, rows, policy) for row in rows]
    kept = [row for row, fault in zip(rows, faults, strict=True) if not fault]
    best = max(kept, key=lambda row: float(source(row, rows)["val"][policy.maximise]), default=None)
    if best is None:
        return None, faults
    alike = [row for row in kept if origin(row) == origin(best)]
    return str(min(alike, key=lambda row: float(row["bundle_mb"]))["candidate"]), faults


def origin(row: Row) -> str:
    """The candidate that a row is, or is a variant of."""
    return str(row["variant"]["of"] if "variant" in row else row["candidate"])


def source(row: Row, rows: Sequence[Row]) -> Row:
    """The row of the candidate that a row is, or is a variant of."""
    return next(each for each in rows if each["candidate"] == origin(row))


def nobody(document: Mapping[str, Any]) -> str:
    """What to do where no candidate keeps the limits."""
    faults = "; ".join(f"{row['candidate']}: {row['fault']}" for row in document["candidates"])
    return (
        f"No candidate of {document['task']} keeps the limits of the policy ({faults}). Raise "
        "policy.max_bundle_mb or policy.max_p95_ms in the config, or train smaller candidates."
    )


def show(document: Mapping[str, Any]) -> None:
    """Print the table of all candidates, the policy's choice standing out."""
    rows = document["candidates"]
    columns = ["candidate", "val F1", "test F1", "test acc.", "p50 ms", "p95 ms", "MB", "limits"]
    cells = [
        [
            row["candidate"],
            f"{row['val']['macro_f1']:.3f}",
            f"{row['test']['macro_f1']:.3f}",
            f"{row['test']['accuracy']:.3f}",
            f"{row['latency']['p50_ms']:.2f}",
            f"{row['latency']['p95_ms']:.2f}",
            f"{row['bundle_mb']:.1f}",
            "broken" if row["fault"] else "kept",
        ]
        for row in rows
    ]
    title = f"Candidates of {document['task']} (F1: macro-F1)"
    console.table(title, columns, cells, mark=_chosen(rows, document["choice"]))
    for row in rows:
        if row["fault"]:
            console.result(f"{row['candidate']} is not chosen: {row['fault']}")
    _show_boxes(rows)
    _show_leaks(rows)
    _show_variants(document)


def _show_variants(document: Mapping[str, Any]) -> None:
    """What each variant gains and loses; latencies were measured in turn, so the ratio is fair."""
    rows = [row for row in document["candidates"] if "variant" in row]
    columns = ["variant", "MB", "time", "val F1", "test F1", "val mAP50-95", "test mAP50-95"]
    cells = [_against(row, source(row, document["candidates"])) for row in rows]
    if rows:
        width = max(len(each) for each in cells)
        title = "Variants against what they were made from"
        console.table(title, columns[:width], cells, mark=_chosen(rows, document["choice"]))
    without = document.get("without", {})
    for why in dict.fromkeys(without.values()):
        names = ", ".join(name for name in without if without[name] == why)
        console.result(f"No variant of {names}: {why}")


def _against(row: Row, of: Row) -> list[str]:
    def lost(split: str, score: str) -> str:
        return f"{row[split][score] - of[split][score]:+.4f}"

    gained = [
        f"x {row['bundle_mb'] / of['bundle_mb']:.2f}",
        f"x {1 + row['variant']['slower']:.2f}",
    ]
    names = ["macro_f1", *(name for name in ("map50_95",) if name in row["val"])]
    return [row["candidate"], *gained, *(lost(s, name) for name in names for s in ("val", "test"))]


def _chosen(rows: Sequence[Row], choice: str | None) -> int:
    names = [row["candidate"] for row in rows]
    return names.index(choice) if choice in names else -1


def _fault(row: Row, rows: Sequence[Row], policy: Policy) -> str:
    faults = []
    if row["bundle_mb"] > policy.max_bundle_mb:
        faults.append(f"{row['bundle_mb']:.0f} MB > {policy.max_bundle_mb:g}")
    if row["latency"]["p95_ms"] > policy.max_p95_ms:
        faults.append(f"{row['latency']['p95_ms']:.0f} ms > {policy.max_p95_ms:g}")
    if "variant" in row:
        faults += _worse(row, source(row, rows), policy)
    return ", ".join(faults)


def _worse(row: Row, of: Row, policy: Policy) -> list[str]:
    """What keeps a variant from taking the place of the candidate that it was made from."""
    faults = []
    names = [name for name in _KEPT if name in row["val"]]
    lost, name = max((of["val"][name] - row["val"][name], name) for name in names)
    if lost > policy.max_loss:
        faults.append(f"loses {lost:.4f} of {name} > {policy.max_loss:g}")
    if row["variant"]["slower"] > policy.max_slower:
        faults.append(f"{row['variant']['slower']:.0%} slower > {policy.max_slower:.0%}")
    if row["bundle_mb"] >= of["bundle_mb"]:
        faults.append("not smaller")
    return faults


def _show_boxes(rows: Sequence[Row]) -> None:
    for row in rows:
        if "map50" in row["test"]:
            console.result(
                f"{row['candidate']} on test: mAP50 {row['test']['map50']:.3f}, mAP50-95 "
                f"{row['test']['map50_95']:.3f}, nothing found {row['test']['nothing_found']:.1%}"
            )


def _show_leaks(rows: Sequence[Row]) -> None:
    """The test split as shipped beside what is left of it without copies of training examples."""
    found = [row for row in rows if "test_leak_free" in row]
    if not found:
        return
    shipped, free = found[0]["test"]["examples"], found[0]["test_leak_free"]["examples"]
    if shipped == free:
        console.result(f"None of the {shipped:,.0f} test examples has a copy in train.")
        return
    console.table(
        f"Test as shipped ({shipped:,.0f}) and leak-free, without copies in train ({free:,.0f})",
        ["candidate", "acc.", "leak-free acc.", "F1", "leak-free F1"],
        [
            [row["candidate"]]
            + [
                f"{row[split][score]:.3f}"
                for score in ("accuracy", "macro_f1")
                for split in ("test", "test_leak_free")
            ]
            for row in found
        ],
    )
