"""Docker and Compose."""

import shutil

from mien.errors import ProgramError

from ..contract import DoctorCheck, Finding, Installation, Target, absent, ok
from ..programs import is_installed, output

_INSTALL = "Install Docker: https://docs.docker.com/engine/install, and start it."


def find_engine(subject: Installation) -> Finding:
    """Whether the program is there and an engine answers."""
    needed: tuple[Target, ...] = ("compose", "cloud-run")
    if not is_installed("docker"):
        return absent(subject, "docker is not installed", _INSTALL, *needed)
    try:
        version = output("docker", "version", "--format", "{{.Server.Version}}").strip()
    except ProgramError as error:
        text = f"docker is installed, and no engine answers: {error}"
        return absent(subject, text, "Start the engine: `sudo systemctl start docker`.", *needed)
    return ok(f"Docker {version} answers")


def find_compose(subject: Installation) -> Finding:
    """Whether one of the two generations of Compose is there."""
    for command in (("docker", "compose", "version"), ("docker-compose", "version")):
        if shutil.which(command[0]):
            try:
                version = output(*command).splitlines()[0]
            except (ProgramError, IndexError):
                continue
            return ok(version)
    return absent(subject, "no Compose is installed", _INSTALL, "compose")


ENGINE = DoctorCheck("docker", "Whether Docker is installed and its engine answers.", find_engine)
COMPOSE = DoctorCheck("compose", "Whether Compose is installed.", find_compose)
