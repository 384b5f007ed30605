"""The images of dockerfiles/, built as they stand, and what they weigh.

The unit is 10**6 bytes, as `docker images` prints it; the base is included.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from urllib.request import getproxies

from stack import ROOT, PromiseError, say
from stack.engine import Engine

SERVICE, MODEL, TRAIN, REGISTRY = "mien-api", "mien-model", "mien-train", "mien-registry"
BUDGETS_MB = {SERVICE: 400, MODEL: 420}
"""ONNX Runtime and numpy are most of it. Torch has no budget: PyPI has it for CUDA alone."""
CHAMPIONS = "champions"


def service(docker: Engine) -> None:
    """Build the service without models.

    Raises:
        PromiseError: it cannot be built, or weighs too much.
    """
    _build(docker, SERVICE, "api", ROOT, "--target=service")


def with_models(docker: Engine, home: Path, scratch: Path) -> None:
    """Build the service with the champions of a workspace; raises as `service`."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix="context-") as context:
        _copy_context(Path(context))
        export = [sys.executable, "-m", "mien.cli", "export", "champion"]
        docker.run(*export, str(Path(context) / CHAMPIONS), "--home", str(home))
        _build(docker, MODEL, "api", Path(context))


def training(docker: Engine) -> None:
    """Build the image for training; raises as `service`."""
    _build(docker, TRAIN, "train", ROOT)


def registry(docker: Engine) -> None:
    """Build MLflow's server; raises as `service`."""
    _build(docker, REGISTRY, "registry", ROOT)


def _build(docker: Engine, name: str, dockerfile: str, context: Path, *options: str) -> None:
    say(f"Building {name} ...")
    file = f"--file={ROOT / 'dockerfiles' / dockerfile}.Dockerfile"
    command = ["docker", "build", "--quiet", file, f"--tag={name}", *options]
    docker.run(*command, *_network_options(docker), str(context))
    size = int(docker.ask("docker", "image", "inspect", "-f", "{{.Size}}", name).stdout) / 1e6
    budget = BUDGETS_MB.get(name)
    say(f"{name} is {size:.0f} MB (budget {f'{budget} MB' if budget else 'none'}).")
    if budget and size > budget:
        raise PromiseError(f"{name} is {size:.0f} MB, over the budget of {budget} MB")


def _network_options(docker: Engine) -> list[str]:
    """What a build on our own engine needs: it has no bridge, and pip may need the proxy."""
    if not docker.own:
        return []
    proxies = {f"{name}_proxy": value for name, value in getproxies().items()}
    return ["--network=host", *(f"--build-arg={name}={value}" for name, value in proxies.items())]


def _copy_context(folder: Path) -> None:
    """What .dockerignore lets through but champions: those of the project folder stay there."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    shutil.copyfile(ROOT / ".dockerignore", folder / ".dockerignore")
    for name in (line[1:] for line in lines if line.startswith("!")):
        if (ROOT / name).is_dir() and name != CHAMPIONS:
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        elif (ROOT / name).is_file():
            shutil.copyfile(ROOT / name, folder / name)
