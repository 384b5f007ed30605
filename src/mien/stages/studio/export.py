"""Packs a model as a zip: the bundle, a script that runs it without mien, and how to start it."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from mien.model.bundle import Bundle

SCRIPT = "predict.py"
_DATE = (1980, 1, 1, 0, 0, 0)


def pack(bundle: Bundle, script: Sequence[Path], example: str) -> bytes:
    """Make the zip; equal bundles give equal bytes.

    Args:
        bundle: the model.
        script: the program, and the modules beside it that it imports.
        example: a request as JSON, with which the program can be tried.
    """
    main, *modules = script
    texts = {
        SCRIPT: main.read_text(encoding="utf-8"),
        **{each.name: each.read_text(encoding="utf-8") for each in modules},
        "example.json": example,
        "README.txt": _readme(bundle),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in texts.items():
            archive.writestr(_entry(name), text, zipfile.ZIP_DEFLATED)
        for path in sorted(bundle.folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(bundle.folder).as_posix()
                archive.writestr(_entry(f"bundle/{name}"), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.external_attr = 0o644 << 16
    return entry


def _readme(bundle: Bundle) -> str:
    labels = ", ".join(bundle.manifest.labels)
    return (
        f"A model of mien for {bundle.manifest.task}: {labels}.\n"
        "bundle/card.md says what it was trained on and how often it is wrong.\n\n"
        "    pip install numpy onnxruntime\n"
        f"    python {SCRIPT} example.json\n\n"
        f"`mien serve --bundle bundle` serves it, and `mien predict` takes pictures.\n"
    )
