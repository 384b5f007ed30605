"""Free disk space."""

import tempfile
from pathlib import Path

from ..contract import DoctorCheck, Finding, Installation, existing_folder, failed, ok, warning

LOW_GB, MIN_GB = 5.0, 0.5
"""Images, data sets and trained models take gigabytes; MLflow's database and a prediction log need
hundreds of megabytes."""


def find(subject: Installation) -> Finding:
    """The smaller one of the workspace and the folder of temporary files."""
    folders = (existing_folder(subject.workspace.home).resolve(), Path(tempfile.gettempdir()))
    free, folder = min((subject.free_bytes(each) / 1e9, each) for each in folders)
    text = f"{free:.1f} GB free in {folder}"
    remedy = "Free some, or choose another disk: MIEN_HOME for the workspace, TMPDIR for the other."
    if free < MIN_GB:
        return failed(f"{text}: expected at least {MIN_GB:g}.", remedy)
    if free < LOW_GB:
        return warning(f"{text}: expected {LOW_GB:g} for data, images and trainings.", remedy)
    return ok(text)


CHECK = DoctorCheck("disk", "Free space of the workspace and of temporary files.", find)
