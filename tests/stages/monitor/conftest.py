"""A real Prometheus that knows nothing."""

from collections.abc import Iterator

import pytest

from prometheus import Prometheus, running


@pytest.fixture(scope="session")
def empty_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus without targets and rules; skips where there is no such binary."""
    with running({}, tmp_path_factory.mktemp("prometheus"), rules=False) as started:
        yield started
