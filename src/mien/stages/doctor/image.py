"""A container image as Docker describes it, and the Dockerfiles of the project."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.errors import ProgramError

from .programs import output


@dataclass(frozen=True)
class ImageConfig:
    """What an image, or the last stage of a Dockerfile, says of itself."""

    name: str
    variables: tuple[str, ...]
    """NAME=VALUE each."""
    command: tuple[str, ...]
    """Entry point and command."""
    build_lines: tuple[str, ...] = ()
    """How its layers were made; build arguments stand in there."""
    architecture: str = ""


def inspect(name: str) -> ImageConfig:
    """Ask Docker.

    Raises:
        ProgramError: no Docker, or no such image.
    """
    raw = output("docker", "image", "inspect", name)
    template = "{{.CreatedBy}}"
    history = output("docker", "history", "--no-trunc", "--format", template, name)
    try:
        document = json.loads(raw)[0]
        settings = document["Config"]
        return ImageConfig(
            name,
            tuple(settings.get("Env") or ()),
            (*(settings.get("Entrypoint") or ()), *(settings.get("Cmd") or ())),
            tuple(history.splitlines()),
            f"{document['Os']}/{document['Architecture']}",
        )
    except (ValueError, LookupError, TypeError) as error:
        raise ProgramError(
            f"`docker image inspect {name}`: expected its JSON, found {error!r}. Update Docker."
        ) from None


def dockerfiles(project: Path) -> list[ImageConfig]:
    """Each `*Dockerfile` of the folder dockerfiles/; line continuations are joined."""
    return [_parse(path) for path in sorted(project.glob("dockerfiles/*Dockerfile"))]


def _parse(path: Path) -> ImageConfig:
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text(encoding="utf-8"))
    lines = re.sub(r"\\\s*\n", " ", text).splitlines()
    instructions = [line.partition(" ") for line in lines]
    variables = [each for name, _, rest in instructions if name == "ENV" for each in rest.split()]
    return ImageConfig(
        path.name,
        tuple(variables),
        tuple(rest for name, _, rest in instructions if name in ("ENTRYPOINT", "CMD")),
        tuple(line for line in lines if line.startswith(("ARG ", "ENV "))),
    )


def images(project: Path, image: str | None) -> Sequence[ImageConfig]:
    """The Dockerfiles of the project, and the image if one is named."""
    return [*dockerfiles(project), *([inspect(image)] if image else [])]
