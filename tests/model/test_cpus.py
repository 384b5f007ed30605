"""Promises about the count of processors that thread counts and pools are made by."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.model import cpus, lineage


def granted(root: Path, groups: str, **files: str) -> int:
    """The cores of a machine whose files say that."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return cpus.available_cpus(root)


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/a/b\n", {"a__cpu.max": "300000 100000", "a__b__cpu.max": "max 100000"}, 3),
        ("0::/../host\n", {"cpu.max": "400000 100000"}, 4),
        ("3:cpu,cpuacct:/\n", {"cpu__cpu.cfs_quota_us": "-1", "cpu__cpu.cfs_period_us": "1"}, 64),
        (
            "9:pids:/\n4:cpuacct,cpu:/docker/x\n",
            {"cpu__cpu.cfs_quota_us": "250000\n", "cpu__cpu.cfs_period_us": "100000\n"},
            3,
        ),
    ],
)
def test_cores_are_those_that_the_container_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], cores: int
) -> None:
    """On a machine of 64: the quota of the group and of those above it, a part counts as one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert granted(tmp_path, groups, **files) == cores


def test_cores_are_at_most_those_that_the_process_may_run_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And at least one; where there are no control groups, too."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert granted(tmp_path, "0::/\n", **{"cpu.max": "800000 100000"}) == 1
    assert cpus.available_cpus(tmp_path / "nowhere") == 1


def test_the_record_of_a_training_names_the_cores_of_its_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As every pool counts them, not those of the machine."""
    monkeypatch.setattr(cpus, "available_cpus", lambda: 3)
    assert lineage.threads()["cores"] == 3


def quota(root: Path, text: str) -> Path:
    """A machine whose only control group has that quota."""
    granted(root, "0::/\n", **{"cpu.max": text})
    return root


def test_native_libraries_start_no_more_threads_than_a_quota_grants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would start one for each core of the machine; what the user has set stays."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for name in cpus.NATIVE_THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    cpus.limit_native_threads(quota(tmp_path, "200000 100000"))
    assert [os.environ[name] for name in cpus.NATIVE_THREADS] == ["5", "2", "2"]


def test_without_a_quota_native_libraries_count_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They know the affinity, and which cores share an execution unit."""
    for name in cpus.NATIVE_THREADS:
        monkeypatch.delenv(name, raising=False)
    cpus.limit_native_threads(quota(tmp_path, "max 100000"))
    assert not set(cpus.NATIVE_THREADS) & set(os.environ)


def test_the_count_needs_no_library() -> None:
    """It is asked before numpy is loaded, which reads the variables once."""
    code = "import sys, mien.model.cpus; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
