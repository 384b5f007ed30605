"""The answer for a photo does not depend on the colour profile in which it was saved."""

import io
import operator
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image, ImageCms
from project import ROOT

from mien import images, tasks
from mien.model import runtime
from mien.model.runtime import Model

sys.path.insert(0, str(ROOT))

from bench.colours import profile

PHOTOS = 60
PROFILES = ("P3", "Adobe", "ProPhoto")
SRGB = ImageCms.createProfile("sRGB")


@pytest.fixture(scope="module")
def photos(real_data: Path) -> list[Image.Image]:
    """Faces in press photos, from all over the set."""
    with ZipFile(real_data / "emotion" / "muxspace_yolo.zip") as stored:
        names = sorted(name for name in stored.namelist() if name.endswith((".jpg", ".png")))
        chosen = names[:: len(names) // PHOTOS][:PHOTOS]
        return [Image.open(io.BytesIO(stored.read(name))).convert("RGB") for name in chosen]


@pytest.fixture(scope="module")
def model(drawn_detector: Path) -> Iterator[Model]:
    """Its weights are random: nothing taught it that colours do not matter."""
    with runtime.load(drawn_detector) as opened:
        yield opened


def saved(photo: Image.Image, name: str = "", label: bool = True) -> bytes:
    """A JPEG in the colours of a profile, with the profile or without."""
    block = profile(name) if name else b""
    if name:
        own = ImageCms.ImageCmsProfile(io.BytesIO(block))
        converted = ImageCms.profileToProfile(photo, SRGB, own)
        assert converted is not None
        photo = converted
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=90, icc_profile=block if label else b"")
    return stream.getvalue()


def lossless(photo: Image.Image) -> bytes:
    stream = io.BytesIO()
    photo.save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def labels(files: Iterable[bytes], model: Model) -> list[str | None]:
    emotion = tasks.load("emotion").inference
    found = (emotion.predict(emotion.read(data), model).best for data in files)
    return [best.label if best else None for best in found]


def test_photos_keep_their_label_in_every_profile(photos: list[Image.Image], model: Model) -> None:
    """Display P3 (every iPhone), Adobe RGB and ProPhoto as often as a copy without any."""
    assert len(photos) == PHOTOS
    before = labels(map(lossless, photos), model)
    assert len(set(before)) > 3
    kept = {
        name: sum(map(operator.eq, before, labels((saved(each, name) for each in photos), model)))
        for name in ("", *PROFILES)
    }
    assert min(kept.values()) >= kept[""] - 1, kept


@pytest.mark.parametrize("name", PROFILES)
def test_photos_keep_their_colours_in_every_profile(photos: list[Image.Image], name: str) -> None:
    """As well as in a copy without any; with the profile left out they do not."""

    def distance(**how: Any) -> float:
        pairs = ((images.decode(saved(each, **how)), np.asarray(each)) for each in photos[::6])
        return float(np.mean([np.abs(one.astype(int) - other).mean() for one, other in pairs]))

    assert distance(name=name) < distance() + 1
    assert distance(name=name, label=False) > 2 * distance(name=name)
