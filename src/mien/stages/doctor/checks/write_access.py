"""Whether the workspace can be written."""

from tempfile import TemporaryFile

from ..contract import DoctorCheck, Finding, Installation, existing_folder, failed, ok


def find(subject: Installation) -> Finding:
    """Make a file in the workspace, or where it would be made, and remove it."""
    home = subject.workspace.home
    try:
        with TemporaryFile(dir=existing_folder(home)):
            pass
    except OSError as error:
        if subject.target != "local":
            return ok(f"{home} cannot be written ({error.strerror}); a service only reads it")
        remedy = "Change the owner of the folder, or choose another: --home or MIEN_HOME."
        return failed(f"{home} cannot be written: {error.strerror}.", remedy)
    return ok(f"{home.resolve()} can be written")


CHECK = DoctorCheck("write_access", "Whether a training can write to the workspace.", find)
