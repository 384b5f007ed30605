"""Images are read for training and evaluation as they are for serving."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.tasks.emotion import TASK
from mien.tasks.emotion.data import examples
from mien.tasks.emotion.letterbox import letterbox
from mien.tasks.emotion.params import LABELS
from mien.tasks.emotion.sample import draw_face_image


def write_split(folder: Path) -> bytes:
    """Write a prepared split of one large photo with an EXIF rotation; return the file."""
    for name in ("images", "labels"):
        (folder / "val" / name).mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = folder / "val" / "images" / "face.jpg"
    face = draw_face_image("happy").convert("RGB")
    face.resize((1801, 1501), Image.Resampling.BICUBIC).save(path, exif=exif)
    label = LABELS.index("happy")
    (folder / "val" / "labels" / "face.txt").write_text(f"{label} 0.5 0.5 0.4 0.6\n")
    return path.read_bytes()


def test_evaluation_sees_a_large_photo_as_the_service_does(tmp_path: Path) -> None:
    """The same pixels, at reduced size; labelled boxes are in pixels of the original photo."""
    request = TASK.inference.read(write_split(tmp_path))
    (example,) = examples(tmp_path, "val")
    assert example.request.image is not None
    assert request.image is not None
    assert (example.request.image == request.image).all()
    assert request.image.shape == (901, 751, 3)
    assert example.request.size == request.size == (1501, 1801)
    assert example.boxes is not None
    assert np.allclose(example.boxes[0][1], (450.3, 360.2, 1050.7, 1440.8))


@pytest.mark.long
def test_training_sees_a_large_photo_as_the_service_does(tmp_path: Path) -> None:
    """The network is trained on what `predict` gives to it, box included."""
    from mien.tasks.emotion.split_tensors import load_split

    request = TASK.inference.read(write_split(tmp_path))
    (tmp_path / "data.yaml").write_text("val: val/images\n")
    split = load_split(tmp_path / "data.yaml", "val", 96, 114, len(LABELS))
    assert request.image is not None
    canvas, placement = letterbox(request.image, 96, 114, request.size)
    assert (split.pixels[0].numpy() == canvas.transpose(2, 0, 1)).all()
    box = placement.to_canvas(np.array([[450.3, 360.2, 1050.7, 1440.8]], np.float32))
    assert np.allclose(split.boxes[0, :, 1:].numpy(), box, atol=1e-3)


def test_examples_say_where_their_picture_is_from(tmp_path: Path) -> None:
    """By the word in the name of the file, unless it names the label."""
    for name in ("images", "labels"):
        (tmp_path / "val" / name).mkdir(parents=True)
    for stem in ("ffhq_12", "image0007", "happy_3", "20190102"):
        draw_face_image("happy").save(tmp_path / "val" / "images" / f"{stem}.png")
        (tmp_path / "val" / "labels" / f"{stem}.txt").write_text("0 0.5 0.5 0.4 0.6\n")
    found = {each.name: each.metadata for each in examples(tmp_path, "val")}
    assert found == {
        "val/20190102.png": {},
        "val/ffhq_12.png": {"source": "ffhq"},
        "val/happy_3.png": {},
        "val/image0007.png": {"source": "image"},
    }
