"""What pictures look like: the same to one process and to several; a reason where unreadable."""

import io
import subprocess
import sys
import textwrap
import threading
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import ProcessError
from mien.images.statistics import ImageStats
from mien.model import worker_process
from mien.reporting import console
from mien.stages.check import image_stats
from mien.stages.check.image_stats import compute_image_stats


def _noise(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Blots of colour, unlike those of any other seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def _many(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number:04}.png" for number in range(count)]
    for number, path in enumerate(paths):
        _noise(number, (8, 8)).save(path)
    return paths


def _equal(one: ImageStats, two: ImageStats) -> bool:
    return all(
        np.array_equal(getattr(one, each.name), getattr(two, each.name))
        for each in fields(ImageStats)
    )


def test_a_picture_is_measured_upright_and_in_its_own_size(tmp_path: Path) -> None:
    """Size is that of the upright file, colour and brightness those of what it shows."""
    turned = Image.new("RGB", (60, 20), (200, 100, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    seen = compute_image_stats([tmp_path / "turned.jpg"])
    assert seen.size.tolist() == [[20, 60]]
    assert seen.mean_rgb[0] == pytest.approx([200, 100, 0], abs=3)
    assert seen.brightness[0] == pytest.approx(0.464, abs=0.01)
    assert seen.thumbnail.shape == (1, 16, 16)
    assert seen.thumbnail[0] == pytest.approx(118, abs=2)


def test_a_large_picture_may_be_read_smaller(tmp_path: Path) -> None:
    """`min_side` changes neither the reported size nor, by much, the hash."""
    _noise(1, (800, 600)).save(tmp_path / "large.jpg", quality=90)
    whole, reduced = (
        compute_image_stats([tmp_path / "large.jpg"]),
        compute_image_stats([tmp_path / "large.jpg"], min_side=100),
    )
    assert reduced.size.tolist() == whole.size.tolist() == [[800, 600]]
    assert np.bitwise_count(whole.phash ^ reduced.phash)[0] <= 4
    assert np.abs(whole.thumbnail.astype(int) - reduced.thumbnail).max() <= 4


def test_what_cannot_be_read_is_told_and_stops_nothing(tmp_path: Path) -> None:
    """Broken, foreign and missing files are rows of zeros with a reason; the others are seen."""
    fine, cut, text = (tmp_path / name for name in ("fine.jpg", "cut.jpg", "text.jpg"))
    _noise(1).save(fine)
    stream = io.BytesIO()
    _noise(2, (200, 200)).save(stream, "JPEG")
    cut.write_bytes(stream.getvalue()[:2000])
    text.write_text("no picture")
    seen = compute_image_stats([cut, fine, text, tmp_path / "missing.jpg", tmp_path])
    assert seen.readable.tolist() == [False, True, False, False, False]
    assert seen.errors[1] == ""
    assert "cut off" in seen.errors[0]
    assert "JPEG, PNG, WEBP" in seen.errors[2]
    assert "No such file" in seen.errors[3]
    assert seen.errors[4]
    assert seen.size.tolist() == [[0, 0], [40, 30], [0, 0], [0, 0], [0, 0]]


def test_no_pictures_are_no_rows() -> None:
    """An empty list has an empty answer of the right shapes."""
    seen = compute_image_stats([])
    assert len(seen) == 0
    assert seen.thumbnail.shape == (0, 16, 16)
    assert seen.mean_rgb.shape == (0, 3)


def test_the_order_and_the_bits_do_not_hang_on_who_looked(tmp_path: Path) -> None:
    """Several processes give what one gives, picture by picture, while other threads live."""
    paths = _many(tmp_path, 2 * image_stats.CHUNK_SIZE + 20)
    paths[5].write_bytes(b"\x89PNG\r\n\x1a\n broken")
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        several = compute_image_stats(paths, workers=2)
    finally:
        done.set()
        thread.join()
    assert _equal(compute_image_stats(paths, workers=1), several)
    assert several.readable.sum() == len(paths) - 1


def test_few_pictures_start_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below what processes are worth, none is started. The clock stands still: on a machine that
    stops for seconds, they would be worth it."""
    monkeypatch.setattr(console, "perf_counter", lambda: 0.0)
    monkeypatch.setattr(worker_process, "_START", "raise SystemExit(1)")
    assert compute_image_stats(
        _many(tmp_path, image_stats.TIMED_IMAGES + 2 * image_stats.CHUNK_SIZE)
    ).readable.all()


def test_a_process_that_ends_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process ends in a sentence, not in an answer with holes and not in waiting."""
    monkeypatch.setattr(worker_process, "_START", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ProcessError, match=r"exit code -9.*memory"):
        compute_image_stats(_many(tmp_path, 2 * image_stats.CHUNK_SIZE), workers=2)


def test_a_script_without_a_main_guard_may_look(tmp_path: Path) -> None:
    """The processes run nothing of the program that started them."""
    paths = _many(tmp_path, 2 * image_stats.CHUNK_SIZE)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path[:] = {sys.path!r}
        from pathlib import Path
        from mien.stages.check.image_stats import compute_image_stats
        paths = sorted(Path({str(tmp_path)!r}).glob("*.png"))
        print(compute_image_stats(paths, workers=2).readable.sum())
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{len(paths)}\n"


def test_a_process_that_measures_imports_little() -> None:
    """Neither the stages nor what they import: that would take longer than many images."""
    program = (
        "import sys; from mien.model import worker_process; from mien.images import statistics; "
        "print(*{'mien.stages', 'mien.task', 'pydantic', 'yaml'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_every_column_has_a_row_for_each_image() -> None:
    """Statistics with missing rows are refused."""
    stats = compute_image_stats([])
    with pytest.raises(ValueError, match="one row per image"):
        replace(stats, errors=("",))
