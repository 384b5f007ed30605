"""The dashboard of the data: training data, class mix, drift and statistics of the inputs."""

from mien.stages.monitor.dashboards import Dashboard
from mien.stages.monitor.grafana import Panel
from mien.stages.monitor.promql import LEGEND, MODEL, latest, quantile, rate

CLASS_MIX_WINDOW = "5m"
"""Shares of a shorter time would be too noisy."""
_BY_LABEL = rate("mien_predictions_total", *MODEL, "label", window=CLASS_MIX_WINDOW)
_ALL_LABELS = rate("mien_predictions_total", *MODEL, window=CLASS_MIX_WINDOW)
_SHARE = f"{_BY_LABEL} / on (task, version) group_left () ({_ALL_LABELS} > 0)"
_SHARE_OF_LIMIT = (
    f"({_SHARE}) / on (task, version, label) {latest('mien_label_share_limit', *MODEL, 'label')}"
)
_TRAINED = latest("mien_training_examples", "task", "label", where='split="train"')
_COMPLETE = latest("mien_training_completeness", "task", "check")
_DRIFT = latest("mien_drift_score", *MODEL, "quantity")
_THRESHOLD = latest("mien_drift_threshold", *MODEL, "quantity")
TRAINED_ON = (
    Panel(
        "Examples by label and split",
        {
            split: latest("mien_training_examples", *MODEL, "label", where=f'split="{split}"')
            for split in ("train", "val", "test")
        },
        "table",
        (9, 11),
    ),
    Panel(
        "Examples of the training split",
        {"{{task}} {{label}}": f"sort_desc({_TRAINED})"},
        "bargauge",
        (8, 11),
    ),
    Panel(
        "Completeness by check",
        {"{{task}} {{check}}": f"sort({_COMPLETE} < 1)"},
        "bargauge",
        (7, 11),
        top=1,
        empty="complete",
        description="Share of the samples without an issue, of each check that found one.",
    ),
)
MIX = (
    Panel(
        "Share of each label",
        {"{{task}} {{label}}": f"sort_desc({_SHARE} > 0)"},
        "bargauge",
        (8, 12),
        unit="percentunit",
        top=1,
        description="Share of each label in the predictions of its model, 'none' included.",
    ),
    Panel(
        "Share of each label, as part of its limit",
        {"{{task}} {{label}}": _SHARE_OF_LIMIT},
        size=(16, 12),
        unit="percentunit",
        above=1,
    ),
)
DRIFT = (
    Panel(
        "Drift score, as part of its threshold",
        {"{{task}} {{quantity}}": f"{_DRIFT} / {_THRESHOLD}"},
        size=(12, 9),
        unit="percentunit",
        above=1,
        description="Population stability index of the window against the validation data, "
        "over the score that data without drift exceeds with the stated false-alarm rate. "
        "Above 100 % the inputs have drifted; there is no score under 200 predictions.",
    ),
    Panel(
        "Drift score and its threshold",
        {"{{task}} {{quantity}}": _DRIFT, "{{task}} {{quantity}} threshold": _THRESHOLD},
        size=(12, 9),
        roles=("value", "limit"),
    ),
    Panel(
        "Drift now",
        {"score": _DRIFT, "threshold": _THRESHOLD, "score / threshold": f"{_DRIFT} / {_THRESHOLD}"},
        "table",
        (16, 8),
        column_units={"score / threshold": "percentunit"},
    ),
    Panel(
        "Predictions in the window",
        {LEGEND: latest("mien_drift_window_rows", *MODEL)},
        "stat",
        below=200,
    ),
)
INPUT_STATS = (
    Panel(
        "$stat",
        {
            f"{{{{task}}}} {name}": quantile(level, "mien_input_stat", "task", "stat")
            for name, level in {"p5": 0.05, "median": 0.5, "p95": 0.95}.items()
        },
        size=(24, 8),
        repeat="stat",
    ),
)
PAGE = Dashboard(
    "data",
    "The training data, and how the inputs differ from it.",
    {
        "Training data": TRAINED_ON,
        "Class mix of the predictions, last 5 minutes": MIX,
        "Drift of the inputs from the validation data": DRIFT,
        "Statistics of the inputs": INPUT_STATS,
    },
)
