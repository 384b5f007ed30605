"""The sentences of a report: what failed, and what to look at first."""

from mien.stages.check import report
from mien.stages.check.results import DataCheckResult, judge
from mien.task import Issues, recorded_check


def test_a_verdict_says_what_to_look_at_first() -> None:
    """The hint of a check comes before the setting that drops data."""
    check = recorded_check("unknown_class", "Classes.", "error")
    hint = "data.yaml names the class 'hapyp'. Did you mean 'happy'?"
    issues = Issues(("a.png",), 4, setting="params.ignore_labels=[hapyp]", hint=hint)
    text = report.verdict(of(judge(check, issues)))
    assert f"unknown_class (1 of 4: {hint})" in text
    assert text.index(hint) < text.index("--set"), text


def test_settings_stand_beside_a_repaired_version_and_once() -> None:
    """What cannot be repaired may fail there too; two checks may need the same setting."""
    issues = Issues(("a",), 4, setting="params.convention=pixels")
    checks = [recorded_check(slug, "", "error") for slug in ("ambiguous_units", "mixed_units")]
    text = report.verdict(of(*(judge(each, issues) for each in checks)), "@abc")
    assert text.endswith(
        "A repaired version exists: --source @abc. Or use: --set params.convention=pixels"
    )


def of(*checks: DataCheckResult) -> report.CheckReport:
    """A report of some checks."""
    return report.CheckReport(
        task="emotion", version="0" * 64, number=1, source="", repaired=False, samples=40,
        splits={}, metadata_baseline=None, checks=checks,
    )  # fmt: skip
