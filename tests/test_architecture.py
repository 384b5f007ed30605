"""Promises about the code as a whole: its form, its types, and who imports what."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from project import ROOT

SOURCE = ROOT / "src" / "mien"

# Library, or a part of it that is a library of its own -> the one place that may import it, as a
# path below src/mien.
PLACES = {
    "fastapi": "stages/serve",
    "starlette": "stages/serve",
    "uvicorn": ("stages/serve", "tracking/page.py"),
    "prometheus_client": "stages/serve",
    "typer": "cli",
    "cryptography": "observability/review/encryption.py",
    "optuna": "sweep",
    "kagglehub": "stages/data/sources.py",
    "rich": "reporting/console.py",
    "onnxruntime": (
        "model/runtime.py",
        "tasks/gesture/standalone.py",  # a program for machines without mien
    ),
    "onnxruntime.quantization": "model/variants.py",
    "onnxruntime.transformers": "model/variants.py",
    "mlflow": "tracking",
    "matplotlib": "reporting/figures.py",
    "jinja2": "reporting/html.py",
    "pyarrow": "stages/batch/tables.py",
    "obstore": "storage/buckets.py",
    "ray": "stages/batch/on_ray.py",
    "pycocotools": "reporting/scores.py",
    "libreyolo": "tasks/emotion/networks.py",
    "torch": "tasks/emotion",
    "sklearn": (
        "tasks/gesture/train.py",
        "tasks/gesture/rejection_training.py",
        "tasks/emotion/expression/linear.py",
        "stages/suspects/label_quality.py",
    ),
    "lightgbm": "tasks/gesture/train.py",
    "skl2onnx": "tasks/gesture/export.py",
    "onnxmltools": "tasks/gesture/export.py",
}


def tool(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("ruff", "check", "."), id="lint"),
        pytest.param(("ruff", "format", "--check", "."), id="format"),
        pytest.param(("mypy",), id="types", marks=pytest.mark.long),  # half a minute
    ],
)
def test_code_passes_its_checkers(command: tuple[str, ...]) -> None:
    """Style, form and strict types hold for the whole project."""
    done = tool(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_go_down_only() -> None:
    """Layers, stages and tasks import as pyproject.toml says, without any exception."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def imports() -> frozenset[tuple[str, str]]:
    return frozenset(_imports())


def _imports() -> Iterator[tuple[str, str]]:
    """Every imported library, as `PLACES` names it or by its top level, and the file that does."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                parts = name.split(".")
                above = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
                library = next((each for each in above if each in PLACES), parts[0])
                yield library, path.relative_to(SOURCE).as_posix()


def test_heavy_libraries_are_imported_in_one_place_each(
    imports: frozenset[tuple[str, str]],
) -> None:
    """Replacing a library means to change one file, or one folder."""
    astray = [
        f"{file} imports {name}"
        for name, file in imports
        if name in PLACES and not file.startswith(PLACES[name])
    ]
    assert astray == []
    listed = {name: each if isinstance(each, tuple) else (each,) for name, each in PLACES.items()}
    there = {
        name for name, places in listed.items() if any((SOURCE / each).exists() for each in places)
    }
    assert {name for name, _ in imports} >= there, "a place is listed that has no importer"


def test_mediapipe_is_the_reference_of_tests_alone(imports: frozenset[tuple[str, str]]) -> None:
    """The product finds hands without it."""
    assert [file for name, file in imports if name in ("mediapipe", "cv2")] == []


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    """`mien --help` must not wait for torch, MLflow or ONNX Runtime."""
    heavy = sorted(set(PLACES) - {"typer", "rich"})
    code = (
        "import sys, mien.cli; from mien import tasks; [tasks.load(n) for n in tasks.names()]; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_readable() -> None:
    """No source file is longer than 400 lines."""
    long = [
        f"{path.relative_to(ROOT)} has {count} lines"
        for path in sorted(SOURCE.rglob("*.py"))
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 400
    ]
    assert long == []


LOCKS = (
    "requirements.txt",
    "requirements_classical.txt",
    "requirements_train.txt",
    "requirements_dev.txt",
    "requirements_registry.txt",
)


def pins(name: str) -> set[str]:
    """Packages with versions and markers that a lock file names."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line.rstrip(" \\") for line in lines if line[:1].isalnum()}


def test_a_smaller_installation_is_part_of_the_larger_one() -> None:
    """The same versions for every training: a model of the one is a model of the other."""
    for smaller, larger in pairwise(LOCKS[1:3]):
        assert pins(smaller) <= pins(larger), (smaller, larger)


def test_a_registry_is_the_one_that_is_tested() -> None:
    """The image of MLflow's server has the versions that the tests start."""
    registry, tests = (
        {pin.partition(" ;")[0] for pin in pins(f"requirements_{name}.txt")}
        for name in ("registry", "dev")
    )
    assert registry <= tests


def test_gestures_are_trained_without_torch() -> None:
    """What `python3 tasks.py try` installs holds neither torch nor the large packages of MLflow."""
    names = {pin.partition("==")[0] for pin in pins("requirements_classical.txt")}
    assert names >= {"scikit-learn", "lightgbm", "mlflow-skinny", "onnxruntime"}
    assert not names & {"torch", "libreyolo", "mlflow", "pyarrow", "opencv-python"}


def test_lock_files_carry_hashes_and_no_addresses() -> None:
    """Every installation gets the same bytes, from any index."""
    for name in LOCKS:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if line and line[0].isalnum()]
        assert pins, name
        assert all("==" in pin and pin.endswith("\\") for pin in pins), name
        assert not [line for line in lines if "://" in line or "index-url" in line], name


def test_known_holes_are_closed_in_the_lock_file() -> None:
    """Versions below these have published vulnerabilities."""
    least = {
        "starlette": (1, 3, 1),
        "python-multipart": (0, 0, 32),
        "pillow": (12, 3),
        "onnx": (1, 21),
        "mlflow": (3, 17, 2),
        "h11": (0, 16),
        "protobuf": (6, 33, 5),
    }
    text = (ROOT / "requirements_dev.txt").read_text(encoding="utf-8")
    pins = dict(line.split(" ")[0].split("==") for line in text.splitlines() if "==" in line)
    for name, version in least.items():
        assert tuple(int(part) for part in pins[name].split(".")) >= version, name


def test_the_serving_lock_holds_no_training_library() -> None:
    """`mien[serve]` stays slim."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pins = {line.partition("==")[0] for line in text.splitlines()}
    assert not pins & {
        "torch",
        "libreyolo",
        "scikit-learn",
        "lightgbm",
        "mlflow",
        "onnx",
        "skl2onnx",
        "mediapipe",
        "opencv-contrib-python",
        "opencv-python",
        "matplotlib",
    }
