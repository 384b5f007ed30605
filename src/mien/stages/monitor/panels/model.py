"""The dashboard of the model: what is served, its scores, its predictions, its live accuracy."""

from dataclasses import replace

from mien.stages.monitor.dashboards import Dashboard
from mien.stages.monitor.grafana import PER_SECOND, Panel
from mien.stages.monitor.promql import LEGEND, MODEL, increase, latest, mean, quantile, rate

_BY_LABEL = increase("mien_predictions_total", "task", "label", window="30m")
_RELOADS = increase("mien_model_reloads_total", "task", "result", window="1h")


def _scores(split: str, score: str) -> str:
    where = f'split=~"{split}", score="{score}"'
    return latest("mien_model_score", *MODEL, "candidate", "split", where=where)


SERVED = (
    Panel(
        "Model",
        {"{{task}}": latest("mien_model_loaded", "task")},
        "stat",
        (4, 5),
        below=1,
        texts={0: "not loaded", 1: "loaded"},
    ),
    Panel(
        "Served models",
        {
            "": latest("mien_model_info", *MODEL, "alias", "candidate", "digest"),
            "load time": latest("mien_model_load_seconds", *MODEL),
            "age": f"time() - {latest('mien_model_created_timestamp_seconds', *MODEL)}",
        },
        "table",
        (15, 5),
        unit="none",
        column_units={"load time": "s", "age": "s"},
    ),
    Panel(
        "Model reloads, last hour",
        {"{{task}} {{result}}": f"round({_RELOADS})"},
        "stat",
        (5, 5),
        hides_zero=True,
        unit="short",
        description="A server polls for a new champion. A refused bundle is not served; the "
        "previous model stays.",
    ),
)
LEADERBOARD = (
    Panel(
        "Scores of every candidate",
        {
            "accuracy": _scores(".*", "accuracy"),
            "macro-F1": _scores(".*", "macro_f1"),
            "mAP50": _scores(".*", "map50"),
            "mAP50-95": _scores(".*", "map50_95"),
        },
        "table",
        (14, 9),
    ),
    Panel(
        "Macro-F1 on the test split",
        {"{{task}} {{candidate}}": f"sort_desc({_scores('test', 'macro_f1')})"},
        "bargauge",
        (10, 9),
        top=1,
    ),
)
PREDICTIONS = (
    Panel(
        "Predictions by label, last 30 minutes",
        {"{{task}} {{label}}": f"sort_desc(round({_BY_LABEL}) > 0)"},
        "bargauge",
        (8, 16),
        unit="short",
    ),
    Panel(
        "Rate of predictions by outcome",
        {"{{task}} {{outcome}}": rate("mien_predictions_total", "task", "outcome")},
        hides_zero=True,
        unit=PER_SECOND,
    ),
    Panel("Mean confidence", {LEGEND: mean("mien_confidence", *MODEL)}, top=1),
    Panel(
        "Predictions by confidence",
        {"{{le}}": increase("mien_confidence_bucket", "le")},
        "heatmap",
        (16, 8),
    ),
    Panel(
        "Time of each stage, p50",
        {"{{task}} {{stage}}": quantile(0.5, "mien_predict_seconds", "task", "stage")},
        size=(12, 8),
    ),
    Panel(
        "Time of each stage, p95",
        {"{{task}} {{stage}}": quantile(0.95, "mien_predict_seconds", "task", "stage")},
        size=(12, 8),
    ),
)
LIVE_ACCURACY = (
    Panel(
        "Live accuracy",
        {
            LEGEND: latest("mien_live_accuracy", *MODEL),
            f"{LEGEND} lower": latest("mien_live_accuracy_lower", *MODEL),
            f"{LEGEND} upper": latest("mien_live_accuracy_upper", *MODEL),
            f"{LEGEND} floor": latest("mien_live_accuracy_floor", *MODEL),
        },
        size=(9, 8),
        roles=("value", "bound", "bound", "limit"),
        top=1,
        description="Share of correct predictions among those with feedback, with its 95 % "
        "Wilson interval. The floor is the lower end of the interval on the test split: an "
        "upper end below it means that the model is worse than in its evaluation.",
    ),
    Panel(
        "Accuracy, estimated without labels",
        {
            LEGEND: latest("mien_estimated_accuracy", *MODEL),
            f"{LEGEND} lower": latest("mien_estimated_accuracy_lower", *MODEL),
            f"{LEGEND} upper": latest("mien_estimated_accuracy_upper", *MODEL),
        },
        size=(9, 8),
        roles=("value", "bound", "bound"),
        top=1,
        description="The mean calibrated confidence of the last 1,000 predictions, with a 95 % "
        "interval. It is absent where it is known to be wrong: with drift, whose dashboard says in "
        "what, and for a model that is not calibrated; and under 200 predictions.",
    ),
    Panel("Live macro-F1", {LEGEND: latest("mien_live_macro_f1", *MODEL)}, size=(6, 8), top=1),
    Panel(
        "Predictions with feedback",
        {LEGEND: latest("mien_live_accuracy_samples", *MODEL)},
        "stat",
        (4, 8),
    ),
    Panel(
        "Rate of feedback",
        {"{{task}} {{result}}": rate("mien_feedback_total", "task", "result")},
        size=(6, 8),
        hides_zero=True,
        unit=PER_SECOND,
    ),
)
_SHADOW_CPU = rate("mien_shadow_cpu_seconds_total", "task", "role")
_SHADOW_ANSWERS = rate("mien_shadow_answers_total", "task", where='result!="dropped"')
SHADOW = (
    Panel(
        "Accuracy of the challenger, compared",
        {
            LEGEND: latest("mien_shadow_accuracy_difference", *MODEL),
            f"{LEGEND} lower": latest("mien_shadow_accuracy_difference_lower", *MODEL),
            f"{LEGEND} upper": latest("mien_shadow_accuracy_difference_upper", *MODEL),
        },
        size=(8, 8),
        roles=("value", "bound", "bound"),
        description="Accuracy of the challenger minus that of the champion on the same answers, "
        "with an interval that holds at every moment. Above 0 the challenger is better, below 0 "
        "it is worse.",
    ),
    Panel(
        "Answers of the challenger",
        {"{{task}} {{result}}": rate("mien_shadow_answers_total", "task", "result")},
        size=(5, 8),
        unit=PER_SECOND,
    ),
    Panel(
        "CPU time of a prediction",
        {
            "{{task}} {{role}}": f"{_SHADOW_CPU} / on (task) group_left () ({_SHADOW_ANSWERS} > 0)",
        },
        size=(5, 8),
    ),
    Panel(
        "Challenger",
        {"{{task}}": latest("mien_shadow_active", "task")},
        "stat",
        (2, 8),
        below=1,
        texts={0: "off", 1: "on"},
    ),
    Panel(
        "Feedback",
        {LEGEND: latest("mien_shadow_feedback_samples", *MODEL)},
        "stat",
        (2, 8),
    ),
    Panel("Canary", {LEGEND: latest("mien_canary_share", *MODEL)}, "stat", (2, 8), below=0.0001),
)
PAGE = Dashboard(
    "model",
    "The served models, their scores, predictions, live and estimated accuracy.",
    {
        "Served models": SERVED,
        "Evaluation of all candidates": LEADERBOARD,
        "Predictions": PREDICTIONS,
        "Live accuracy, by feedback, and estimated": LIVE_ACCURACY,
        # Without a challenger, nothing is missing.
        "Challenger in the shadow, and canary": tuple(
            replace(each, empty="none") for each in SHADOW
        ),
    },
)
