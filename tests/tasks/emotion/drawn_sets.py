"""Makers of small drawn data sets, in the layouts and habits of public ones.

Each image is named after what it shows, so that a class that was read wrong is seen.
"""

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.tasks.emotion.params import LABELS, NAMED_ORDERS

IDS = NAMED_ORDERS["affectnet_ids"]
"""AffectNet's own order, in which every number means another class than in the task's."""
BOX = (0.5, 0.45, 0.4, 0.6)
PUBLIC = ("train", "valid", "test")
_BEGIN = {"train": 0, "valid": 1, "val": 1, "validation": 1, "test": 2}

Maker = Callable[[Path], Path | None]
Line = Callable[[int], str]


def line(number: int, box: Sequence[float] = BOX, separator: str = " ") -> str:
    return separator.join([str(number), *(f"{value:.6f}" for value in box)]) + "\n"


def polygon(number: int) -> str:
    cx, cy, w, h = BOX
    corners = (
        (cx - w / 2, cy),
        (cx, cy - h / 2),
        (cx + w / 2, cy),
        (cx + 0.1, cy + h / 2),
        (cx - 0.1, cy + h / 2),
    )
    return line(number, [value for corner in corners for value in corner])


def oriented(number: int) -> str:
    cx, cy, w, h = BOX
    corners = ((cx - w / 2, cy), (cx, cy - h / 2), (cx + w / 2, cy), (cx, cy + h / 2))
    return line(number, [value for corner in corners for value in corner])


