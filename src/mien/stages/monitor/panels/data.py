"""The dashboard of the data: training data, class mix, drift and statistics of the inputs."""

from mien.stages.monitor.dashboards import Dashboard, PanelRow
from mien.stages.monitor.grafana import Panel, Query
from mien.stages.monitor.promql import MODEL, latest, quantile, rate

NAME = "{{task}} v{{version}}"
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
TRAINED_ON = PanelRow(
    "Training data",
    (
        Panel(
            "Examples by label and split",
            tuple(
                Query(
                    latest("mien_training_examples", *MODEL, "label", where=f'split="{split}"'),
                    split,
                )
                for split in ("train", "val", "test")
            ),
            kind="table",
            width=9,
            height=11,
        ),
        Panel(
            "Examples of the training split",
            (Query(f"sort_desc({_TRAINED})", "{{task}} {{label}}"),),
            kind="bargauge",
            height=11,
        ),
        Panel(
            "Completeness by check",
            (Query(f"sort({_COMPLETE})", "{{task}} {{check}}"),),
            kind="bargauge",
            width=7,
            height=11,
            top=1,
        ),
    ),
)
MIX = PanelRow(
    "Class mix of the predictions, last 5 minutes",
    (
        Panel(
            "Share of each label",
            (Query(f"sort_desc({_SHARE} > 0)", "{{task}} {{label}}"),),
            kind="bargauge",
            height=12,
            unit="percentunit",
            top=1,
            description="Share of each label in the predictions of its model, 'none' included.",
        ),
        Panel(
            "Share of each label, as part of its limit",
            (Query(_SHARE_OF_LIMIT, "{{task}} {{label}}"),),
            width=16,
            height=12,
            unit="percentunit",
            above=1,
        ),
    ),
)
DRIFT = PanelRow(
    "Drift of the inputs from the validation data",
    (
        Panel(
            "Drift score, as part of its threshold",
            (Query(f"{_DRIFT} / {_THRESHOLD}", "{{task}} {{quantity}}"),),
            width=12,
            height=9,
            unit="percentunit",
            above=1,
            description="Population stability index of the window against the validation data, "
            "over the score that data without drift exceeds with the stated false-alarm rate. "
            "Above 100 % the inputs have drifted; there is no score under 200 predictions.",
        ),
        Panel(
            "Drift score and its threshold",
            (
                Query(_DRIFT, "{{task}} {{quantity}}"),
                Query(_THRESHOLD, "{{task}} {{quantity}} threshold", "limit"),
            ),
            width=12,
            height=9,
        ),
        Panel(
            "Drift now",
            (
                Query(_DRIFT, "score"),
                Query(_THRESHOLD, "threshold"),
                Query(f"{_DRIFT} / {_THRESHOLD}", "score / threshold", unit="percentunit"),
            ),
            kind="table",
            width=16,
        ),
        Panel(
            "Predictions in the window",
            (Query(latest("mien_drift_window_rows", *MODEL), NAME),),
            kind="stat",
            below=200,
        ),
    ),
)
INPUT_STATS = PanelRow(
    "Statistics of the inputs",
    (
        Panel(
            "$stat",
            tuple(
                Query(quantile(level, "mien_input_stat", "task", "stat"), legend)
                for level, legend in (
                    (0.05, "{{task}} p5"),
                    (0.5, "{{task}} median"),
                    (0.95, "{{task}} p95"),
                )
            ),
            width=24,
            repeat="stat",
        ),
    ),
)
PAGE = Dashboard(
    "data",
    "mien: data",
    "The training data, and how the inputs differ from it.",
    (TRAINED_ON, MIX, DRIFT, INPUT_STATS),
)
