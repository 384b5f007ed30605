"""`stages/rebuild/environment.py` compares packages and platform, and installs packages."""

import platform
import shutil
import subprocess
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from mien.errors import ConfigError
from mien.model import lineage
from mien.stages.rebuild import environment
from mien.stages.rebuild.code import SourceTree
from mien.stages.rebuild.outcome import differences, format_differences


def test_differences_are_named_with_both_values() -> None:
    """Also if one side is missing; of many the first few."""
    differing = list(differences({"a": "1", "b": [1, 2]}, {"b": [1, 3], "c": 2.5}))
    assert format_differences(differing) == (
        "a: 1 recorded, nothing here; b[1]: 2 recorded, 3 here; c: nothing recorded, 2.5 here"
    )
    many = list(differences({str(n): n for n in range(20)}, {}))
    assert format_differences(many).endswith("; and 12 more")
    nan = float("nan")
    assert list(differences({"a": nan, "b": 1}, {"a": nan, "b": 1.0})) == []


def test_bytes_must_repeat_on_the_same_platform_only() -> None:
    """And only if the training is deterministic on its device; else scores are compared."""
    here = lineage.machine()
    assert environment.compare_platform(here, {}).state == "identical"
    newer = here.model_copy(update={"python": "3.0"})
    assert environment.compare_platform(newer, {}).state == "identical"
    other = environment.compare_platform(here.model_copy(update={"machine": "sparc"}), {})
    assert (other.state, other.text.split(",")[0]) == ("warning", "machine: sparc recorded")
    assert "bytes do not repeat" in environment.compare_platform(here, {"repeats": "scores"}).text


def wheel(folder: Path) -> str:
    """Write a package of one line as a wheel; return its SHA-256."""
    info = "tiny_thing-1.2.dist-info"
    files = {
        "tiny_thing.py": "one = 1\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.2\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    path = folder / "tiny_thing-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return sha256(path.read_bytes()).hexdigest()


@pytest.mark.long
@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_locked_packages_are_installed_by_their_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    """By uv, or by pip without it; other content than the locked one is refused."""
    if tool == "uv" and not shutil.which("uv"):
        pytest.skip("uv is not installed")
    if tool == "pip":
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        assert not shutil.which("uv")
    for name, value in (("PIP_NO_INDEX", "1"), ("UV_OFFLINE", "1")):
        monkeypatch.setenv(name, value)
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.setenv(name, str(tmp_path))
    lock = tmp_path / lineage.TRAINING_LOCK
    lock.write_text(f"tiny-thing==1.2 \\\n    --hash=sha256:{wheel(tmp_path)}\n")
    tree = SourceTree(tmp_path, tmp_path)
    python = environment.build(tree, tmp_path / "built", platform.python_version())
    command = [str(python), "-c", "import tiny_thing; print(tiny_thing.one)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"
    lock.write_text(f"tiny-thing==1.2 \\\n    --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ConfigError, match=r"(?i)hash"):
        environment.build(tree, tmp_path / "other", platform.python_version())


def test_without_a_repository_nothing_can_be_installed(tmp_path: Path) -> None:
    """The message says what to do."""
    with pytest.raises(ConfigError, match="Clone it"):
        environment.build(SourceTree(tmp_path, tmp_path), tmp_path / "built", "3.11.0")