def draw(
    folder: Path,
    image: str = "{split}/images/{name}",
    label: str = "{split}/labels/{stem}.txt",
    splits: Sequence[str] = PUBLIC,
    order: Sequence[str] = LABELS,
    to_line: Line = line,
    suffix: str = ".png",
    image_format: str = "",
    encoding: str = "utf-8",
    each: int = 1,
    offset: int = 0,
) -> None:
    """Write `each` images of every class into every split, by patterns of their paths."""
    for split in splits:
        for index in range(each):
            for number, name in enumerate(order):
                stem = f"{name}_{split}_{index + offset}"
                paths = {"split": split, "stem": stem, "name": stem + suffix}
                image_path, label_path = (
                    folder / image.format(**paths),
                    folder / label.format(**paths),
                )
                for path in (image_path, label_path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                rng = np.random.default_rng([_BEGIN.get(split.lower(), 3), number, index, offset])
                pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(image_path, image_format or None)
                label_path.write_bytes(to_line(number).encode(encoding))


def names(
    folder: Path, head: str = "", order: Sequence[str] = LABELS, file: str = "data.yaml"
) -> None:
    listed = json.dumps(list(order))
    (folder / file).write_text(f"{head}nc: {len(order)}\nnames: {listed}\n", encoding="utf-8")


def usual(head: str = "", file: str = "data.yaml", **changes: Any) -> Maker:
    """train/images, train/labels and so on, with a YAML file that names the classes."""

    def make(folder: Path) -> None:
        draw(folder, **{"order": IDS, **changes})
        names(folder, head, changes.get("order", IDS), file)

    return make


def named_by(file: str, text: str, encoding: str = "utf-8") -> Maker:
    """The usual folders, with another file that names the classes."""

    def make(folder: Path) -> None:
        draw(folder, order=IDS)
        (folder / file).write_text(text, encoding=encoding)

    return make


def lines(to_line: Line, **changes: Any) -> Maker:
    """The usual set with label lines of another form."""
    return usual(to_line=to_line, **changes)


def images(suffix: str, image_format: str = "") -> Maker:
    return usual(suffix=suffix, image_format=image_format)


def one_deep(folder: Path) -> None:
    usual()(folder / "faces" / "v2")


def names_above(folder: Path) -> None:
    draw(folder / "faces", order=IDS)
    names(folder, "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n", IDS)


def list_of_folders(folder: Path) -> None:
    draw(folder, order=IDS)
    draw(folder, order=IDS, splits=["train_extra"], offset=5)
    draw(folder, order=IDS, splits=["old"], offset=6)
    head = "train: [train/images, train_extra/images]\nval: valid/images\ntest: test/images\n"
    names(folder, head, IDS)


def image_lists(folder: Path) -> None:
    draw(folder, "images/{name}", "labels/{stem}.txt", order=IDS)
    names(folder, order=IDS)
    for split in PUBLIC:
        paths = sorted((folder / "images").glob(f"*_{split}_*"))
        text = "".join(f"/home/anna/faces/images/{path.name}\n" for path in paths)
        (folder / f"{split}.txt").write_text(text)


def cvat(folder: Path) -> None:
    for split in ("train", "valid"):
        draw(folder, f"obj_{split}_data/{{name}}", f"obj_{split}_data/{{stem}}.txt", [split], IDS,
             each=3)  # fmt: skip
        paths = sorted((folder / f"obj_{split}_data").glob("*.png"))
        text = "".join(f"data/obj_{split}_data/{path.name}\n" for path in paths)
        (folder / f"{split}.txt").write_text(text)
    (folder / "obj.names").write_text("\n".join(IDS))
    (folder / "obj.data").write_text(
        "classes = 8\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n"
        "backup = backup/\n"
    )


def cvat_in_folders(folder: Path) -> None:
    draw(folder, "obj_train_data/data/{name}", "obj_train_data/data/{stem}.txt", ["train"], IDS,
         each=3)  # fmt: skip
    paths = sorted((folder / "obj_train_data" / "data").glob("*.png"))
    text = "".join(f"data/obj_train_data/data/{path.name}\n" for path in paths)
    (folder / "train.txt").write_text(text)
    (folder / "obj.names").write_text("\n".join(IDS))
    (folder / "obj.data").write_text("train = data/train.txt\nnames = data/obj.names\n")


def cvat_ultralytics(folder: Path) -> None:
    draw(folder, "images/{split}/{name}", "labels/{split}/{stem}.txt", ["train"], IDS, each=4)
    paths = sorted((folder / "images" / "train").glob("*"))
    text = "".join(f"data/images/train/{path.name}\n" for path in paths)
    (folder / "train.txt").write_text(text)
    listed = "".join(f"  {number}: {name}\n" for number, name in enumerate(IDS))
    (folder / "data.yaml").write_text(f"names:\n{listed}path: .\ntrain: train.txt\n")


def label_studio(folder: Path) -> None:
    draw(folder, "images/{name}", "labels/{stem}.txt", ["train"], IDS, each=4)
    (folder / "classes.txt").write_text("\n".join(IDS))
    (folder / "notes.json").write_text(notes())


def notes() -> str:
    categories = [{"id": number, "name": name} for number, name in enumerate(IDS)]
    return json.dumps({"categories": categories, "info": {"year": 2026}})


def roboflow(folder: Path) -> None:
    name = "{stem}_png.rf.0a1b2c"
    draw(folder, f"{{split}}/images/{name}.jpg", f"{{split}}/labels/{name}.txt", order=IDS)
    names(folder, "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n", IDS)
    for file in ("README.roboflow.txt", "README.dataset.txt"):
        (folder / file).write_text("faces - v1\n")


def roboflow_darknet(folder: Path) -> None:
    draw(folder, "{split}/{name}", "{split}/{stem}.txt", order=IDS)
    for split in PUBLIC:
        (folder / split / "_darknet.labels").write_text("\n".join(IDS))


def label_img(folder: Path) -> None:
    draw(folder, "{name}", "{stem}.txt", ["train"], IDS, each=4)
    (folder / "classes.txt").write_text("\n".join(IDS) + "\n")


def other_val(folder: Path) -> None:
    draw(folder, order=IDS)
    draw(folder, splits=["val"], order=IDS, each=2)
    names(folder, "train: train/images\nval: val/images\ntest: test/images\n", IDS)


def upper_case(folder: Path) -> None:
    splits = ["Train", "VALIDATION", "Testing"]
    draw(folder, "{split}/Images/{name}", "{split}/LABELS/{stem}.TXT", splits, IDS)
    names(folder, order=IDS)


def both_vals(folder: Path) -> None:
    draw(folder, splits=[*PUBLIC, "val"], order=IDS)
    names(folder, order=IDS)


def of_persons(folder: Path) -> None:
    for person in ("anna", "bela"):
        image, label = f"images/{person}/{{name}}", f"labels/{person}/{{stem}}.txt"
        draw(folder, f"{{split}}/{image}", f"{{split}}/{label}", order=IDS)
    names(folder, order=IDS)


def flat_labels(folder: Path) -> None:
    draw(folder, "{split}/images/series/{name}", order=IDS)
    names(folder, order=IDS)


def other_folder_names(folder: Path) -> None:
    draw(folder, "{split}/imgs/{name}", "{split}/annotations/{stem}.txt", order=IDS)
    names(folder, order=IDS)


def zipped(folder: Path) -> Path:
    usual()(folder / "set")
    path = folder / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((folder / "set").rglob("*")):
            archive.write(file, f"test/{file.relative_to(folder)}")
            if file.is_file():
                archive.writestr(f"__MACOSX/test/set/._{file.name}", b"\0")
    return path


def composed_accents(folder: Path) -> None:
    draw(
        folder,
        "{split}/images/e\u0301mile/{name}",
        "{split}/labels/\u00e9mile/{stem}.txt",
        order=IDS,
    )
    names(folder, order=IDS)


def yaml_elsewhere(folder: Path) -> Path:
    draw(folder / "datasets" / "faces", order=IDS)
    (folder / "datasets" / "faces" / "data.yaml").write_text("names: [dog]\n")
    (folder / "project" / "venv").mkdir(parents=True)
    (folder / "project" / "venv" / "picture.png").write_bytes(b"not of the set")
    head = "path: ../datasets/faces\ntrain: train/images\nval: valid/images\ntest: test/images\n"
    names(folder / "project", head, IDS, "emotions.yaml")
    return folder / "project" / "emotions.yaml"


def yaml_beside(folder: Path) -> Path:
    usual("train: train/images\nval: valid/images\ntest: test/images\n")(folder)
    (folder / "venv").mkdir()
    (folder / "venv" / "logo.png").write_bytes(b"not of the set")
    return folder / "data.yaml"


def hidden_folders(folder: Path) -> None:
    usual()(folder)
    for name in (".ipynb_checkpoints", "@eaDir"):
        shutil.copytree(folder / "train" / "images", folder / "train" / "images" / name)


def seven(folder: Path) -> None:
    written = ("Angry", "Disgusted", "Fearful", "happiness", "Sadness", "Surprised", "Neutral")
    order = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    draw(folder, order=order)
    names(folder, order=written)


def extra_name(folder: Path) -> None:
    draw(folder, order=IDS)
    names(folder, order=(*IDS, "ahegao"))


def ignored_class(folder: Path) -> None:
    draw(folder, order=IDS)
    draw(folder, splits=["train"], order=["happy"], to_line=lambda _: line(8), offset=7)
    names(folder, order=(*IDS, "ahegao"))


def numbers_as_names(folder: Path) -> None:
    draw(folder, order=IDS)
    names(folder, order=[str(number) for number in range(8)])


def disagreeing_lists(folder: Path) -> None:
    draw(folder, order=IDS)
    (folder / "classes.txt").write_text("\n".join(IDS))
    (folder / "obj.names").write_text("\n".join(LABELS))


def disagreeing_yaml(folder: Path) -> None:
    usual()(folder)
    names(folder, order=LABELS, file="affectnet.yaml")


def yaml_and_list(folder: Path) -> None:
    usual()(folder)
    (folder / "classes.txt").write_text("\n".join(LABELS))


def two_sets(folder: Path) -> None:
    for name in ("faces", "more"):
        usual()(folder / name)


def no_names(folder: Path) -> None:
    draw(folder, order=IDS)


def no_names_in_order(order: Sequence[str]) -> Maker:
    return lambda folder: draw(folder, order=order)


def class_folders(folder: Path) -> None:
    draw(folder, "train/{stem}/x.png", "gone/{stem}.txt", ["train"])
    for path in (folder / "train").iterdir():
        path.rename(path.with_name(path.name.partition("_")[0]))
    shutil.rmtree(folder / "gone")


def without_labels(file: str, text: str) -> Maker:
    def make(folder: Path) -> None:
        draw(folder, label="gone/{stem}.txt", order=IDS)
        shutil.rmtree(folder / "gone")
        (folder / "train" / file).write_text(text)

    return make


def only_valid(folder: Path) -> None:
    usual(splits=["valid", "test"])(folder)


def counted_types(folder: Path) -> None:
    usual()(folder)
    for split in PUBLIC:
        for number, suffix in enumerate((".heic", ".svg", ".cr2")):
            (folder / split / "images" / f"{IDS[number]}_more{suffix}").write_bytes(b"not decoded")
            (folder / split / "labels" / f"{IDS[number]}_more.txt").write_text(line(number))


def mixed_content(folder: Path) -> None:
    usual()(folder)
    for path in (folder / "train" / "images").glob("happy*"):
        Image.open(path).convert("RGB").save(path, "BMP")


def outside(folder: Path) -> None:
    usual("train: train/images\nval: valid/images\ntest: test/images\n")(folder)
    draw(folder, splits=["more"], order=IDS)


def yaml_path(head: str) -> Maker:
    """Images first, with splits that the YAML file names in some way."""

    def make(folder: Path) -> None:
        draw(folder, "images/{split}/{name}", "labels/{split}/{stem}.txt", order=IDS)
        names(folder, head, IDS)

    return make
