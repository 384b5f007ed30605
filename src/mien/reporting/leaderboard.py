"""The table of an evaluation, printed: candidates, variants and the policy's choice."""

from collections.abc import Mapping, Sequence
from typing import Any

from mien.model import policy
from mien.reporting import console

_TIMES = (
    "acc.: on test. CPU: CPU time of a request; 1 is decoding a 640x480 JPEG photo.\n"
    "p50, p95: by the clock, under the present load; no decision depends on them."
)


def show(document: Mapping[str, Any]) -> None:
    """Print the table of all candidates, the policy's choice standing out."""
    rows = document["candidates"]
    columns = ["candidate", "val F1", "test F1", "acc."]
    columns += ["CPU", "p50 ms", "p95 ms", "MB", "limits"]
    cells = [
        [
            row["candidate"],
            f"{row['val']['macro_f1']:.3f}",
            f"{row['test']['macro_f1']:.3f}",
            f"{row['test']['accuracy']:.3f}",
            f"{row['cpu_cost']['median']:.2f}",
            f"{row['latency']['p50_ms']:.2f}",
            f"{row['latency']['p95_ms']:.2f}",
            f"{row['bundle_mb']:.1f}",
            "broken" if row["fault"] else "kept",
        ]
        for row in rows
    ]
    title = f"Candidates of {document['task']} (F1: macro-F1)"
    console.table(title, columns, cells, mark=_chosen(rows, document["choice"]))
    console.result(_TIMES)
    for row in rows:
        if row["fault"]:
            console.result(f"{row['candidate']} is not chosen: {row['fault']}")
    _show_boxes(rows)
    _show_leaks(rows)
    _show_variants(document)


def _show_variants(document: Mapping[str, Any]) -> None:
    """What each variant gains and loses; CPU times were measured in turn, so the ratio is fair."""
    rows = [row for row in document["candidates"] if "variant" in row]
    columns = ["variant", "MB", "CPU", "val F1", "test F1", "val mAP50-95", "test mAP50-95"]
    cells = [_against(row, policy.base_candidate(row, document["candidates"])) for row in rows]
    if rows:
        width = max(len(each) for each in cells)
        title = "Variants against what they were made from"
        console.table(title, columns[:width], cells, mark=_chosen(rows, document["choice"]))
    without = document.get("without", {})
    for why in dict.fromkeys(without.values()):
        names = ", ".join(name for name in without if without[name] == why)
        console.result(f"No variant of {names}: {why}")


def _against(row: policy.Row, of: policy.Row) -> list[str]:
    def lost(split: str, score: str) -> str:
        return f"{row[split][score] - of[split][score]:+.4f}"

    gained = [
        f"x {row['bundle_mb'] / of['bundle_mb']:.2f}",
        f"x {row['variant']['cpu_ratio']['median']:.2f}",
    ]
    names = ["macro_f1", *(name for name in ("map50_95",) if name in row["val"])]
    return [row["candidate"], *gained, *(lost(s, name) for name in names for s in ("val", "test"))]


def _chosen(rows: Sequence[policy.Row], choice: str | None) -> int:
    names = [row["candidate"] for row in rows]
    return names.index(choice) if choice in names else -1


def _show_boxes(rows: Sequence[policy.Row]) -> None:
    for row in rows:
        if "map50" in row["test"]:
            console.result(
                f"{row['candidate']} on test: mAP50 {row['test']['map50']:.3f}, mAP50-95 "
                f"{row['test']['map50_95']:.3f}, nothing found {row['test']['miss_rate']:.1%}"
            )


def _show_leaks(rows: Sequence[policy.Row]) -> None:
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
