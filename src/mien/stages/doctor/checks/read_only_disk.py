"""Whether a service finds what it must write, also on a read-only root."""

import tempfile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile

from mien.observability.prediction_log.location import PostgresLocation, locate

from .. import compose_file, image
from ..contract import DoctorCheck, Finding, Installation, existing_folder, failed, ok

_SERVICE = "api"
_PATHS = ("HOME", "XDG_CACHE_HOME", "MIEN_PREDICTION_LOG")
"""Variables of an image that name what a service writes."""


def find(subject: Installation) -> Finding:
    """The prediction log and temporary files here; in the Compose stack, what its image names."""
    location = locate(subject.settings, subject.workspace)
    log = location.spool if isinstance(location, PostgresLocation) else location
    for folder in (existing_folder(log.parent), Path(tempfile.gettempdir())):
        try:
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return failed(
                f"{folder}: a service cannot write there: {error.strerror}.",
                "Set MIEN_PREDICTION_LOG and TMPDIR to folders that can be written.",
            )
    if lost := _lost_in_stack(subject.project):
        return failed(
            f"{compose_file.NAME}: {_SERVICE} has a read-only disk, and writes to {lost}.",
            "Mount a volume or a tmpfs there.",
        )
    return ok(f"a service can write {log.resolve()} and temporary files")


def _lost_in_stack(project: Path) -> str:
    """What the image of the service names and its read-only container does not let it write."""
    stack = compose_file.read(project)
    if stack is None or not stack.services.get(_SERVICE, {}).get("read_only"):
        return ""
    files = [each for each in image.dockerfiles(project) if each.name.startswith(_SERVICE)]
    pairs = [variable.partition("=") for each in files for variable in each.variables]
    paths = [PurePosixPath(value) for name, _, value in pairs if name in _PATHS]
    mounts = stack.writable(_SERVICE)
    lost = [str(path) for path in paths if not any(path.is_relative_to(each) for each in mounts)]
    return ", ".join(lost)


CHECK = DoctorCheck(
    "read_only_disk", "What a service writes: can it, also where its disk is read-only?", find
)
