"""A canary: a version that answers a share of a task's requests in place of the champion.

The random bits of a request's trace_id decide, so that the two groups differ in nothing else. The
canary ends, until the next start of the server, on its first failure, and when the feedback on
both groups says that it is worse. A request on which it fails is answered by the champion. Knows
nothing of HTTP.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

from mien import tasks
from mien.config import Settings
from mien.errors import ConfigError, MienError
from mien.observability import sequential
from mien.observability.prediction_log.writer import PredictionLog
from mien.observability.sequential import PairCounts
from mien.stages.serve import loading
from mien.stages.serve.loading import BundleSource, LoadedModel, run_with_timeout
from mien.stages.serve.models import Models
from mien.storage.workspace import CHAMPION, MANIFEST, Workspace

_FORM = re.compile(r"(?:(?P<task>\w+):)?(?P<version>\d+)=(?P<percent>\d+(?:\.\d+)?)%")
_log = logging.getLogger("mien.serve")


@dataclass(frozen=True)
class CanaryPlan:
    """Which version answers, and for how many of the requests."""

    source: BundleSource
    share: float

    @classmethod
    def parse(cls, text: str, served: Sequence[str], workspace: Workspace) -> "CanaryPlan":
        """Read `VERSION=5%`, with `TASK:` before it where several tasks are served.

        Raises:
            ConfigError: it has another form, or there is no such version.
        """
        form = _FORM.fullmatch(text)
        only = served[0] if len(served) == 1 else ""
        task = str(form["task"] or only) if form else ""
        if form is None or task not in served or not 0 < float(form["percent"]) <= 100:
            raise ConfigError(
                f"--canary: expected [TASK:]VERSION=SHARE% of a served task ({', '.join(served)}), "
                f"found {text!r}. Give it as in `--canary {served[0] if served else 'TASK'}:2=5%`."
            )
        number = int(form["version"])
        folder = workspace.version(task, number)
        if not (folder / MANIFEST).is_file() or not workspace.is_registered(task, number):
            raise ConfigError(
                f"--canary: mien-{task} has no version {number} with a bundle. "
                f"`mien models {task}` lists the versions."
            )
        share = float(form["percent"]) / 100
        return cls(BundleSource(tasks.load(task), folder, str(number)), share)


class Canary:
    """The canary of one server, or none."""

    def __init__(self, plan: CanaryPlan | None, models: Models, log: PredictionLog) -> None:
        self.model: LoadedModel | None = None
        """Loaded, and not ended."""
        self._plan, self._models, self._prediction_log = plan, models, log
        self._since = 0.0

    @property
    def share(self) -> tuple[str, str, float] | None:
        """Task, version and present share of the requests; None before it answers the first."""
        if self._plan is None or not self._since:
            return None
        source = self._plan.source
        return source.task.name, str(source.version), self._plan.share if self.model else 0.0

    @classmethod
    def from_settings(
        cls, settings: Settings, workspace: Workspace, models: Models, log: PredictionLog
    ) -> "Canary":
        """The canary that the settings ask for, or none.

        Raises:
            ConfigError: they name no version of a served task.
        """
        served = [slot.name for slot in models.slots if slot.alias == CHAMPION]
        plan = CanaryPlan.parse(settings.canary, served, workspace) if settings.canary else None
        return cls(plan, models, log)

    def load(self, on_ready: Callable[[LoadedModel], None]) -> None:
        """Load the model; one that cannot be loaded, or has other labels, never answers."""
        if self._plan is None:
            return
        source = self._plan.source
        try:
            champion = self._models.find(source.task.name)
            model = loading.load(source, run_with_timeout, self._models.max_batch_size)
            if model.labels != champion.labels:
                raise ConfigError(f"expected the labels of version {champion.version}")
            on_ready(model)
        except MienError as error:
            _log.error("%s has no canary: %s", source.task.name, error)
        except Exception:  # noqa: BLE001 - a task's own code may fail in any way
            _log.exception("%s has no canary: version %s fails", source.task.name, source.version)
        else:
            self._since, self.model = time.time(), model
            share = f"{100 * self._plan.share:.3g} %"
            _log.info("%s version %s answers %s", source.task.name, source.version, share)

    def choose(self, champion: LoadedModel, trace_id: str) -> LoadedModel | None:
        """The canary's model, if it is to answer a request in place of the champion's."""
        model = self.model
        if model is None or self._plan is None or model.task.name != champion.task.name:
            return None
        if model.digest == champion.digest:  # it was promoted meanwhile
            return None
        return model if crc32(trace_id.encode()) < self._plan.share * 2**32 else None

    def end(self, reason: str) -> None:
        """Let the champion answer all requests from now on."""
        model, self.model = self.model, None
        if model is not None:
            text = "%s: the canary, version %s, is rolled back: %s; the champion answers all"
            _log.error(text, model.task.name, model.version, reason)

    def check(self, task: str) -> None:
        """End the canary where feedback says that it is worse; called after a feedback."""
        model = self.model
        if model is None or model.task.name != task:
            return
        try:
            champion = self._models.find(task)
            pairs = self._pairs(model, champion)
        except MienError:
            return
        compared = sequential.compare(pairs)
        if compared.verdict == "worse":
            interval = f"{compared.lower:+.4f} to {compared.upper:+.4f}"
            what = f"its accuracy differs by {compared.difference:+.4f} ({interval})"
            self.end(f"{what} on {pairs.total} pairs of answers with feedback")

    def close(self) -> None:
        """Free the model."""
        model, self.model = self.model, None
        if model is not None:
            model.model.close()

    def _pairs(self, model: LoadedModel, champion: LoadedModel) -> PairCounts:
        """Answers of both groups, paired in the order of their feedback: the mean difference of
        such pairs is that of the accuracies, as the groups are drawn at random."""
        own, other = (
            self._prediction_log.correct_since(each.digest, self._since)
            for each in (model, champion)
        )
        both = list(zip(own, other, strict=False))
        return PairCounts(
            wins=both.count((True, False)),
            losses=both.count((False, True)),
            both_right=both.count((True, True)),
            both_wrong=both.count((False, False)),
        )
