"""The suite fails where the fault is, and its collection is quick."""

import pytest
from expensive import COUNTED, EXPENSIVE, LOADED, MOST


@pytest.mark.parametrize("name", sorted(EXPENSIVE))
def test_few_tests_need_an_expensive_fixture(name: str, request: pytest.FixtureRequest) -> None:
    """Where it fails, most of the suite still says what works."""
    assert name in request.session._fixturemanager._arg2fixturedefs, "there is no such fixture"
    assert request.config.stash[COUNTED].get(name, 0) <= MOST


def test_collecting_imports_no_slow_library(request: pytest.FixtureRequest) -> None:
    """Neither test files nor plugins load one; every worker would wait for it."""
    assert request.config.stash[LOADED] == frozenset()
