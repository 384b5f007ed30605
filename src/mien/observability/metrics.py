"""All metrics of the service, in one table; no other file may invent a name.

The server makes its instruments from it, the dashboards take unit and description from it, and
tests compare rules, dashboards and docs with it. Knows no client library.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Topic = Literal["model", "data", "server"]
Unit = Literal["count", "ratio", "seconds", "bytes", "timestamp", "value"]

STAGES = ("decode", "preprocess", "infer", "postprocess")
"""Bytes to pixels (or JSON to numbers); then `predict` before, during and after the inference of
the bundle's networks."""
_BUCKETS: dict[Unit, tuple[float, ...]] = {
    "seconds": (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    "ratio": tuple(step / 10 for step in range(1, 11)),
    "bytes": (1e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 2e7),
    # For statistics of any kind: fine in 0..1 and just below 1, as many of them are shares.
    "value": (
        *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
        *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.999, 1.0),
        *(1.5, 2.0, 3.0, 5.0, 10.0, 100.0),
    ),
}


@dataclass(frozen=True)
class Metric:
    """One row of the table. Histograms are exposed as `NAME_bucket`, `NAME_sum`, `NAME_count`."""

    name: str
    kind: Kind
    topic: Topic
    unit: Unit
    labels: tuple[str, ...]
    meaning: str

    @property
    def buckets(self) -> tuple[float, ...]:
        """Upper edges of the buckets of a histogram; none for other kinds."""
        return _BUCKETS[self.unit] if self.kind == "histogram" else ()

    @property
    def exposed(self) -> tuple[str, ...]:
        """The names under which Prometheus stores it."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


_TABLE: dict[tuple[str, Kind, Topic, Unit, str], str] = {
    # The model.
    ("mien_model_info", "gauge", "model", "value", "task version alias candidate digest"): (
        "The served model; always 1. The alias is 'none' for a bundle folder."
    ),
    ("mien_model_loaded", "gauge", "model", "value", "task"): (
        "1 once the model is ready, 0 before and when it could not be loaded."
    ),
    ("mien_model_reloads_total", "counter", "model", "count", "task result"): (
        "New bundles while serving, by result: 'loaded' or 'refused'."
    ),
    ("mien_model_load_seconds", "gauge", "model", "seconds", "task version"): (
        "Time from reading the bundle to the end of its warm-up."
    ),
    ("mien_model_created_timestamp_seconds", "gauge", "model", "timestamp", "task version"): (
        "Time at which the model was trained, by its bundle.json."
    ),
    ("mien_model_score", "gauge", "model", "ratio", "task version candidate split score"): (
        "Scores of every candidate in the champion's evaluation: accuracy, macro_f1, and for "
        "detectors map50 and map50_95."
    ),
    # Its predictions.
    ("mien_predictions_total", "counter", "model", "count", "task version label outcome"): (
        "Predictions of a model; the label is 'none' where no subject was detected."
    ),
    ("mien_confidence", "histogram", "model", "ratio", "task version"): (
        "Confidence of the predictions with a label."
    ),
    ("mien_predict_seconds", "histogram", "model", "seconds", "task stage"): (
        f"Time of each stage of a prediction: {', '.join(STAGES)}."
    ),
    # Its accuracy by the feedback of users.
    ("mien_feedback_total", "counter", "model", "count", "task version result"): (
        "Feedback by result, 'correct' or 'incorrect'; a replaced feedback counts again."
    ),
    ("mien_live_accuracy_samples", "gauge", "model", "count", "task version"): (
        "Feedbacks with a label among the last 500: the window of live accuracy."
    ),
    ("mien_live_accuracy", "gauge", "model", "ratio", "task version"): (
        "Share of correct predictions where the feedback has a label; absent without any."
    ),
    ("mien_live_accuracy_lower", "gauge", "model", "ratio", "task version"): (
        "Lower end of the 95 % Wilson interval of live accuracy."
    ),
    ("mien_live_accuracy_upper", "gauge", "model", "ratio", "task version"): (
        "Upper end of the 95 % Wilson interval of live accuracy."
    ),
    ("mien_live_macro_f1", "gauge", "model", "ratio", "task version"): (
        "Macro-F1 of the same predictions, over the labels of the feedback."
    ),
    ("mien_estimated_accuracy", "gauge", "model", "ratio", "task version"): (
        "Accuracy of the last 1,000 predictions by their calibrated confidences, without labels; "
        "absent under 200, with drift, and for a model that is not calibrated."
    ),
    ("mien_estimated_accuracy_lower", "gauge", "model", "ratio", "task version"): (
        "Lower end of the 95 % interval of estimated accuracy."
    ),
    ("mien_estimated_accuracy_upper", "gauge", "model", "ratio", "task version"): (
        "Upper end of the 95 % interval of estimated accuracy."
    ),
    ("mien_live_accuracy_floor", "gauge", "model", "ratio", "task version"): (
        "Lower end of the 95 % Wilson interval of the bundle's accuracy on its test split."
    ),
    # A challenger that answers after it.
    ("mien_shadow_active", "gauge", "model", "value", "task version"): (
        "1 while a challenger answers after the champion, 0 when it was switched off."
    ),
    ("mien_shadow_answers_total", "counter", "model", "count", "task version result"): (
        "Requests for a challenger, by result: 'agree', 'disagree', 'error' or 'dropped'."
    ),
    ("mien_shadow_cpu_seconds_total", "counter", "model", "seconds", "task version role"): (
        "CPU time of the predictions for the same requests, of 'champion' and 'challenger'."
    ),
    ("mien_shadow_feedback_samples", "gauge", "model", "count", "task version"): (
        "Answers of both models with a label by feedback."
    ),
    ("mien_shadow_accuracy_difference", "gauge", "model", "ratio", "task version"): (
        "Accuracy of the challenger minus that of the champion; absent without feedback."
    ),
    ("mien_shadow_accuracy_difference_lower", "gauge", "model", "ratio", "task version"): (
        "Lower end of its interval, which holds at every moment: above 0, it is better."
    ),
    ("mien_shadow_accuracy_difference_upper", "gauge", "model", "ratio", "task version"): (
        "Upper end of its interval, which holds at every moment: below 0, it is worse."
    ),
    ("mien_canary_share", "gauge", "model", "ratio", "task version"): (
        "Share of the requests that a canary answers, 0 when it was rolled back."
    ),
    # Its training data.
    ("mien_training_examples", "gauge", "data", "count", "task version split label"): (
        "Examples of the splits on which the model was trained and evaluated."
    ),
    ("mien_training_completeness", "gauge", "data", "ratio", "task version check"): (
        "Share of the training data's rows or images that passed a check of the data report."
    ),
    # The live data.
    ("mien_input_stat", "histogram", "data", "value", "task stat"): (
        "Statistics of each input: brightness, sharpness, size of the subject, ..."
    ),
    ("mien_label_share_limit", "gauge", "data", "ratio", "task version label"): (
        "Share of a label beyond which the class mix has collapsed: half way from its share in "
        "the validation data to 1."
    ),
    ("mien_drift_window_rows", "gauge", "data", "count", "task version"): (
        "Predictions in the sliding window of drift; no score is computed under 200."
    ),
    ("mien_drift_score", "gauge", "data", "value", "task version quantity"): (
        "Population stability index of the window against the validation data: of the label mix, "
        "of confidence and of each input statistic."
    ),
    ("mien_drift_threshold", "gauge", "data", "value", "task version quantity"): (
        "Score that data without drift exceeds with the bundle's false-alarm rate, for a window "
        "of the present size."
    ),
    # The server.
    ("mien_requests_total", "counter", "server", "count", "route method status"): (
        "Finished requests, by route template; 'unmatched' for unknown addresses."
    ),
    ("mien_request_seconds", "histogram", "server", "seconds", "route status"): (
        "Time from the first byte of a request to the last of its response."
    ),
    ("mien_requests_in_progress", "gauge", "server", "count", "route"): "Requests in progress.",
    ("mien_rejected_total", "counter", "server", "count", "reason"): (
        "Requests that got a problem document, by the name of the problem."
    ),
    ("mien_in_flight_requests", "gauge", "server", "count", "state"): (
        "Requests that are read, queued or predicted: 'current', and the 'limit'."
    ),
    ("mien_queue_wait_seconds", "histogram", "server", "seconds", ""): (
        "Time of a request in the queue, after its upload was read."
    ),
    ("mien_upload_seconds", "histogram", "server", "seconds", ""): (
        "Time to read an upload from the network."
    ),
    ("mien_upload_bytes", "histogram", "server", "bytes", ""): (
        "Size of the uploads, forms and JSON."
    ),
    ("mien_prediction_log_rows", "gauge", "server", "count", ""): "Rows of the prediction log.",
    ("mien_prediction_log_bytes", "gauge", "server", "bytes", ""): (
        "Size of the prediction log on disk."
    ),
    ("mien_prediction_log_waiting", "gauge", "server", "count", ""): (
        "Predictions in the spool that the database of the prediction log does not take; 0 while "
        "it takes them."
    ),
    ("mien_prediction_log_dropped_total", "counter", "server", "count", ""): (
        "Predictions that could not be written to the prediction log, or were deleted with it."
    ),
    ("mien_review_kept_total", "counter", "server", "count", "task reason"): (
        "Inputs kept for review, by reason: 'uncertain', 'drift' or 'wrong'; one may count for two."
    ),
    ("mien_review_dropped_total", "counter", "server", "count", "task reason"): (
        "Inputs of doubtful answers that were not kept: 'busy', 'quota' (of the day) or 'failed'."
    ),
    ("mien_review_samples", "gauge", "server", "count", ""): "Inputs that are kept for review now.",
    ("mien_review_bytes", "gauge", "server", "bytes", ""): "Size of the inputs kept for review.",
    ("mien_registry_age_seconds", "gauge", "server", "seconds", "task"): (
        "Time since the champion of a team's registry was last confirmed here; 0 without one."
    ),
    ("process_cpu_seconds_total", "counter", "server", "seconds", ""): "CPU time of the server.",
    ("process_resident_memory_bytes", "gauge", "server", "bytes", ""): (
        "Resident memory of the server."
    ),
    ("process_open_fds", "gauge", "server", "count", ""): (
        "Open files and connections of the server."
    ),
    ("process_start_time_seconds", "gauge", "server", "timestamp", ""): (
        "Start time of the server."
    ),
}
"""Name, kind, topic, unit and labels of each metric, and its meaning."""
METRICS = tuple(
    Metric(name, kind, topic, unit, tuple(labels.split()), meaning)
    for (name, kind, topic, unit, labels), meaning in _TABLE.items()
)
BY_NAME = {metric.name: metric for metric in METRICS}
EXPOSED = {name: metric for metric in METRICS for name in metric.exposed}
"""Every name that a query may use, with its row of the table."""
