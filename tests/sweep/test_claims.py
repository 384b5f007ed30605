"""Several processes share one study in PostgreSQL: each trial runs once, with the same params."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import postgresql
import pytest
from project import free_port
from waiting import PATIENCE

from mien.config import RunConfig
from mien.errors import ConfigError, StorageError
from mien.sweep import claims
from mien.sweep.search_space import SearchSpace
from mien.sweep.study import ROUND_SIZE, SharedStudy, Study
from mien.sweep.trial import TrialResult

SPACE = {
    "lr": {"low": 0.001, "high": 0.1, "log": True},
    "batch_size": {"low": 8, "high": 64, "step": 8},
}
TRIALS = 2 * ROUND_SIZE + 2
"""The last ones are guided by the results of the first."""


@pytest.fixture
def shared(postgresql_server: postgresql.Server) -> SharedStudy:
    """A study of its own in a database that others use too."""
    return SharedStudy(claims.database(postgresql_server.url), f"mien-test-{uuid4().hex}")


def open_study(folder: Path, shared: SharedStudy | None = None) -> Study:
    run = RunConfig(name="x", task="emotion", search_space=SPACE)
    return Study(folder, SearchSpace.from_config(run), 5, shared)


def run(study: Study, count: int) -> Iterator[int]:
    """Run trials as a sweep does, `count` at a time."""
    while proposals := study.ask(TRIALS):
        for number, values in study.claim(proposals, count).items():
            study.tell(number, TrialResult(value=-abs(values["lr"] - 0.05)))
            yield number


def finished(study: Study) -> dict[int, Any]:
    return {number: dict(values) for number, (values, _) in study.finished().items()}


@pytest.mark.long
def test_processes_share_the_trials_of_one(shared: SharedStudy, tmp_path: Path) -> None:
    """Whichever runs which: params and numbers are those of one process alone."""

    def machine(name: str) -> list[int]:
        with closing(open_study(tmp_path / name, shared)) as study:
            return list(run(study, 1 + len(name) % 2))

    with ThreadPoolExecutor() as pool:
        numbers = list(pool.map(machine, ("a", "bb")))
    assert sorted(number for each in numbers for number in each) == list(range(TRIALS))
    with (
        closing(open_study(tmp_path / "alone")) as alone,
        closing(open_study(tmp_path / "d", shared)) as study,
    ):
        list(run(alone, 1))
        assert finished(study) == finished(alone)


def test_who_waits_asks_again(shared: SharedStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends each waiting after a while, so that no connection is silent for long."""
    monkeypatch.setitem(claims._SETTINGS, "lock_timeout", 20)
    one, other = (claims.AdvisoryLocks(shared.url, shared.name) for _ in range(2))
    with closing(one), closing(other), ThreadPoolExecutor() as pool:
        assert one.take([0, 1, 2], 2) == [0, 1]
        assert other.take([0, 1, 2], 2) == [2]
        waiting = pool.submit(other.wait, 0)
        with pytest.raises(TimeoutError):
            waiting.result(0.1)
        one.release(0)
        waiting.result(PATIENCE)
        assert other.take([0, 1, 2], 3) == [0, 2]


def test_a_trial_of_a_machine_that_died_is_given_to_another(
    shared: SharedStudy, tmp_path: Path, postgresql_server: postgresql.Server
) -> None:
    """As soon as the server has lost the first one, whose sweep ends with its next result."""
    url = shared.url
    with (
        closing(open_study(tmp_path / "a", shared)) as first,
        closing(open_study(tmp_path / "b", shared)) as second,
    ):
        proposals = first.ask(TRIALS)
        assert list(first.claim(proposals, 3)) == [0, 1, 2]
        assert list(second.claim(proposals, 3)) == [3]
        second.tell(3, TrialResult(value=1.0))
        locks = "select pid from pg_locks where locktype = 'advisory' and objid = 0"
        assert postgresql_server.sql(f"select pg_terminate_backend(pid) from ({locks}) as own")
        assert list(second.claim(second.ask(TRIALS), 2)) == [0, 1]
        with pytest.raises(StorageError, match="command resumes") as lost, claims.reported(url):
            first.tell(2, TrialResult(value=1.0))
        assert postgresql.PASSWORD not in str(lost.value)


@pytest.mark.parametrize(
    "address",
    ["sqlite:///x.db", "postgresql://me:wordword@host", "me:wordword", "mysql://me:wordword@h/d"],
)
def test_other_databases_are_refused_without_repeating_them(address: str) -> None:
    """A password in them would come into a log."""
    with pytest.raises(ConfigError, match=r"expected postgresql://USER@HOST/DATABASE") as refused:
        claims.database(address)
    assert "wordword" not in str(refused.value)


def test_a_database_that_is_away_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password may come from PGPASSWORD, where no list of processes shows it."""
    monkeypatch.setenv("PGPASSWORD", "wordword")
    url = claims.database(f"postgresql://me@127.0.0.1:{free_port()}/trials")
    assert url.password == "wordword"
    with pytest.raises(StorageError) as away, claims.reported(url):
        open_study(tmp_path, SharedStudy(url, "x"))
    assert str(away.value).startswith("--storage postgresql://127.0.0.1/trials: expected a databa")
    assert "wordword" not in str(away.value)
