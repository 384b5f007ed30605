"""The table of an evaluation, printed: candidates, variants and the policy's choice."""

from collections.abc import Sequence

from mien.model import policy
from mien.model.evaluation import CandidateScores, Evaluation, VariantComparison
from mien.reporting import console

COLUMN_NOTES = (
    "acc.: on test. CPU: CPU time of a request; 1 is decoding a 640x480 JPEG photo.\n"
    "p50, p95: by the clock, under the present load; no decision depends on them."
)


COLUMNS = (
    *("candidate", "val F1", "test F1", "acc."),
    *("CPU", "p50 ms", "p95 ms", "MB", "limits"),
)


def cells(evaluation: Evaluation) -> list[list[str]]:
    """A row for each candidate, with a text for each of `COLUMNS`."""
    return [
        [
            row.candidate,
            f"{row.val.macro_f1:.3f}",
            f"{row.test.macro_f1:.3f}",
            f"{row.test.accuracy:.3f}",
            f"{row.cpu_cost.median:.2f}" if row.cpu_cost.pairs else "-",
            f"{row.latency.p50_ms:.2f}",
            f"{row.latency.p95_ms:.2f}",
            f"{row.bundle_mb:.1f}",
            "broken" if row.fault else "kept",
        ]
        for row in evaluation.candidates
    ]


def show(evaluation: Evaluation) -> None:
    """Print the table of all candidates, the policy's choice standing out."""
    rows = evaluation.candidates
    data = f"; data: {evaluation.trained_on}" if evaluation.trained_on else ""
    title = f"Candidates of {evaluation.task} (F1: macro-F1{data})"
    console.table(title, COLUMNS, cells(evaluation), mark=_chosen(rows, evaluation.choice))
    console.result(COLUMN_NOTES)
    for row in rows:
        if row.fault:
            console.result(f"{row.candidate} is not chosen: {row.fault}")
    for row in rows:
        if row.majority and not row.majority.has_learnt:
            console.result(
                f"{row.candidate} has learnt nothing measurable: {row.majority.sentence}."
            )
    _show_boxes(rows)
    _show_decision(evaluation)
    _show_leaks(rows)
    _show_variants(evaluation)


def _show_decision(evaluation: Evaluation) -> None:
    """Calibration and the risk-coverage table of the choice."""
    row = evaluation.chosen
    if row is None or not row.risk_coverage:
        return
    console.result(
        f"{row.candidate}: calibration error on test {row.raw_calibration_error:.3f}, calibrated "
        f"{row.test.calibration_error:.3f}"
    )
    limit = f"{row.decision.max_risk:.0%} wrong"
    console.result(
        f"At most {limit}: {row.test.coverage:.1%} of test answered, {row.test.risk:.1%} wrong"
        if row.decision.is_reached
        else f"NOT REACHED on val: at most {limit}. Every answer is unsure: bring more data, or "
        "raise policy.max_risk."
    )
    console.table(
        f"Risk and coverage of {row.candidate} (thresholds from val)",
        ["wrong at most", "threshold", "val answered", "wrong", "test answered", "wrong"],
        [
            [
                f"{each.max_risk:.0%}",
                *(
                    ["not reached", "", "", "", ""]
                    if each.min_confidence is None
                    else [
                        f"{each.min_confidence:.3f}",
                        f"{each.val_coverage:.1%}",
                        f"{each.val_risk:.1%}",
                        f"{each.test_coverage:.1%}",
                        f"{each.test_risk:.1%}",
                    ]
                ),
            ]
            for each in row.risk_coverage
        ],
    )


def _show_variants(evaluation: Evaluation) -> None:
    """What each variant gains and loses; CPU times were measured in turn, so the ratio is fair."""
    rows = evaluation.candidates
    variants = [(row, row.variant) for row in rows if row.variant]
    columns = ["variant", "MB", "CPU", "val F1", "test F1", "val mAP50-95", "test mAP50-95"]
    changes = [_against(row, about, policy.base_candidate(row, rows)) for row, about in variants]
    if variants:
        width = max(len(each) for each in changes)
        mark = _chosen([row for row, _ in variants], evaluation.choice)
        console.table("Variants and their base candidates", columns[:width], changes, mark=mark)
    for why in dict.fromkeys(evaluation.without.values()):
        names = ", ".join(name for name, each in evaluation.without.items() if each == why)
        console.result(f"No variant of {names}: {why}")


def _against(row: CandidateScores, variant: VariantComparison, base: CandidateScores) -> list[str]:
    pairs = [(row.val, base.val), (row.test, base.test)]
    changes = [new.macro_f1 - old.macro_f1 for new, old in pairs]
    changes += [
        new.map50_95 - old.map50_95
        for new, old in pairs
        if new.map50_95 is not None and old.map50_95 is not None
    ]
    gained = [f"x {row.bundle_mb / base.bundle_mb:.2f}", f"x {variant.cpu_ratio.median:.2f}"]
    return [row.candidate, *gained, *(f"{change:+.4f}" for change in changes)]


def _chosen(rows: Sequence[CandidateScores], choice: str | None) -> int:
    names = [row.candidate for row in rows]
    return names.index(choice) if choice in names else -1


def _show_boxes(rows: Sequence[CandidateScores]) -> None:
    for row in rows:
        if row.test.map50 is not None:
            console.result(
                f"{row.candidate} on test: mAP50 {row.test.map50:.3f}, mAP50-95 "
                f"{row.test.map50_95:.3f}, nothing found {row.test.miss_rate:.1%}"
            )


def _show_leaks(rows: Sequence[CandidateScores]) -> None:
    """The test split as shipped beside what is left of it without copies of training examples."""
    pairs = [(row.candidate, row.test, row.test_leak_free) for row in rows if row.test_leak_free]
    if not pairs:
        return
    shipped, free = pairs[0][1].examples, pairs[0][2].examples
    if shipped == free:
        console.result(f"None of the {shipped:,} test examples has a copy in train.")
        return
    console.table(
        f"Test as shipped ({shipped:,}) and leak-free, without copies in train ({free:,})",
        ["candidate", "acc.", "leak-free acc.", "F1", "leak-free F1"],
        [
            [
                name,
                *(f"{each.accuracy:.3f}" for each in (test, clean)),
                *(f"{each.macro_f1:.3f}" for each in (test, clean)),
            ]
            for name, test, clean in pairs
        ],
    )
