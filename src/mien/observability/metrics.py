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
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
TENTHS = tuple(step / 10 for step in range(1, 11))
BYTES = (1e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 2e7)
INPUT_STAT_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.999, 1.0),
    *(1.5, 2.0, 3.0, 5.0, 10.0, 100.0),
)
"""For statistics of any kind: fine in 0..1 and just below 1, as many of them are shares."""


@dataclass(frozen=True)
class Metric:
    """One row of the table. Histograms are exposed as `NAME_bucket`, `NAME_sum`, `NAME_count`."""

    name: str
    kind: Kind
    topic: Topic
    unit: Unit
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()

    @property
    def exposed(self) -> tuple[str, ...]:
        """The names under which Prometheus stores it."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


METRICS = (
    # The model.
    Metric(
        "mien_model_info",
        "gauge",
        "model",
        "value",
        ("task", "version", "alias", "candidate", "digest"),
        "The served model; always 1. The alias is 'none' for a bundle folder.",
    ),
    Metric(
        "mien_model_loaded",
        "gauge",
        "model",
        "value",
        ("task",),
        "1 once the model is ready, 0 before and when it could not be loaded.",
    ),
    Metric(
        "mien_model_reloads_total",
        "counter",
        "model",
        "count",
        ("task", "result"),
        "New bundles while serving, by result: 'loaded' or 'refused'.",
    ),
    Metric(
        "mien_model_load_seconds",
        "gauge",
        "model",
        "seconds",
        ("task", "version"),
        "Time from reading the bundle to the end of its warm-up.",
    ),
    Metric(
        "mien_model_created_timestamp_seconds",
        "gauge",
        "model",
        "timestamp",
        ("task", "version"),
        "Time at which the bundle was written, by its bundle.json.",
    ),
    Metric(
        "mien_model_score",
        "gauge",
        "model",
        "ratio",
        ("task", "version", "candidate", "split", "score"),
        "Scores of every candidate in the champion's evaluation: accuracy, macro_f1, and for "
        "detectors map50 and map50_95.",
    ),
    # Its predictions.
    Metric(
        "mien_predictions_total",
        "counter",
        "model",
        "count",
        ("task", "version", "label", "outcome"),
        "Predictions of a model; the label is 'none' where no subject was detected.",
    ),
    Metric(
        "mien_confidence",
        "histogram",
        "model",
        "ratio",
        ("task", "version"),
        "Confidence of the predictions with a label.",
        TENTHS,
    ),
    Metric(
        "mien_predict_seconds",
        "histogram",
        "model",
        "seconds",
        ("task", "stage"),
        f"Time of each stage of a prediction: {', '.join(STAGES)}.",
        SECONDS,
    ),
    # Its accuracy by the feedback of users.
    Metric(
        "mien_feedback_total",
        "counter",
        "model",
        "count",
        ("task", "version", "result"),
        "Feedback by result, 'correct' or 'incorrect'; a replaced feedback counts again.",
    ),
    Metric(
        "mien_live_accuracy_samples",
        "gauge",
        "model",
        "count",
        ("task", "version"),
        "Feedbacks with a label among the last 500: the window of live accuracy.",
    ),
    Metric(
        "mien_live_accuracy",
        "gauge",
        "model",
        "ratio",
        ("task", "version"),
        "Share of correct predictions where the feedback has a label; absent without any.",
    ),
    Metric(
        "mien_live_accuracy_lower",
        "gauge",
        "model",
        "ratio",
        ("task", "version"),
        "Lower end of the 95 % Wilson interval of live accuracy.",
    ),
    Metric(
        "mien_live_accuracy_upper",
        "gauge",
        "model",
        "ratio",
        ("task", "version"),
        "Upper end of the 95 % Wilson interval of live accuracy.",
    ),
    Metric(
        "mien_live_macro_f1",
        "gauge",
        "model",
        "ratio",
        ("task", "version"),
        "Macro-F1 of the same predictions, over the labels of the feedback.",
    ),
    Metric(
        "mien_live_accuracy_floor",
        "gauge",
        "model",
        "ratio",
        ("task", "version"),
        "Lower end of the 95 % Wilson interval of the bundle's accuracy on its test split.",
    ),
    # Its training data.
    Metric(
        "mien_training_examples",
        "gauge",
        "data",
        "count",
        ("task", "version", "split", "label"),
        "Examples of the splits on which the model was trained and evaluated.",
    ),
    Metric(
        "mien_training_completeness",
        "gauge",
        "data",
        "ratio",
        ("task", "version", "check"),
        "Share of the training data's rows or images that passed a check of the data report.",
    ),
    # The live data.
    Metric(
        "mien_input_stat",
        "histogram",
        "data",
        "value",
        ("task", "stat"),
        "Statistics of each input: brightness, sharpness, size of the subject, ...",
        INPUT_STAT_BUCKETS,
    ),
    Metric(
        "mien_label_share_limit",
        "gauge",
        "data",
        "ratio",
        ("task", "version", "label"),
        "Share of a label beyond which the class mix has collapsed: half way from its share "
        "in the validation data to 1.",
    ),
    Metric(
        "mien_drift_window_rows",
        "gauge",
        "data",
        "count",
        ("task", "version"),
        "Predictions in the sliding window of drift; no score is computed under 200.",
    ),
    Metric(
        "mien_drift_score",
        "gauge",
        "data",
        "value",
        ("task", "version", "quantity"),
        "Population stability index of the window against the validation data: of the label "
        "mix, of confidence and of each input statistic.",
    ),
    Metric(
        "mien_drift_threshold",
        "gauge",
        "data",
        "value",
        ("task", "version", "quantity"),
        "Score that data without drift exceeds with the bundle's false-alarm rate, for a "
        "window of the present size.",
    ),
    # The server.
    Metric(
        "mien_requests_total",
        "counter",
        "server",
        "count",
        ("route", "method", "status"),
        "Finished requests, by route template; 'unmatched' for unknown addresses.",
    ),
    Metric(
        "mien_request_seconds",
        "histogram",
        "server",
        "seconds",
        ("route", "status"),
        "Time from the first byte of a request to the last of its response.",
        SECONDS,
    ),
    Metric(
        "mien_requests_in_progress",
        "gauge",
        "server",
        "count",
        ("route",),
        "Requests in progress.",
    ),
    Metric(
        "mien_rejected_total",
        "counter",
        "server",
        "count",
        ("reason",),
        "Requests that got a problem document, by the name of the problem.",
    ),
    Metric(
        "mien_in_flight_requests",
        "gauge",
        "server",
        "count",
        ("state",),
        "Requests that are read, queued or predicted: 'current', and the 'limit'.",
    ),
    Metric(
        "mien_queue_wait_seconds",
        "histogram",
        "server",
        "seconds",
        (),
        "Time of a request in the queue, after its upload was read.",
        SECONDS,
    ),
    Metric(
        "mien_upload_seconds",
        "histogram",
        "server",
        "seconds",
        (),
        "Time to read an upload from the network.",
        SECONDS,
    ),
    Metric(
        "mien_upload_bytes",
        "histogram",
        "server",
        "bytes",
        (),
        "Size of the uploads, forms and JSON.",
        BYTES,
    ),
    Metric(
        "mien_prediction_log_rows",
        "gauge",
        "server",
        "count",
        (),
        "Rows of the prediction log.",
    ),
    Metric(
        "mien_prediction_log_bytes",
        "gauge",
        "server",
        "bytes",
        (),
        "Size of the prediction log on disk.",
    ),
    Metric(
        "mien_prediction_log_dropped_total",
        "counter",
        "server",
        "count",
        (),
        "Predictions that could not be written to the prediction log.",
    ),
    Metric(
        "process_cpu_seconds_total",
        "counter",
        "server",
        "seconds",
        (),
        "CPU time of the server.",
    ),
    Metric(
        "process_resident_memory_bytes",
        "gauge",
        "server",
        "bytes",
        (),
        "Resident memory of the server.",
    ),
    Metric(
        "process_open_fds",
        "gauge",
        "server",
        "count",
        (),
        "Open files and connections of the server.",
    ),
    Metric(
        "process_start_time_seconds",
        "gauge",
        "server",
        "timestamp",
        (),
        "Start time of the server.",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
EXPOSED = {name: metric for metric in METRICS for name in metric.exposed}
"""Every name that a query may use, with its row of the table."""
