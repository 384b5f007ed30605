"""Promises of `mien.model.lineage`: what a model comes from is named, and equal things equally."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from project import ROOT

from mien.config import RunConfig
from mien.model import lineage
from mien.model.lineage import Processor

INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Some Xeon
flags\t\t: fpu sse4_2 avx avx2 avx512f hypervisor

processor\t: 1
vendor_id\t: GenuineIntel
flags\t\t: fpu avx9
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd sve bf16 crc32\nCPU implementer\t: 0x41\n"


def test_a_record_holds_what_a_rebuild_needs() -> None:
    """Code, config, data, packages, platform; as JSON values, the same when asked again."""
    run = RunConfig(name="run", task="gesture", seed=3, params={"trees": 10}, source="a.csv")
    found = lineage.record(run, "f" * 64, "a" * 64, {"size": None})
    assert lineage.Lineage.model_validate_json(json.dumps(found.recorded())) == found
    assert found == lineage.record(run, "f" * 64, "a" * 64, {"size": None})
    assert found.config["params"] == {"trees": 10}
    assert "source" not in found.config, "where data lay says nothing of what they were"
    assert found.environment["python"].count(".") == 2
    assert {"numpy", "onnx", "scikit-learn"} <= set(found.environment)
    assert len(found.code.sha256) == 64
    assert found.threads["cores"] >= 1


def test_a_lock_file_names_its_packages(tmp_path: Path) -> None:
    """Names without versions, hashes and remarks, of what is installed on this system; nothing
    where there is no lock file."""
    path = tmp_path / "lock.txt"
    path.write_text(
        "# made\nnumpy==2.4.6 \\\n    --hash=sha256:0\nonnx==1.0\n    # via mien\n"
        "colorama==1 ; sys_platform == 'nowhere' \\\n    --hash=sha256:0\n"
        "tomli==1 ; python_full_version >= '3.11'\n"
    )
    assert set(lineage.locked(path)) == {"numpy", "onnx", "tomli"}
    assert lineage.locked(tmp_path / "absent") == {}


@pytest.mark.parametrize(
    "name",
    [
        "mlflow.db", ".mlflow.db.unfinished", ".mlflow.db.unfinished-journal", "mlruns/gesture",
        "predictions.db-spool", "data/raw/gesture/latest.txt", "models/gesture/aliases.json",
    ],
)  # fmt: skip
def test_what_a_run_leaves_makes_no_tree_dirty(name: str) -> None:
    """Not for a moment either: another task's run may just now ask whether all is committed."""
    found = subprocess.run(["git", "check-ignore", "--no-index", "-q", name], cwd=ROOT, check=False)
    assert found.returncode == 0


def test_new_files_count_among_the_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's table in the folder changes nothing; a changed file does, and a new module."""
    monkeypatch.setattr(lineage, "ROOT", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/code.py").write_text("1\n")
    (tmp_path / "dvc.lock").write_text("1\n")
    for command in ("init -q", "add .", "-c user.name=n -c user.email=e commit -qm first"):
        assert lineage.git(*command.split()) is not None
    (tmp_path / "landmarks.csv").write_text("x\n")
    (tmp_path / "dvc.lock").write_text("2\n")
    assert lineage.commit().dirty is False
    (tmp_path / "src/new.py").write_text("2\n")
    assert lineage.commit().dirty is True
    (tmp_path / "src/new.py").unlink()
    (tmp_path / "src/code.py").write_text("3\n")
    assert lineage.commit().dirty is True


def test_tools_of_development_decide_nothing_of_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pytest trains nothing again, another numpy does."""
    monkeypatch.setattr(lineage, "ROOT", tmp_path)
    assert lineage.lock_hash() is None
    (tmp_path / "requirements_train.txt").write_text("numpy==1\n")
    before = lineage.lock_hash()
    (tmp_path / "requirements_dev.txt").write_text("pytest==9\n")
    assert lineage.lock_hash() == before
    (tmp_path / "requirements_train.txt").write_text("numpy==2\n")
    assert lineage.lock_hash() != before


@pytest.mark.parametrize(
    ("text", "maker", "flags"),
    [
        (INTEL, "GenuineIntel", ["avx", "avx2", "avx512f", "sse4_2"]),
        (ARM, "0x41", ["asimd", "bf16", "sve"]),
        ("nothing of the kind", "", []),
    ],
)
def test_a_processor_is_its_maker_and_its_wide_instructions(
    tmp_path: Path, text: str, maker: str, flags: list[str]
) -> None:
    """Of the first core; what decides no kernel is left out."""
    (tmp_path / "cpuinfo").write_text(text)
    assert lineage.processor(tmp_path / "cpuinfo") == lineage.Processor(
        maker=maker, flags=tuple(flags)
    )
    assert lineage.processor(tmp_path / "absent") == lineage.Processor()


def test_prepared_data_are_named_by_their_content(tmp_path: Path) -> None:
    """Place and report do not count; a name and a single byte do."""

    def made(name: str, files: dict[str, str]) -> str:
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return lineage.folder_hash(tmp_path / name)

    first = made("one", {"train.csv": "1", "val/a.txt": "2", "report.json": "now"})
    assert made("two", {"val/a.txt": "2", "train.csv": "1", "report.json": "then"}) == first
    assert made("three", {"train.csv": "1", "val/a.txt": "3"}) != first
    assert made("four", {"train.csv": "1", "val/b.txt": "2"}) != first


def test_what_git_cannot_do_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a repository the record holds None for the commit, and nothing is raised."""
    assert lineage.git("cat-file", "-e", "0" * 40) is None
    monkeypatch.setattr(lineage, "ROOT", tmp_path)
    assert (lineage.commit().commit, lineage.commit().dirty) == (None, None)


def test_processor_features_name_the_architecture_and_the_vector_instructions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On x86 with VNNI and AMX: what NumPy knows, and what only /proc/cpuinfo knows."""
    numpy_core = SimpleNamespace(__cpu_features__={"AVX2": True, "AVX512VNNI": True, "NEON": False})
    monkeypatch.setattr(lineage.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(lineage, "import_module", lambda _: numpy_core)
    monkeypatch.setattr(lineage, "processor", lambda: Processor(flags=("amx_int8", "fma")))
    assert lineage.processor_features() == ("x86_64", "amx_int8", "avx2", "avx512_vnni")


def test_processor_features_that_nothing_names_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NumPy without its private table, on a system without /proc/cpuinfo."""

    def refuse(_: str) -> Any:
        raise ImportError

    monkeypatch.setattr(lineage.platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(lineage, "import_module", refuse)
    monkeypatch.setattr(lineage, "processor", Processor)
    assert lineage.processor_features() == ("riscv64", "unknown")
