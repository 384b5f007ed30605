"""The public functions `mien.load` and `mien.run`: what a notebook or a program imports."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from project import ROOT

import mien
from mien import tasks
from mien.errors import ConfigError, ImageError, RegistryError
from mien.storage.workspace import Workspace


def test_importing_mien_imports_nothing_else() -> None:
    """A program that only asks for the version pays for nothing."""
    script = "import sys; start = set(sys.modules); import mien; print(*set(sys.modules) - start)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    names = done.stdout.split()
    assert {each for each in names if each.split(".")[0] not in sys.stdlib_module_names} == {"mien"}


def test_every_form_of_a_picture_gets_the_same_answer(fitted_gesture: Path, tmp_path: Path) -> None:
    """A file by name or path, its bytes, a Pillow image and its pixels."""
    drawn = tasks.load("gesture").inference.sample_picture().convert("RGB")
    drawn.save(tmp_path / "hand.png")
    file = tmp_path / "hand.png"
    pictures = [str(file), file, file.read_bytes(), drawn, np.asarray(drawn)]
    with mien.load(fitted_gesture) as model:
        predictions = [model.predict(each) for each in pictures]
        assert model.predict_many(pictures) == predictions
        assert predictions[0].best is not None
        assert predictions[0].best.label in model.labels
    assert all(each == predictions[0] for each in predictions)


def test_a_photo_that_was_taken_sideways_is_turned_upright(fitted_gesture: Path) -> None:
    """Its EXIF entry counts, as in a file."""
    drawn = tasks.load("gesture").inference.sample_picture().convert("RGB")
    turned = drawn.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    with mien.load(fitted_gesture) as model:
        assert model.predict(turned) == model.predict(drawn)


def test_what_cannot_be_opened_says_why(fitted_gesture: Path, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="There is no champion"):
        mien.load("gesture", home=tmp_path)
    with mien.load(fitted_gesture) as model:
        for pixels in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)):
            with pytest.raises(ImageError, match="expected RGB pixels, uint8"):
                model.predict(pixels)  # type: ignore[arg-type]


@pytest.mark.long
def test_a_run_by_name_registers_a_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an empty folder, by the name of a config that comes with mien."""
    monkeypatch.chdir(tmp_path)
    quick = ["params.candidates=[logistic_regression]", "params.cv_folds=2"]
    report = mien.run("sample_gesture", overrides=quick, home=tmp_path / "home", force="a test")
    assert report.registered.number == 1
    assert Workspace(tmp_path / "home").aliases("gesture") == {"champion": 1}
    with pytest.raises(ConfigError, match="Did you mean 'gesture'"):
        mien.run("gestur")
    with pytest.raises(AttributeError, match="no attribute 'opened'"):
        _ = mien.opened


def test_the_example_of_the_docs_answers(
    small_gesture: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """As it stands on the page."""
    page = (ROOT / "docs" / "source" / "own_project.md").read_text(encoding="utf-8")
    monkeypatch.setenv("MIEN_HOME", str(small_gesture.home))
    monkeypatch.chdir(tmp_path)
    tasks.load("gesture").inference.sample_picture().convert("RGB").save("hand.jpg")
    exec(page.partition("```python\n")[2].partition("```")[0], {})
    assert re.fullmatch(r"ok like 0\.\d+\n", capsys.readouterr().out)
