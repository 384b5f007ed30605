"""Whether the clock is right: tokens, certificates and time stamps depend on it."""

import time
from datetime import UTC, datetime

from ..contract import DoctorCheck, Finding, Installation, failed, ok, warning
from ..network import date_at
from .packages import SERVING

MAX_SKEW_S = 60.0
"""Google refuses tokens whose time is minutes away."""
_REMEDY = "Switch time synchronisation on: `timedatectl set-ntp true`."


def find(subject: Installation) -> Finding:
    """Compare with files that were written here; for Cloud Run, with Google's clock."""
    paths = (subject.project / SERVING, subject.workspace.database)
    for path in paths:
        if path.is_file() and (ahead := path.stat().st_mtime - time.time()) > MAX_SKEW_S:
            text = f"{path} was written {ahead / 60:.0f} minutes in the future: the clock is slow."
            return warning(text, _REMEDY)
    if subject.target != "cloud-run":
        return ok("no file of the project is from the future")
    date = date_at(subject.google)
    if date is None:
        return Finding("skipped", f"{subject.google} does not answer")
    skew = (datetime.now(UTC) - date).total_seconds()
    if abs(skew) > MAX_SKEW_S:
        return failed(f"the clock is {skew:+.0f} s away from that of {subject.google}.", _REMEDY)
    return ok(f"within {MAX_SKEW_S:g} s of {subject.google}")


CHECK = DoctorCheck("clock", "Whether the clock is right; for Cloud Run, by Google's.", find)
