"""The search space of a config: names, ranges and values."""

import pytest
import yaml

from mien import tasks
from mien.config import RunConfig
from mien.errors import ConfigError
from mien.sweep.search_space import SearchSpace

CONFIG = """
task: gesture
seed: 6
params: {candidates: [random_forest], accept_images: false, trees: 10, cv_folds: 2}
"""


@pytest.mark.parametrize(
    ("search_space", "message"),
    [
        ("{}", "expected a section `search_space:`"),
        ("{tree: [10]}", r"search_space.tree = 10: unknown key 'tree'. Did you mean 'trees'"),
        (
            "{trees: {low: 5, high: 50}}",
            r"search_space.trees = 5: trees: .*at least 10",
        ),
        ("{trees: [10, 5000]}", r"search_space.trees = 5000: trees: .*at most 1000"),
        ("{trees: {low: 10.0, high: 50.0}}", "for integers write both ends without a decimal"),
        ("{trees: {low: 50, high: 10}}", "expected low below high, found 50 and 10"),
        ("{trees: {low: 10, hihg: 50}}", "unknown key 'hihg'. Did you mean 'high'"),
        (
            "{trees: {low: 10, high: 50, step: 5, log: true}}",
            "expected low above 0 and no step with log",
        ),
        ("{trees: {low: 10.5, high: 50.5, step: 5}}", "step is for integers"),
        ("{trees: []}", "search_space.trees: expected at least one value"),
        (
            "{trees: 10}",
            "search_space.trees: expected a range such as .* or a list of values, found 10",
        ),
        ("{val_fraction: [0.1, 0.2]}", "val_fraction determines the data"),
        ("{trees.x: [1]}", "expected a section params.trees, found a value"),
        ("{a: [1], a.b: [2]}", "search_space.a and search_space.a.b overlap"),
    ],
)
def test_an_invalid_search_space_is_refused(search_space: str, message: str) -> None:
    """Before anything is fetched or trained; the message names the key."""
    document = {**yaml.safe_load(CONFIG), "name": "few"}
    document["search_space"] = yaml.safe_load(search_space)
    with pytest.raises(ConfigError, match=message):
        SearchSpace.from_config(RunConfig(**document))


def test_a_key_with_dots_is_a_nested_one() -> None:
    """Neighbouring keys and the config itself do not change."""
    params = {"augmentation": {"scale": 0.1, "rotate_degrees": 5}}
    dimensions = {
        "augmentation.scale": {"low": 0.0, "high": 0.5},
        "lr": {"low": "1e-3", "high": 0.1},
    }
    run = RunConfig(name="x", task="emotion", params=params, search_space=dimensions)
    space = SearchSpace.from_config(run)
    assert space.with_values({"augmentation.scale": 0.3, "lr": 0.01}) == {
        "augmentation": {"scale": 0.3, "rotate_degrees": 5},
        "lr": 0.01,
    }
    assert params == {"augmentation": {"scale": 0.1, "rotate_degrees": 5}}


@pytest.mark.parametrize("name", ["gesture", "gesture_sweep", "sample_gesture", "emotion"])
def test_the_search_spaces_of_the_configs_are_valid(name: str) -> None:
    """The task accepts both ends of each range and every listed value."""
    run = tasks.run_config(name)
    assert SearchSpace.from_config(run).dimensions
