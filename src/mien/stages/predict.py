"""Predictions without a server: by the champion of a task or by a bundle folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mien import config, tasks
from mien.errors import ImageError, MienError
from mien.model import golden
from mien.model.runtime import Model
from mien.reporting import console
from mien.storage.workspace import Workspace
from mien.task import Prediction, Request, Task

Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]
"""A file, its bytes, a Pillow image, or RGB pixels of shape (height, width, 3)."""


@dataclass(frozen=True)
class Recognizer:
    """A bundle that answers for pictures, for any number of threads.

    `close`, or the end of a `with` block, frees its networks.
    """

    task: Task[Any]  # whose model it is
    model: Model  # the opened bundle

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can answer."""
        return self.model.labels

    def predict(self, picture: Picture) -> Prediction:
        """Answer for one picture, as the service does.

        Raises:
            ImageError: it cannot be read as a picture.
            RequestError: the file cannot be read, or its content cannot be used.
        """
        return self.task.inference.predict(self._request(picture), self.model)

    def predict_many(self, pictures: Sequence[Picture]) -> list[Prediction]:
        """Answer for several pictures, in their order; raises as `predict`."""
        return self.task.inference.predict_many([*map(self._request, pictures)], self.model)

    def _request(self, picture: Picture) -> Request:
        if isinstance(picture, str | Path):
            return self.task.inference.open(Path(picture))
        if isinstance(picture, bytes):
            return self.task.inference.read(picture)
        if isinstance(picture, Image.Image):
            picture = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ImageError(
                "The picture: expected RGB pixels, uint8 of shape (height, width, 3), found "
                f"{picture.dtype} of shape {picture.shape}."
            )
        return Request(image=picture)

    def close(self) -> None:
        """Free the networks. The model is not to be used afterwards."""
        self.model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(model: str | Path, home: str | Path | None = None) -> Recognizer:
    """Open a model: the champion of a task by the task's name, or the folder of a bundle.

    Args:
        model: such as `gesture`, or `models/gesture/versions/1`.
        home: the workspace of the champion; None for $MIEN_HOME or the current folder.

    Raises:
        RegistryError: the task has no champion.
        BundleError: the bundle is damaged, or answers differently on this machine.
    """
    folder = Path(model)
    if model in tasks.names():
        workspace = Workspace(Path(home) if home is not None else config.settings().home)
        folder = workspace.version(*workspace.champion([str(model)]))
    opened = golden.load(folder)
    return Recognizer(tasks.load(opened.bundle.manifest.task), opened)


def predict(
    files: Sequence[Path], name: str | None, bundle: Path | None, workspace: Workspace
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each file with its prediction as JSON values, or with an `error`.

    Raises:
        RegistryError: there is no champion.
        BundleError: the bundle is damaged, or answers differently on this machine.
    """
    if bundle is None:
        bundle = workspace.version(
            *workspace.champion([tasks.load(name).name] if name else tasks.names())
        )
    with load(bundle) as loaded:
        manifest = loaded.model.bundle.manifest
        origin = manifest.lineage.trained_on or "unknown"
        console.info(f"{loaded.task.name}: {manifest.candidate}, trained on: {origin}")
        for path in files:
            yield path, _predict_file(path, loaded)


def _predict_file(path: Path, loaded: Recognizer) -> dict[str, Any]:
    try:
        return loaded.predict(path).as_json(loaded.task.name)
    except MienError as error:
        return {"error": str(error)}
