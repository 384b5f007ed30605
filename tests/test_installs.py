"""What the docs say about installations: each resolves, and uvx and pipx run a built wheel."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pages
import pytest
from project import ROOT
from waiting import TRAINING_PATIENCE

pytestmark = pytest.mark.long
UV = str(Path(sys.executable).with_name("uv"))
WHEEL = "mien-0.1.0-py3-none-any.whl"
INSTALL = re.compile(
    r"^(?:pip|uv pip|uv tool) install .*|^uv pip compile (?:.*\\\n)*.*", re.MULTILINE
)
INDEX = "https://download.pytorch.org/whl/cpu"
PLATFORMS = {
    "x86_64-unknown-linux-gnu": True,
    "aarch64-unknown-linux-gnu": True,
    "aarch64-apple-darwin": True,
    "x86_64-pc-windows-msvc": True,
    "x86_64-apple-darwin": False,
}
"""Whether the page says that mien runs there."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mien's wheel, and a small environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("build", "--wheel", "--no-build-isolation", "--python", sys.executable)
    run(UV, *build, "--out-dir", str(folder), str(ROOT), folder=folder)
    run(UV, "venv", "--seed", "--python", sys.executable, str(folder / ".venv"), folder=folder)
    assert (folder / WHEEL).is_file()
    return folder


def run(*command: str, folder: Path, status: int = 0, **more: str) -> str:
    """What a command prints in a folder, without the project's own environment."""
    outer = {
        k: v for k, v in os.environ.items() if not k.startswith(("MIEN_", "PYTHON", "VIRTUAL"))
    }
    done = subprocess.run(
        command, cwd=folder, env={**outer, "COLUMNS": "80", **more}, capture_output=True, text=True,
        timeout=TRAINING_PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_installation_of_the_docs_resolves(folder: Path) -> None:
    """Of each line that installs, to the last package, without installing it; torch's own index is
    not asked here. `pip install` of a page goes to uv, which has the same arguments."""
    lines = [
        line
        for page in pages.pages()
        for block in pages.blocks(page, "bash")
        for line in INSTALL.findall(block.text)
    ]
    assert len(lines) >= 7
    run(UV, "pip", "install", "--no-deps", WHEEL, folder=folder)
    for line in lines:
        words = shlex.split(line.replace("\\\n", " "), comments=True)
        if "--torch-backend" in words or INDEX in words:
            continue
        if words[:3] == ["uv", "pip", "compile"]:
            assert "nvidia-cublas" in run(UV, *words[1:], folder=ROOT), line
            continue
        packages = words[words.index("install") + 1 :]
        out = run(UV, "pip", "install", "--dry-run", *packages, folder=folder)
        assert re.search(r"Would install \d+ packages", out), line


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_platforms_of_the_page_are_those_of_the_packages(platform: str, folder: Path) -> None:
    """By wheels alone; torch is the build with CUDA on Linux only."""
    extra = "train" if PLATFORMS[platform] else "serve"
    (folder / f"{platform}.in").write_text(f"mien[{extra}] @ {(folder / WHEEL).as_uri()}\n")
    where = ("--python-platform", platform, "--only-binary", ":all:", "--python-version", "3.13")
    command = (UV, "pip", "compile", f"{platform}.in", *where, "--no-annotate")
    status = 0 if PLATFORMS[platform] else 1
    out = run(*command, folder=folder, status=status, MACOSX_DEPLOYMENT_TARGET="14.0")
    assert ("torch==" in out, "nvidia-" in out) == (bool(PLATFORMS[platform]), "linux" in platform)
    assert PLATFORMS[platform] or "onnxruntime>=" in out


def test_the_index_of_builds_for_cpu_is_that_of_uv(folder: Path) -> None:
    """The address and the versions on the page; uv names the address also where none is reached."""
    page = pages.text("own_project.md")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = [each for each in project["optional-dependencies"]["train"] if "torch" in each]
    assert f"pip install {' '.join(pinned)} --index-url {INDEX}\n" in page
    (option,) = re.findall(r"^uv pip install (--torch-backend cpu) '", page, re.MULTILINE)
    command = [UV, "pip", "install", "--dry-run", "--verbose", *option.split(), pinned[0]]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "UV_HTTP_RETRIES": "0", "VIRTUAL_ENV": ""},
        capture_output=True, text=True, check=False, timeout=TRAINING_PATIENCE,
    )  # fmt: skip
    assert f"{INDEX}/torch/" in done.stderr


def test_uvx_and_pipx_run_the_wheel(folder: Path, tmp_path: Path) -> None:
    """As the page has it, each in an environment that it makes; what serves, works in it."""
    (script,) = (
        each.text for each in pages.blocks("own_project.md", "bash") if each.first.startswith("uvx")
    )
    uvx, pipx, tool = (shlex.split(line, comments=True) for line in script.splitlines())
    assert WHEEL in f"{uvx} {pipx} {tool}"
    mine = {"UV_TOOL_DIR": f"{tmp_path}/tools", "UV_TOOL_BIN_DIR": f"{tmp_path}/bin"}
    mine |= {"PIPX_HOME": f"{tmp_path}/pipx", "MIEN_HOME": str(tmp_path)}
    assert "Usage: mien" in run(UV, "tool", "run", *uvx[1:], folder=folder, **mine)
    asked = run(UV, "tool", "run", *uvx[1:-1], "doctor", folder=folder, **mine)
    assert re.search(r"^write_access +ok", asked, re.MULTILINE)
    assert "Usage: mien" in run(UV, "tool", "run", *pipx, folder=folder, **mine)
    run(UV, *tool[1:], folder=folder, **mine)
    made = str(tmp_path / "bin" / "mien")
    assert run(made, "--version", folder=tmp_path, **mine) == "0.1.0\n"
