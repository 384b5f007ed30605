"""CUDA packages, which an image for processors carries for nothing."""

import json
from importlib.metadata import distributions

from ..contract import DoctorCheck, Finding, Installation, failed, ok, warning
from ..programs import output

_CUDA = ("nvidia-", "nvidia_", "triton")
_LIST = (
    "import json; from importlib.metadata import distributions; "
    "print(json.dumps([each.metadata['Name'] for each in distributions()]))"
)
_LIMIT_S = 15.0
_REMEDY = "Install torch's build for CPU there: the image loses gigabytes."


def find(subject: Installation) -> Finding:
    """In the image if one is named, else in this environment."""
    if subject.image:
        # Nothing is fetched for a name that is not there.
        options = ("--rm", "--pull", "never", "--network", "none", "--entrypoint", "python")
        command = ("docker", "run", *options, subject.image, "-c", _LIST)
        names = json.loads(output(*command, limit_s=_LIMIT_S))
        if count := len(_cuda(names)):
            return failed(f"{subject.image} holds {count} CUDA packages.", _REMEDY)
        return ok(f"{subject.image} holds no CUDA package")
    count = len(_cuda([each.name for each in distributions()]))
    if not count:
        return ok("no CUDA package is installed")
    if (subject.root / "proc/driver/nvidia/version").exists():
        return ok(f"{count} CUDA packages, and a driver")
    if subject.in_container:
        return warning(f"{count} CUDA packages in a container without a GPU driver.", _REMEDY)
    return ok(f"{count} CUDA packages of torch; without a GPU driver they are not used")


def _cuda(names: list[str]) -> list[str]:
    return [name for name in names if name.lower().startswith(_CUDA)]


CHECK = DoctorCheck(
    "cuda_packages", "CUDA packages where there is no GPU; in the image, if one is named.", find
)
