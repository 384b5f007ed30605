"""The environment variables of mien."""

from ..contract import DoctorCheck, Finding, Installation, failed, ok


def find(subject: Installation) -> Finding:
    """Whether they can be read: `MIEN_*`, `HOST`, `PORT`."""
    if subject.settings_error:
        return failed(subject.settings_error, "")
    names = sorted(str(field) for field in subject.settings.model_fields_set)
    return ok(f"read from the environment: {', '.join(names)}" if names else "all at defaults")


CHECK = DoctorCheck("settings", "The variables of the environment that mien reads.", find)
