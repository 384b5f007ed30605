"""The architecture of an image."""

import platform

from .. import image
from ..contract import DoctorCheck, Finding, Installation, failed, ok

CLOUD_RUN = "linux/amd64"
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}


def find(subject: Installation) -> Finding:
    """Cloud Run runs linux/amd64 alone; another machine runs its own."""
    if not subject.image:
        return Finding("skipped", "no --image")
    machine = platform.machine()
    own = f"linux/{_MACHINES.get(machine, machine)}"
    expected = CLOUD_RUN if subject.target == "cloud-run" else own
    architecture = image.inspect(subject.image).architecture
    if architecture != expected:
        return failed(
            f"{subject.image}: expected {expected}, found {architecture}.",
            f"Build it again: `docker build --platform {expected} ...`.",
        )
    return ok(f"{subject.image} is {architecture}")


CHECK = DoctorCheck("image_architecture", "The architecture of the image that is named.", find)
