"""The import corpus: a small data set for each public layout or habit, and what is read of it.

`test_import_corpus.py` reads them; the rows of docs/source/formats.md are made from them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mien.tasks.emotion.params import LABELS, NAMED_ORDERS

from . import drawn_sets as sets
from .drawn_sets import BOX, IDS, Maker, line


@dataclass(frozen=True)
class Case:
    """A data set, what is read of it, and the row of the docs."""

    layout: str
    reading: str
    """How it is read, or why it is refused."""
    make: Maker
    """Writes it into a folder; returns the source where that is not the folder."""
    counts: tuple[int, int, int] | None = (8, 8, 8)
    """Images in train, val and test; None for a set that is refused."""
    note: str = ""
    """Part of a sentence of the report, or of the message of a refusal."""
    params: Mapping[str, Any] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    box: tuple[float, float, float, float] = BOX
    """Of every face, as it is read."""


LAYOUTS = (
    Case("`train/images`, `train/labels`; `data.yaml` at the top (Kaggle's AffectNet)",
         "by the names of the folders", sets.usual()),
    Case("the same, one or two folders deep", "the folder is found", sets.one_deep),
    Case("the same, `data.yaml` one folder above", "the names are read from there",
         sets.names_above),
    Case("`images/train`, `labels/train`; `path: .` and splits in `data.yaml`",
         "as `data.yaml` says",
         sets.yaml_path("path: .\ntrain: images/train\nval: images/valid\ntest: images/test\n")),
    Case("`images/train`, `labels/train` and no splits in `data.yaml`",
         "by the names of the folders", sets.yaml_path("")),
    Case("`path: ../datasets/faces` or a path of another machine",
         "a path that is not here is matched by its end",
         sets.yaml_path("path: /content/drive/faces\ntrain: /content/drive/faces/images/train\n"
                        "val: C:\\data\\faces\\images\\valid\ntest: images/test\n")),
    Case("several folders for one split: `train: [train/images, train_extra/images]`",
         "all of them; images that are named nowhere are counted and not used",
         sets.list_of_folders, (16, 8, 8), "old/images"),
    Case("`train.txt`, `val.txt`, `test.txt` with a path of an image a line",
         "the images of the lists", sets.image_lists),
    Case("YOLO 1.1 export of CVAT: `obj.data`, `obj.names`, `obj_train_data/`, `train.txt`",
         "as `obj.data` says; a test split is drawn", sets.cvat, (16, 24, 8), "no test split"),
    Case("the same of a task with folders: `obj_train_data/data/x.jpg`", "likewise",
         sets.cvat_in_folders, (8, 8, 8), "no test split"),
    Case("Ultralytics export of CVAT: `data.yaml` with `train: train.txt`",
         "as `data.yaml` says; val and test are drawn", sets.cvat_ultralytics, (16, 8, 8),
         "no val split"),
    Case("YOLO export of Label Studio: `images/`, `labels/`, `classes.txt`, `notes.json`",
         "names of `classes.txt`; val and test are drawn", sets.label_studio, (16, 8, 8),
         "no test split"),
    Case("Roboflow's export for Ultralytics: `../train/images`, `README.roboflow.txt`",
         "a leading `../` that leads nowhere is dropped, as Ultralytics does", sets.roboflow),
    Case("Roboflow's export for Darknet: `_darknet.labels`, label files beside the images",
         "names of `_darknet.labels`", sets.roboflow_darknet),
    Case("labelImg: images, label files and `classes.txt` in one folder",
         "val and test are drawn", sets.label_img, (16, 8, 8), "no test split"),
    Case("no test split", "it is drawn from train: 15 % of each class, the same on every machine; "
         "images of one person, copies and Roboflow's versions of one photo stay together",
         sets.usual(splits=["train", "valid"], each=2), (8, 16, 8), "no test split"),
    Case("`data.yaml` names a test split that does not exist", "it is drawn, and said",
         sets.usual("train: ../train/images\nval: ../valid/images\ntest: ../test/images\n",
                    splits=["train", "valid"], each=2), (8, 16, 8), "where no image is"),
    Case("`data.yaml` names `val/`, and there is a folder `valid/`",
         "as `data.yaml` says; the other images are counted", sets.other_val, (8, 16, 8),
         "8 in valid/images"),
    Case("`Train`, `VALIDATION`, `Testing`; `Images`, `LABELS`, `.TXT`", "in any case",
         sets.upper_case),
    Case("`images_train`, `labels_train`", "by the names of the folders",
         sets.usual(image="images_{split}/{name}", label="labels_{split}/{stem}.txt")),
    Case("`images/train2017`, `images/val2017`", "a number after the name of a split is ignored",
         sets.usual(image="images/{split}/{name}", label="labels/{split}/{stem}.txt",
                    splits=["train2017", "val2017", "test2017"])),
    Case("`val/` and `valid/` and no splits in `data.yaml`", "both are val, and said",
         sets.both_vals, (8, 16, 8), "2 folders are val: val, valid"),
    Case("images in subfolders, with the same file name in several", "all of them",
         sets.of_persons, (16, 16, 16)),
    Case("images in subfolders, label files in `labels/` itself", "by the name of the file",
         sets.flat_labels),
    Case("other folder names: `imgs/`, `annotations/`",
         "the only label file of the same name and split", sets.other_folder_names),
    Case("a zip, also one of macOS", "as the folder in it", sets.zipped),
    Case("accents that macOS and Linux write differently", "as equal", sets.composed_accents),
    Case("the path of a `data.yaml` as `--source`", "the folders that it names, and no others",
         sets.yaml_beside),
    Case("the path of a YAML file whose `path:` is elsewhere",
         "the set in that folder, with this file in place of its own", sets.yaml_elsewhere),
    Case("hidden folders: `.ipynb_checkpoints`, `@eaDir`", "not read, and counted",
         sets.hidden_folders),
)  # fmt: skip

NAMES = (
    Case("`affectnet.yaml`, or any other YAML file with `names`", "as `data.yaml`",
         sets.usual(file="affectnet.yaml")),
    Case("`data.yml`, `dataset.yaml`", "likewise", sets.usual(file="data.yml")),
    Case("`names: {0: neutral, 1: happy}`", "by number",
         sets.named_by("dataset.yaml", f"names: {dict(enumerate(IDS))}\n")),
    Case("`classes.txt`, also with a byte order mark and Windows line ends", "one name a line",
         sets.named_by("classes.txt", "\ufeff" + "\r\n".join(IDS)), note="classes.txt"),
    Case("`obj.names`", "likewise", sets.named_by("obj.names", "\n".join(IDS))),
    Case("`notes.json` of Label Studio", "its `categories`",
         sets.named_by("notes.json", sets.notes())),
    Case("`labels/classes.txt` in each split", "as `classes.txt`",
         sets.named_by("train/labels/classes.txt", "\n".join(IDS))),
    Case("a YAML file in UTF-16", "by its byte order mark",
         sets.named_by("data.yaml", f"names: [{', '.join(IDS)}]\n", "utf-16")),
    Case("`Angry`, `happiness`, `sadness`, `Surprised`, `Fearful`; no contempt",
         "as the task's labels; the mapping is printed, and a set of seven emotions trains",
         sets.seven, (7, 7, 7), "Angry -> anger"),
    Case("`names: neutral, happy, ...` or `names: obj.names`", "the names, or the file of names",
         sets.named_by("data.yaml", f"names: {', '.join(IDS)}\n")),
    Case("`names:` as lines of one text, as words, or as a list of Python in quotes", "likewise",
         sets.named_by("data.yaml", "names: |\n  " + "\n  ".join(IDS) + "\n")),
    Case("`Names:`", "in any case",
         sets.named_by("data.yaml", f'Names: "{list(IDS)}"\n')),
    Case("`0 - anger`, `1_contempt`", "without the number",
         sets.named_by("classes.txt", "\n".join(f"{n} - {name}" for n, name in enumerate(IDS)))),
    Case("a name that no label file uses", "ignored with a line", sets.extra_name,
         note="'ahegao', which no label file uses"),
    Case("a class that the task does not know", "left out with `params.ignore_labels`",
         sets.ignored_class, params={"ignore_labels": ["ahegao"]}, skipped={"ignored_label": 1}),
    Case("no names, and `params.names=affectnet8`",
         f"in the order of Kaggle's AffectNet: {', '.join(LABELS)}",
         sets.no_names_in_order(LABELS), note="0 anger", params={"names": "affectnet8"}),
    Case("no names, and `params.names=affectnet_ids`",
         f"in the order of AffectNet's own numbers: {', '.join(IDS)}", sets.no_names,
         note="0 neutral", params={"names": "affectnet_ids"}),
    Case("no names, and `params.names=fer2013`",
         f"in the order of FER2013: {', '.join(NAMED_ORDERS['fer2013'])}",
         sets.no_names_in_order(NAMED_ORDERS["fer2013"]), (7, 7, 7), "0 anger",
         {"names": "fer2013"}),
    Case("no names, and `params.names=[neutral, happy, ...]`", "in this order", sets.no_names,
         note="0 neutral", params={"names": IDS}),
    Case("only numbers as names (`names: ['0', '1']`), and `params.names`", "by number",
         sets.numbers_as_names, note="0 neutral", params={"names": "affectnet_ids"}),
    Case("`classes.txt` that contradicts `data.yaml`", "as `data.yaml` says, and said",
         sets.yaml_and_list, note="classes.txt names others"),
)  # fmt: skip


def _scored(number: int) -> str:
    return f"{line(number).strip()} 0.93\n"


def _keypoints(number: int) -> str:
    return f"{line(number).strip()} 0.4 0.4 2 0.6 0.4 2 0 0 0\n"


def _float_class(number: int) -> str:
    return line(number).replace(" ", ".0 ", 1)


def _decimal_commas(number: int) -> str:
    return line(number).replace(".", ",")


LABEL_LINES = (
    Case("`class cx cy w h`, shares of the image", "a box", sets.lines(line)),
    Case("polygons", "their bounding box, counted", sets.lines(sets.polygon), note="polygons"),
    Case("oriented boxes: a class and 8 numbers", "their bounding box, counted",
         sets.lines(sets.oriented), note="polygons"),
    Case("a sixth column from 0 to 1", "a score, ignored and counted", sets.lines(_scored),
         note="columns after the box"),
    Case("keypoints after the box, with `kpt_shape` in `data.yaml`", "ignored and counted",
         sets.usual("kpt_shape: [3, 3]\n", to_line=_keypoints), note="columns after the box"),
    Case("a byte order mark", "ignored", sets.lines(line, encoding="utf-8-sig")),
    Case("UTF-16, with or without a byte order mark", "as text",
         sets.lines(line, encoding="utf-16-le")),
    Case("commas, semicolons or tabs between the numbers", "as spaces",
         sets.lines(partial(line, separator=", "))),
    Case("tabs", "as spaces", sets.lines(partial(line, separator="\t"))),
    Case("semicolons", "as spaces", sets.lines(partial(line, separator=";"))),
    Case("decimal commas between spaces or semicolons", "as points", sets.lines(_decimal_commas)),
    Case("`4.0` as a class", "as 4", sets.lines(_float_class)),
    Case('`"4"` in quotes', "without them",
         sets.lines(lambda number: line(number).replace(str(number), f'"{number}"', 1))),
    Case("a line that stands twice", "once, counted",
         sets.lines(lambda number: line(number) * 2), note="count once"),
    Case("`x.jpg.txt`", "the label file of `x.jpg`",
         sets.usual(label="{split}/labels/{name}.txt")),
    Case("a box that reaches beyond the image", "clipped at its border, counted by the check",
         sets.lines(lambda number: line(number, (0.5, 0.15, 0.4, 0.6))),
         box=(0.5, 0.225, 0.4, 0.45)),
)  # fmt: skip

IMAGES = (
    Case("JPEG, PNG, WEBP", "as they are", sets.images(".webp")),
    Case("`.jpe`, `.jfif`", "by their content", sets.images(".jfif", "JPEG")),
    Case("BMP", "as PNG with the same pixels", sets.images(".bmp"), note="24 BMP images"),
    Case("TIFF", "likewise", sets.images(".tif"), note="24 TIFF images"),
    Case("GIF", "its first frame", sets.images(".gif"), note="24 GIF images"),
    Case("AVIF", "as it is, where the installed Pillow reads it", sets.images(".avif")),
    Case("PPM, PGM", "as PNG with the same pixels", sets.images(".ppm"), note="24 PPM images"),
    Case("a BMP that is named `.png`", "by its content", sets.mixed_content,
         note="1 BMP images"),
    Case("HEIC without a decoder, SVG, camera raw files, videos",
         "not read, counted by type, and said how to convert them",
         sets.counted_types, note="HEIC pictures not readable here: 3 (first: ",
         skipped={"unreadable .heic": 3, "unreadable .svg": 3, "unreadable .cr2": 3}),
    Case("images in no split", "not used, and counted", sets.outside, note="8 in more/images"),
)  # fmt: skip

REFUSED = (
    Case("no names of classes in any file", "the message lists the choices of `params.names`",
         sets.no_names, None, "--set params.names=affectnet8"),
    Case("`classes.txt` and `obj.names` that differ", "one of them must go",
         sets.disagreeing_lists, None, "name the classes differently"),
    Case("two YAML files in one folder that name the classes differently",
         "the path of one of them as `--source` chooses", sets.disagreeing_yaml, None,
         "Give the path of one"),
    Case("two data sets in one folder", "likewise", sets.two_sets, None, "two data sets"),
    Case("`params.names` that contradicts a file", "the setting or the file must go",
         sets.usual(), None, "Remove the setting", {"names": "affectnet8"}),
    Case("label lines in pixels", "the image size that they belong to is not known; the message "
         "names the file and the line",
         sets.lines(lambda number: f"{number} 12 11 9 14\n"), None,
         r"24|8 malformed_label \(train/labels/\w+\.txt:1: .*pixels"),
    Case("a class in use that the task does not know",
         "renamed, or left out with `params.ignore_labels`",
         sets.usual(order=(*IDS[:7], "ahegao")), None, r"params\.ignore_labels=\[ahegao\]"),
    Case("numbers of classes that begin at 1", "every face would get another label",
         sets.usual(to_line=lambda number: line(number + 1)), None, "classes 1 to 8"),
    Case("images without any label file", "the faces must be marked",
         sets.without_labels("readme.md", "faces"), None, "no label file of any"),
    Case("folders named by class (`train/happy/`) without label files", "likewise",
         sets.class_folders, None, "Folders named by class"),
    Case("`names` with more than words in it", "the message shows what was found",
         sets.named_by("data.yaml", "names:\n" + "".join(f"- {{name: {each}}}\n" for each in IDS)),
         None, "as a list of words, or as `number: word`, found {'name'"),
    Case("labels or pixels in a table (FER2013, RAF-DB, ExpW)",
         "the message says how a label file looks",
         sets.without_labels("fer2013.csv", "emotion,pixels,Usage"), None,
         r"fer2013\.csv\) are not read"),
    Case("COCO annotations", "to be exported as YOLO",
         sets.without_labels("_annotations.coco.json", '{"images": []}'), None, "COCO"),
    Case("Pascal VOC or CVAT XML", "likewise",
         sets.without_labels("happy_train_0.xml", "<annotation/>"), None, "XML"),
    Case("no images to train on", "`train:` in `data.yaml` must name them", sets.only_valid, None,
         "none to train on"),
)  # fmt: skip

SECTIONS: Sequence[tuple[str, Sequence[Case]]] = (
    ("Layouts and splits", LAYOUTS),
    ("Names of classes", NAMES),
    ("Label lines", LABEL_LINES),
    ("Images", IMAGES),
    ("Refused", REFUSED),
)
CASES = tuple(case for _, cases in SECTIONS for case in cases)
"""Every case; the layouts are their names."""


def markdown() -> str:
    """The tables of docs/source/formats.md."""
    tables = []
    for heading, cases in SECTIONS:
        second = "why, and what helps" if cases is REFUSED else "how it is read"
        rows = [f"| {case.layout} | {case.reading} |" for case in cases]
        tables.append("\n".join([f"| {heading.lower()} | {second} |", "| --- | --- |", *rows]))
    return "\n\n".join(tables)
