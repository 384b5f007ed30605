"""Which version answers beside the champion of a task: `models/<task>/shadow.json`.

A running server follows the file as it follows the champion.
"""

import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien.errors import RegistryError
from mien.storage.files import write_json
from mien.storage.workspace import Workspace


class Shadow(BaseModel):
    """A challenger that answers a share of the requests after the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=1)
    share: float = Field(gt=0, le=1)
    since: float
    """When it began, in seconds since 1970."""


def path_of(workspace: Workspace, task: str) -> Path:
    """The file of a task."""
    return workspace.models(task) / "shadow.json"


def read(workspace: Workspace, task: str) -> Shadow | None:
    """The shadow of a task, if there is one.

    Raises:
        RegistryError: the file cannot be read.
    """
    path = path_of(workspace, task)
    try:
        return Shadow.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise RegistryError(
            f"{path}: expected version, share and since, found something else. Write it again "
            f"with `mien shadow {task} VERSION`, or stop with `mien shadow {task} --stop`."
        ) from None


def start(workspace: Workspace, task: str, version: int, share: float) -> Shadow:
    """Let a version answer beside the champion, in place of an earlier one."""
    shadow = Shadow(version=version, share=share, since=time.time())
    write_json(path_of(workspace, task), shadow.model_dump())
    return shadow


def stop(workspace: Workspace, task: str) -> bool:
    """End the shadow of a task; whether there was one."""
    path = path_of(workspace, task)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
