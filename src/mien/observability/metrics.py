"""Every metric of the service, as one table; nothing else in the project may name another.

The server makes its instruments from it, the dashboards take unit and description from it, and
tests hold rules, dashboards and docs against it. Knows no client library.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Topic = Literal["model", "data", "server"]
Unit = Literal["count", "ratio", "seconds", "bytes", "timestamp", "value"]

STAGES = ("decode", "preprocess", "infer", "postprocess")
"""Bytes to pixels (or JSON to numbers); what `predict` does before, while and after it asks the
networks of a bundle."""
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
TENTHS = tuple(step / 10 for step in range(1, 11))
BYTES = (1e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 2e7)
MEASURED = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.999, 1.0),
    *(1.5, 2.0, 3.0, 5.0, 10.0, 100.0),
)
"""For measures of any kind: fine where shares lie, and just below 1, which many of them are."""


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
    # What the model is.
    Metric(
        "mien_model_info",
        "gauge",
        "model",
        "value",
        ("task", "version", "alias", "candidate", "digest"),
        "The model that answers; always 1. The alias is 'none' for a bundle given as a folder.",
    ),
    Metric(
        "mien_model_loaded",
        "gauge",
        "model",
        "value",
        ("task",),
        "1 once the model has answered its warm-up, 0 before and when it could not be loaded.",
    ),
    Metric(
        "mien_swaps_total",
        "counter",
        "model",
        "count",
        ("task", "result"),
        "Other models found while serving: done or refused.",
    ),
    Metric(
        "mien_model_load_seconds",
        "gauge",
        "model",
        "seconds",
        ("task", "version"),
        "Time from reading the bundle to the last answer of its warm-up.",
    ),
    Metric(
        "mien_model_created_timestamp_seconds",
        "gauge",
        "model",
        "timestamp",
        ("task", "version"),
        "When the bundle was written, by the time stamp of its bundle.json.",
    ),
    Metric(
        "mien_model_score",
        "gauge",
        "model",
        "ratio",
        ("task", "version", "candidate", "split", "score"),
        "What evaluation measured of every candidate of the champion's bake-off: accuracy, "
        "macro_f1, and map50 and map50_95 where boxes are found.",
    ),
    # What the model says.
    Metric(
        "mien_predictions_total",
        "counter",
        "model",
        "count",
        ("task", "version", "label", "outcome"),
        "Answers of a model; the label is 'none' where nothing was found.",
    ),
    Metric(
        "mien_confidence",
        "histogram",
        "model",
        "ratio",
        ("task", "version"),
        "Confidence of the answers that name a label.",
        TENTHS,
    ),
    Metric(
        "mien_predict_seconds",
        "histogram",
        "model",
        "seconds",
        ("task", "stage"),
        f"Time of each stage of an answer: {', '.join(STAGES)}.",
        SECONDS,
    ),
    # How right it is, as far as people tell.
    Metric(
        "mien_feedback_total",
        "counter",
        "model",
        "count",
        ("task", "version", "verdict"),
        "Verdicts that were sent, by whether the answer was 'right' or 'wrong'; a replaced "
        "verdict counts again.",
    ),
    Metric(
        "mien_live_verdicts",
        "gauge",
        "model",
        "count",
        ("task", "version"),
        "Verdicts on what shows a subject, in the window of live accuracy: the last 500.",
    ),
    Metric(
        "mien_live_accuracy",
        "gauge",
        "model",
        "ratio",
        ("task", "version"),
        "Share of right answers where a verdict names a label; absent without any.",
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
        "Macro-F1 of the same answers, over the labels that verdicts name.",
    ),
    Metric(
        "mien_live_accuracy_floor",
        "gauge",
        "model",
        "ratio",
        ("task", "version"),
        "Lower end of the 95 % Wilson interval of the bundle's accuracy on its test split.",
    ),
    # What the training data was.
    Metric(
        "mien_training_examples",
        "gauge",
        "data",
        "count",
        ("task", "version", "split", "label"),
        "Examples that the model was trained and measured on.",
    ),
    Metric(
        "mien_training_completeness",
        "gauge",
        "data",
        "ratio",
        ("task", "version", "check"),
        "Share of the training data's rows or images that passed a check of the data report.",
    ),
    # What the traffic is.
    Metric(
        "mien_measure",
        "histogram",
        "data",
        "value",
        ("task", "measure"),
        "What was measured of each input: brightness, sharpness, size of the subject, ...",
        MEASURED,
    ),
    Metric(
        "mien_label_share_limit",
        "gauge",
        "data",
        "ratio",
        ("task", "version", "label"),
        "Share of a label beyond which the class mix has collapsed: half way from its share "
        "in the validation data to all.",
    ),
    Metric(
        "mien_drift_window_rows",
        "gauge",
        "data",
        "count",
        ("task", "version"),
        "Answers in the sliding window of drift; there is no verdict under 200.",
    ),
    Metric(
        "mien_drift_score",
        "gauge",
        "data",
        "value",
        ("task", "version", "quantity"),
        "Population stability index of the window against the validation data: of the label "
        "mix, of confidence and of each measure.",
    ),
    Metric(
        "mien_drift_threshold",
        "gauge",
        "data",
        "value",
        ("task", "version", "quantity"),
        "Score that chance alone exceeds with the bundle's stated false-alarm rate, for a "
        "window of the present size.",
    ),
    # What the server does.
    Metric(
        "mien_requests_total",
        "counter",
        "server",
        "count",
        ("route", "method", "status"),
        "Requests answered, by route template; 'unmatched' for addresses that are not there.",
    ),
    Metric(
        "mien_request_seconds",
        "histogram",
        "server",
        "seconds",
        ("route", "status"),
        "Time from the first byte of a request to the last of its answer.",
        SECONDS,
    ),
    Metric(
        "mien_requests_in_progress",
        "gauge",
        "server",
        "count",
        ("route",),
        "Requests being answered now.",
    ),
    Metric(
        "mien_rejected_total",
        "counter",
        "server",
        "count",
        ("reason",),
        "Requests that were answered with a problem document, by the name of the problem.",
    ),
    Metric(
        "mien_queue_places",
        "gauge",
        "server",
        "count",
        ("state",),
        "Places of the queue: 'taken' now, and the 'limit'.",
    ),
    Metric(
        "mien_queue_wait_seconds",
        "histogram",
        "server",
        "seconds",
        (),
        "Time that a question waited for a worker after it was read.",
        SECONDS,
    ),
    Metric(
        "mien_upload_seconds",
        "histogram",
        "server",
        "seconds",
        (),
        "Time that it took to read a question from the network.",
        SECONDS,
    ),
    Metric(
        "mien_upload_bytes",
        "histogram",
        "server",
        "bytes",
        (),
        "Size of the questions that were read, forms and JSON.",
        BYTES,
    ),
    Metric(
        "mien_prediction_log_rows",
        "gauge",
        "server",
        "count",
        (),
        "Answers that the prediction log holds.",
    ),
    Metric(
        "mien_prediction_log_bytes",
        "gauge",
        "server",
        "bytes",
        (),
        "Size of the prediction log on the disk.",
    ),
    Metric(
        "mien_prediction_log_dropped_total",
        "counter",
        "server",
        "count",
        (),
        "Answers that could not be written to the prediction_log.",
    ),
    Metric(
        "process_cpu_seconds_total",
        "counter",
        "server",
        "seconds",
        (),
        "Processor time of the server.",
    ),
    Metric(
        "process_resident_memory_bytes",
        "gauge",
        "server",
        "bytes",
        (),
        "Memory that the server holds.",
    ),
    Metric(
        "process_open_fds",
        "gauge",
        "server",
        "count",
        (),
        "Files and connections that the server holds open.",
    ),
    Metric(
        "process_start_time_seconds",
        "gauge",
        "server",
        "timestamp",
        (),
        "When the server was started.",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
EXPOSED = {name: metric for metric in METRICS for name in metric.exposed}
"""Every name that a query may ask for, with its row of the table."""
