"""The dashboard of the model: what is served, its scores, its predictions, its live accuracy."""

from mien.stages.monitor.dashboards import Dashboard, PanelRow
from mien.stages.monitor.grafana import PER_SECOND, Panel, Query
from mien.stages.monitor.promql import MODEL, increase, latest, mean, quantile, rate

NAME = "{{task}} v{{version}}"
_LAST_30_MINUTES = increase("mien_predictions_total", "task", "label", window="30m")
_PREDICTIONS = f"sort_desc(round({_LAST_30_MINUTES}) > 0)"


def _scores(split: str, score: str) -> str:
    where = f'split=~"{split}", score="{score}"'
    return latest("mien_model_score", *MODEL, "candidate", "split", where=where)


SERVED = PanelRow(
    "Served models",
    (
        Panel(
            "Model",
            (Query(latest("mien_model_loaded", "task"), "{{task}}"),),
            kind="stat",
            width=4,
            height=5,
            below=1,
            texts={0: "not loaded", 1: "loaded"},
        ),
        Panel(
            "Served models",
            (
                Query(latest("mien_model_info", *MODEL, "alias", "candidate", "digest")),
                Query(latest("mien_model_load_seconds", *MODEL), "load time", unit="s"),
                Query(
                    f"time() - {latest('mien_model_created_timestamp_seconds', *MODEL)}",
                    "age",
                    unit="s",
                ),
            ),
            kind="table",
            width=15,
            height=5,
            unit="none",
        ),
        Panel(
            "Model reloads, last hour",
            (
                Query(
                    f"round({increase('mien_model_reloads_total', 'task', 'result', window='1h')})",
                    "{{task}} {{result}}",
                ),
            ),
            kind="stat",
            width=5,
            height=5,
            unit="short",
            description="A server polls for a new champion. A refused bundle is not served; the "
            "previous model stays.",
        ),
    ),
)
LEADERBOARD = PanelRow(
    "Evaluation of all candidates",
    (
        Panel(
            "Scores of every candidate",
            (
                Query(_scores(".*", "accuracy"), "accuracy"),
                Query(_scores(".*", "macro_f1"), "macro-F1"),
                Query(_scores(".*", "map50"), "mAP50"),
                Query(_scores(".*", "map50_95"), "mAP50-95"),
            ),
            kind="table",
            width=14,
            height=9,
        ),
        Panel(
            "Macro-F1 on the test split",
            (Query(f"sort_desc({_scores('test', 'macro_f1')})", "{{task}} {{candidate}}"),),
            kind="bargauge",
            width=10,
            height=9,
            top=1,
        ),
    ),
)
PREDICTIONS = PanelRow(
    "Predictions",
    (
        Panel(
            "Predictions by label, last 30 minutes",
            (Query(_PREDICTIONS, "{{task}} {{label}}"),),
            kind="bargauge",
            height=16,
            unit="short",
        ),
        Panel(
            "Rate of predictions by outcome",
            (Query(rate("mien_predictions_total", "task", "outcome"), "{{task}} {{outcome}}"),),
            unit=PER_SECOND,
        ),
        Panel(
            "Mean confidence",
            (Query(mean("mien_confidence", *MODEL), NAME),),
            top=1,
        ),
        Panel(
            "Predictions by confidence",
            (Query(increase("mien_confidence_bucket", "le"), "{{le}}"),),
            kind="heatmap",
            width=16,
        ),
        Panel(
            "Time of each stage, p50",
            (Query(quantile(0.5, "mien_predict_seconds", "task", "stage"), "{{task}} {{stage}}"),),
            width=12,
        ),
        Panel(
            "Time of each stage, p95",
            (Query(quantile(0.95, "mien_predict_seconds", "task", "stage"), "{{task}} {{stage}}"),),
            width=12,
        ),
    ),
)
LIVE_ACCURACY = PanelRow(
    "Live accuracy, by feedback",
    (
        Panel(
            "Live accuracy",
            (
                Query(latest("mien_live_accuracy", *MODEL), NAME),
                Query(latest("mien_live_accuracy_lower", *MODEL), f"{NAME} lower", "bound"),
                Query(latest("mien_live_accuracy_upper", *MODEL), f"{NAME} upper", "bound"),
                Query(latest("mien_live_accuracy_floor", *MODEL), f"{NAME} floor", "limit"),
            ),
            width=9,
            top=1,
            description="Share of correct predictions among those with feedback, with its 95 % "
            "Wilson interval. The floor is the lower end of the interval on the test split: an "
            "upper end below it means that the model is worse than in its evaluation.",
        ),
        Panel(
            "Live macro-F1",
            (Query(latest("mien_live_macro_f1", *MODEL), NAME),),
            width=5,
            top=1,
        ),
        Panel(
            "Predictions with feedback",
            (Query(latest("mien_live_accuracy_samples", *MODEL), NAME),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Rate of feedback",
            (Query(rate("mien_feedback_total", "task", "result"), "{{task}} {{result}}"),),
            width=6,
            unit=PER_SECOND,
        ),
    ),
)
PAGE = Dashboard(
    "model",
    "mien: model",
    "The served models, their scores, predictions and live accuracy.",
    (SERVED, LEADERBOARD, PREDICTIONS, LIVE_ACCURACY),
)
