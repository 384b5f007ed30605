"""Metrics that a healthy server may lack, and why: those of a training, a challenger, a canary."""

import re
from dataclasses import dataclass

from mien.errors import StackError
from mien.stages.monitor.web import HttpClient

WINDOW = "10m"
"""The window of rates while panels are checked."""
_OF_TRAINING = (
    "mien_training_",
    "mien_model_score",
    "mien_live_accuracy_floor",
    "mien_label_share_limit",
    "mien_drift_score",
    "mien_drift_threshold",
)
"""Metrics that need the evaluation or the training data of a model; a pulled model has neither."""
NO_CHALLENGER = "no version answers after the champion"
_CHALLENGER = {
    "mien_shadow_accuracy_": "no answer of the challenger has feedback",
    "mien_shadow_cpu_": f"the challenger has not answered in the last {WINDOW}",
}
"""Metrics that may be missing while a challenger answers, and why."""
_OPTIONAL = {
    "mien_canary_": "no canary is served",
    "mien_estimated_": "no estimate: too few answers, drift, or a model that is not calibrated",
}
_ACTIVE = re.compile(r'^mien_shadow_active\{task="(\w+)",version="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Served:
    """What a server serves, as far as that excuses a missing metric."""

    pulled: tuple[str, ...] = ()
    """The tasks that serve a pulled model."""
    all_pulled: bool = False
    """Whether every served model is one."""
    has_challenger: bool = False

    def excuse(self, expr: str, is_enough: bool) -> str:
        """Why a metric of an expression may be missing; "" if it must be there.

        Args:
            expr: of PromQL, or the name of a metric.
            is_enough: whether the pulled models are enough of a reason for it.
        """
        if is_enough and any(name in expr for name in _OF_TRAINING):
            names = ", ".join(self.pulled)
            return f"{names}: a public pretrained model, which brings no training data"
        challenger = _CHALLENGER if self.has_challenger else {"mien_shadow_": NO_CHALLENGER}
        return next((why for name, why in (challenger | _OPTIONAL).items() if name in expr), "")


def served(api: HttpClient) -> Served:
    """Ask a server; nothing is excused where it does not say what it serves."""
    try:
        models = api.get("/health").json()["models"]
        has_challenger = bool(challengers(api))
    except StackError:
        return Served()
    names = tuple(each["task"] for each in models if each["trained_on"] == "pretrained")
    return Served(names, bool(names) and len(names) == len(models), has_challenger)


def challengers(api: HttpClient) -> dict[str, tuple[str, bool]]:
    """For each task with a challenger its version, and whether it answers: else it was switched
    off."""
    rows = _ACTIVE.findall(api.get("/metrics").text)
    return {task: (version, float(value) == 1) for task, version, value in rows}
