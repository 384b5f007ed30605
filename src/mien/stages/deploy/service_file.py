"""The settings of the service: a Knative file that people edit, completed for one deployment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mien import config
from mien.errors import ConfigError

DEFAULT = Path("deploy/cloudrun/service.yaml")
PROJECT = "PROJECT_ID"
"""Stands for the project in `serviceAccountName`."""


def render(
    path: Path,
    name: str,
    image: str,
    revision: str,
    project: str,
    traffic: Sequence[dict[str, Any]],
) -> str:
    """Complete a service file.

    Args:
        path: the file; its first container is the service of mien.
        name: the service.
        image: by digest.
        revision: the name of the revision to make.
        project: replaces `PROJECT_ID`.
        traffic: share and tag of each revision; empty gives all traffic to the newest one.

    Raises:
        ConfigError: the file cannot be read, or lacks one of these parts.
    """
    document = _read(path)
    try:
        template = document["spec"]["template"]
        document["metadata"]["name"] = name
        template.setdefault("metadata", {})["name"] = revision
        template["spec"]["containers"][0]["image"] = image
        account = template["spec"].get("serviceAccountName", "")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ConfigError(
            f"{path}: expected a Knative service with metadata and spec.template.spec.containers, "
            f"found another form. Compare it with {DEFAULT}."
        ) from None
    if account:
        template["spec"]["serviceAccountName"] = account.replace(PROJECT, project)
    document["spec"]["traffic"] = list(traffic)
    if not traffic:
        del document["spec"]["traffic"]
    return yaml.safe_dump(document, sort_keys=False)


def _read(path: Path) -> Any:
    try:
        return config.parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path}: expected the settings of the service, found {error}. Run this in the "
            "project's folder, or name the file with --file."
        ) from None
