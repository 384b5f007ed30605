"""How many tests hang on one expensive fixture: where it fails, no more than `MOST` fail with it.

A plugin of pytest. It counts at collection, before any test is left out, and measures how long
fixtures take. They are printed at the end of a run, and so is what tests recorded
(`record_property`), such as the seconds of each step; no test fails by a clock. It also notes which
libraries the collection has loaded, because each worker of pytest-xdist collects every test.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

MOST = 60
SECONDS = 10.0
"""What takes longer on two quiet cores is expensive, and is named below."""
EXPENSIVE = frozenset({"demo", "small_gesture", "small_models"})
"""Names of the fixtures that are, see `SECONDS`."""
SLOW_IMPORTS = frozenset(
    {"lightgbm", "matplotlib", "mediapipe", "mlflow", "pandas", "schemathesis"}
    | {"scipy", "sklearn", "torch"}
)
"""Libraries that tests import where they use them."""
LOADED = pytest.StashKey[frozenset[str]]()
COUNTED = pytest.StashKey[dict[str, int]]()
_TAKEN = pytest.StashKey[dict[str, float]]()
_KEY = "fixtures"


def _name(fixture: Any) -> str:
    place = "" if fixture.baseid in ("", "tests") else f"{fixture.baseid}::"
    return f"{place}{fixture.argname}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[Any]) -> None:
    """Count the tests that need each fixture, directly or through others."""
    counted: dict[str, int] = defaultdict(int)
    for item in items:
        found = item._fixtureinfo.name2fixturedefs.values()
        for name in {_name(fixtures[-1]) for fixtures in found}:
            counted[name] += 1
    session.config.stash[COUNTED] = counted


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[LOADED] = SLOW_IMPORTS.intersection(sys.modules)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Iterator[None]:
    """Measure a fixture alone: those that it needs are set up before."""
    start = time.perf_counter()
    try:
        return (yield)
    finally:
        taken = request.config.stash.setdefault(_TAKEN, {})
        name = _name(fixturedef)
        taken[name] = max(taken.get(name, 0.0), time.perf_counter() - start)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a worker has measured to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[_KEY] = session.config.stash.get(_TAKEN, {})
        session.config.workeroutput[f"{_KEY}_counted"] = dict(session.config.stash[COUNTED])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take it from a worker."""
    output = getattr(node, "workeroutput", {})
    taken = node.config.stash.setdefault(_TAKEN, {})
    for name, seconds in output.get(_KEY, {}).items():
        taken[name] = max(taken.get(name, 0.0), seconds)
    node.config.stash[COUNTED] = output.get(f"{_KEY}_counted", {})


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print which fixtures were expensive, how many tests need each, and what tests recorded."""
    recorded = [each for each in terminalreporter.getreports("passed") if each.user_properties]
    if recorded:
        terminalreporter.section("recorded by tests")
    for report in recorded:
        values = ", ".join(f"{name} {value}" for name, value in report.user_properties)
        terminalreporter.line(f"{report.nodeid}: {values}")
    taken, counted = config.stash.get(_TAKEN, {}), config.stash.get(COUNTED, {})
    slow = {name: seconds for name, seconds in taken.items() if seconds > SECONDS}
    if slow:
        terminalreporter.section("expensive fixtures")
    for name, seconds in sorted(slow.items(), key=lambda it: -it[1]):
        note = "" if name in EXPENSIVE else "; not named in tests/expensive.py"
        terminalreporter.line(f"{seconds:6.1f} s  {name}: {counted.get(name, 0)} tests{note}")
