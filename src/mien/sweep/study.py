"""The trials of a sweep: what to try next, and what came of it; the only importer of Optuna.

Trials are proposed in rounds. What is proposed depends on the results of earlier rounds, the seed
and the trial's number alone: not on how many processes work, on which of them is faster, nor on
how often the sweep was interrupted. Kept in SQLite, where Optuna's own tools read it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .space import Axis, Between, Choice, Space
from .trial import Outcome

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

ROUND = 4
"""Trials that are proposed without knowing each other's results, and so may run at once."""
DATABASE = "study.db"
_FIRST = 2 * ROUND
"""Trials that are drawn blindly before results guide the choice."""
_DRAWS = 20
"""How often another proposal is asked for where one was tried before; few values run out."""
_ENOUGH = 12
"""Finished trials below which an importance would be noise."""
_NAME = "sweep"
_OUTCOME = "outcome"


class Study:
    """The trials of one folder. One process at a time may use it."""

    def __init__(self, folder: Path, space: Space, seed: int) -> None:
        import optuna
        from optuna.storages import RDBStorage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        self._seed = seed
        self._distributions = {key: _distribution(axis) for key, axis in space.axes.items()}
        self._storage = RDBStorage(f"sqlite:///{(folder / DATABASE).resolve()}")
        self._study = optuna.create_study(
            storage=self._storage, study_name=_NAME, direction="maximize", load_if_exists=True
        )

    def close(self) -> None:
        """Let go of the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def ask(self, until: int) -> dict[int, Choice]:
        """Choices that still have no outcome, by number of trial (counted from 0).

        Those that were proposed and not told come first; then the next round is proposed, as far
        as trial `until`, which is not of it. Empty when all trials before that one are told.
        """
        trials = self._trials()
        if all(each.state.is_finished() for each in trials):
            end = min(until, (len(trials) // ROUND + 1) * ROUND)
            for _ in range(len(trials), end):
                self._study.add_trial(_going(self._propose(self._trials()), self._distributions))
        return {
            each.number: _choice(each.params)
            for each in self._trials()
            if not each.state.is_finished()
        }

    def tell(self, number: int, outcome: Outcome) -> None:
        """Keep what came of a trial."""
        from optuna.trial import TrialState

        trial = self._trials()[number]
        self._storage.set_trial_user_attr(trial._trial_id, _OUTCOME, outcome.as_json())
        if outcome.error:
            self._study.tell(number, state=TrialState.FAIL)
        else:
            self._study.tell(number, outcome.value)

    def told(self) -> dict[int, tuple[Choice, Outcome]]:
        """Every trial that has an outcome, failed ones too."""
        return {
            each.number: (_choice(each.params), Outcome(**each.user_attrs[_OUTCOME]))
            for each in self._trials()
            if each.state.is_finished()
        }

    def importances(self) -> dict[str, float]:
        """Which share of the good results each key explains; empty where that cannot be told.

        PED-ANOVA: Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter
        Importance in Arbitrary Subspaces", 2023.
        """
        from optuna.importance import get_param_importances

        values = {each.value for each in self._trials() if each.value is not None}
        if len(values) < _ENOUGH or len(self._distributions) < 2:
            return {}
        return dict(get_param_importances(self._study))

    def _propose(self, trials: "list[FrozenTrial]") -> dict[str, Any]:
        import optuna
        from optuna.samplers import TPESampler

        number = len(trials)
        first = number - number % ROUND
        # Those of the same round count as going on, whether they are told or not.
        seen = [
            *trials[:first],
            *(_going(each.params, each.distributions) for each in trials[first:]),
        ]
        for draw in range(_DRAWS):
            seed = int(np.random.SeedSequence([self._seed, number, draw]).generate_state(1)[0])
            sampler = TPESampler(seed=seed, n_startup_trials=_FIRST)
            beside = optuna.create_study(direction="maximize", sampler=sampler)
            beside.add_trials(seen)
            proposed = beside.ask(self._distributions).params
            if all(proposed != each.params for each in trials):
                break
        return proposed

    def _trials(self) -> "list[FrozenTrial]":
        return self._study.get_trials(deepcopy=False)


def _going(
    params: Mapping[str, Any], distributions: "Mapping[str, BaseDistribution]"
) -> "FrozenTrial":
    """A trial without an outcome."""
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.RUNNING, params=dict(params), distributions=dict(distributions)
    )


def _distribution(axis: Axis) -> "BaseDistribution":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(axis, Between):
        return CategoricalDistribution([json.dumps(value) for value in axis])
    if axis.whole:
        low, high, step = int(axis.low), int(axis.high), axis.step or 1
        return IntDistribution(low, low + (high - low) // step * step, axis.log, step)
    return FloatDistribution(float(axis.low), float(axis.high), axis.log)


def _choice(params: Mapping[str, Any]) -> Choice:
    """Listed values are kept as JSON texts, because Optuna keeps no lists."""
    return {
        key: json.loads(value) if isinstance(value, str) else value
        for key, value in sorted(params.items())
    }
