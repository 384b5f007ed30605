"""The page of the model: which one answers, how good it was, and what it says now."""

from mien.stages.monitor.dashboards import Dashboard, Row
from mien.stages.monitor.grafana import PER_SECOND, Panel, Query
from mien.stages.monitor.promql import MODEL, grown, latest, mean, quantile, rate

NAME = "{{task}} v{{version}}"
_ANSWERS = f"sort_desc(round({grown('mien_predictions_total', 'task', 'label', window='30m')}) > 0)"


def _scores(split: str, score: str) -> str:
    where = f'split=~"{split}", score="{score}"'
    return latest("mien_model_score", *MODEL, "candidate", "split", where=where)


SERVED = Row(
    "What is served",
    (
        Panel(
            "Model",
            (Query(latest("mien_model_loaded", "task"), "{{task}}"),),
            kind="stat",
            width=4,
            height=5,
            below=1,
            words={0: "not loaded", 1: "loaded"},
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
            "Other models found, last hour",
            (
                Query(
                    f"round({grown('mien_swaps_total', 'task', 'result', window='1h')})",
                    "{{task}} {{result}}",
                ),
            ),
            kind="stat",
            width=5,
            height=5,
            unit="short",
            description="A server looks for another champion while it runs. What is refused does "
            "not answer; the model before it goes on.",
        ),
    ),
)
BAKE_OFF = Row(
    "Bake-off: what evaluation measured of every candidate",
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
SAID = Row(
    "What the model says",
    (
        Panel(
            "Answers by label, last 30 minutes",
            (Query(_ANSWERS, "{{task}} {{label}}"),),
            kind="bargauge",
            height=16,
            unit="short",
        ),
        Panel(
            "Rate of answers by outcome",
            (Query(rate("mien_predictions_total", "task", "outcome"), "{{task}} {{outcome}}"),),
            unit=PER_SECOND,
        ),
        Panel(
            "Mean confidence",
            (Query(mean("mien_confidence", *MODEL), NAME),),
            top=1,
        ),
        Panel(
            "Answers by confidence",
            (Query(grown("mien_confidence_bucket", "le"), "{{le}}"),),
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
RIGHT = Row(
    "How right it is, as far as people tell",
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
            description="Share of right answers among those with a verdict, with its 95 % Wilson "
            "interval. The floor is the lower end of the interval on the test split: an upper "
            "end below it says that the model does worse than when it was measured.",
        ),
        Panel(
            "Live macro-F1",
            (Query(latest("mien_live_macro_f1", *MODEL), NAME),),
            width=5,
            top=1,
        ),
        Panel(
            "Answers with a verdict",
            (Query(latest("mien_live_verdicts", *MODEL), NAME),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Rate of verdicts",
            (Query(rate("mien_feedback_total", "task", "verdict"), "{{task}} {{verdict}}"),),
            width=6,
            unit=PER_SECOND,
        ),
    ),
)
PAGE = Dashboard(
    "model",
    "mien: model",
    "Which model answers, how good it was when it was measured, and what it says now.",
    (SERVED, BAKE_OFF, SAID, RIGHT),
)
