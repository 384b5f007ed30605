"""The trials of a sweep and the choice of the next ones; the only importer of Optuna.

Trials are proposed in rounds. A proposal depends on the results of earlier rounds, the seed and the
number of the trial only: not on how many processes run trials, which of them is faster, or how
often the sweep was interrupted. Stored in SQLite, or in PostgreSQL for several machines; Optuna's
own tools can read both.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien import config

from .claims import CONNECT_ARGUMENTS, AdvisoryLocks, AllTrials, Claims
from .search_space import Dimension, Range, SearchSpace, TrialParams
from .trial import TrialResult

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from sqlalchemy import URL

ROUND_SIZE = 4
"""Trials that are proposed without the results of each other, and so may run in parallel."""
DATABASE = "study.db"
_SAMPLER: Mapping[str, Any] = {
    "n_startup_trials": 2 * ROUND_SIZE,  # at random, before results guide the choice
    "multivariate": True,
    "constant_liar": True,
}
"""All that the proposals of `TPESampler` depend on: its defaults differ between versions."""
_MAX_DRAWS = 20
"""How often a proposal is drawn again if it repeats an earlier one; small spaces are exhausted."""
_MIN_TRIALS_FOR_IMPORTANCE = 12
"""With fewer finished trials, an importance would be noise."""
_STUDY_NAME = "sweep"
_RESULT = "result"


@dataclass(frozen=True)
class SharedStudy:
    """A study in a database of PostgreSQL."""

    url: "URL"
    name: str


class Study:
    """The trials of a folder, which one process at a time may use, or of a shared database."""

    def __init__(
        self, folder: Path, space: SearchSpace, seed: int, shared: "SharedStudy | None" = None
    ) -> None:
        import optuna
        from optuna.storages import RDBStorage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        self._seed = seed
        self._distributions = {key: _distribution(d) for key, d in space.dimensions.items()}
        name, options = _STUDY_NAME, {}
        address = f"sqlite:///{(folder / DATABASE).resolve()}"
        self._claims: Claims = AllTrials()
        if shared:
            name, options = shared.name, {"connect_args": CONNECT_ARGUMENTS}
            address = shared.url.render_as_string(hide_password=False)
            self._claims = AdvisoryLocks(shared.url, name)
        with self._claims.creating():
            self._storage = RDBStorage(address, engine_kwargs=options)
            self._study = optuna.create_study(
                storage=self._storage, study_name=name, direction="maximize", load_if_exists=True
            )
        sampler = {"name": "TPESampler", "optuna": optuna.__version__, "seed": seed, **_SAMPLER}
        self._study.set_user_attr("sampler", sampler)

    def close(self) -> None:
        """Close the database, and let other processes have its trials."""
        self._claims.close()
        self._storage.remove_session()
        self._storage.engine.dispose()

    def ask(self, until: int) -> dict[int, TrialParams]:
        """Return the params of trials without a result, by trial number (from 0).

        Proposed trials come first; if all of them are finished, the next round is proposed, up to
        but not including trial `until`. Empty when all trials before that one are finished.
        """
        with self._claims.proposing():
            trials = self._trials()
            if all(trial.state.is_finished() for trial in trials):
                end = min(until, (len(trials) // ROUND_SIZE + 1) * ROUND_SIZE)
                for _ in range(len(trials), end):
                    proposal = self._propose(self._trials())
                    self._study.add_trial(_running_trial(proposal, self._distributions))
        return self._unfinished()

    def claim(self, proposals: Mapping[int, TrialParams], count: int) -> dict[int, TrialParams]:
        """Return those of the proposals that this process runs now; empty after it waited for one.

        Of equal params in one round the first one runs; when they are asked for again, its result
        is there.
        """
        first: dict[str, int] = {}
        for number in sorted(proposals):
            first.setdefault(config.digest(dict(proposals[number])), number)
        numbers = list(first.values())
        claimed = self._claims.take(numbers, count)
        if not claimed:
            self._claims.wait(numbers[0])
        unfinished = self._unfinished()  # another process may have ended some meanwhile
        for number in claimed:
            if number not in unfinished:
                self._claims.release(number)
        return {number: unfinished[number] for number in claimed if number in unfinished}

    def tell(self, number: int, result: TrialResult) -> None:
        """Store the result of a trial."""
        self._store(number, result)
        self._claims.release(number)

    def _store(self, number: int, result: TrialResult) -> None:
        from optuna.trial import TrialState

        trial = self._trials()[number]
        if trial.state.is_finished():
            return  # by a process that had the trial after this one had lost its connection
        self._storage.set_trial_user_attr(trial._trial_id, _RESULT, asdict(result))
        if result.error:
            self._study.tell(number, state=TrialState.FAIL)
        else:
            self._study.tell(number, result.value)

    def finished(self) -> dict[int, tuple[TrialParams, TrialResult]]:
        """Every trial that has a result, including failed ones."""
        return {
            trial.number: (_decode_params(trial.params), TrialResult(**trial.user_attrs[_RESULT]))
            for trial in self._trials()
            if trial.state.is_finished()
        }

    def importances(self) -> dict[str, float]:
        """Relative importance of each param for the score; empty with too few trials.

        PED-ANOVA: Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter
        Importance in Arbitrary Subspaces", 2023.
        """
        from optuna.importance import get_param_importances

        values = {trial.value for trial in self._trials() if trial.value is not None}
        if len(values) < _MIN_TRIALS_FOR_IMPORTANCE or len(self._distributions) < 2:
            return {}
        return dict(get_param_importances(self._study))

    def _propose(self, trials: "list[FrozenTrial]") -> dict[str, Any]:
        import optuna
        from optuna.samplers import TPESampler

        number = len(trials)
        round_start = number - number % ROUND_SIZE
        # Trials of the same round count as running, whether they are finished or not.
        history = [
            *trials[:round_start],
            *(_running_trial(each.params, each.distributions) for each in trials[round_start:]),
        ]
        for draw in range(_MAX_DRAWS):
            seed = int(np.random.SeedSequence([self._seed, number, draw]).generate_state(1)[0])
            sampler = TPESampler(seed=seed, **_SAMPLER)
            in_memory = optuna.create_study(direction="maximize", sampler=sampler)
            in_memory.add_trials(history)
            proposal: dict[str, Any] = in_memory.ask(self._distributions).params
            if all(proposal != trial.params for trial in trials):
                break
        return proposal

    def _unfinished(self) -> dict[int, TrialParams]:
        return {
            trial.number: _decode_params(trial.params)
            for trial in self._trials()
            if not trial.state.is_finished()
        }

    def _trials(self) -> "list[FrozenTrial]":
        trials: list[FrozenTrial] = self._study.get_trials(deepcopy=False)
        return trials


def _running_trial(
    params: Mapping[str, Any], distributions: "Mapping[str, BaseDistribution]"
) -> "FrozenTrial":
    """A trial without a result."""
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.RUNNING, params=dict(params), distributions=dict(distributions)
    )


def _distribution(dimension: Dimension) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(dimension, Range):
        return CategoricalDistribution([json.dumps(value) for value in dimension])
    if dimension.is_integer:
        low, high, step = int(dimension.low), int(dimension.high), dimension.step or 1
        return IntDistribution(low, low + (high - low) // step * step, dimension.log, step)
    return FloatDistribution(float(dimension.low), float(dimension.high), dimension.log)


def _decode_params(params: Mapping[str, Any]) -> TrialParams:
    """Listed values are stored as JSON texts, because Optuna does not store lists."""
    return {
        key: json.loads(value) if isinstance(value, str) else value
        for key, value in sorted(params.items())
    }
