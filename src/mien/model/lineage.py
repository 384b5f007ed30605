"""Where a model comes from: code, configuration, data, seed, packages, platform.

What is recorded here is what `stages/rebuild` needs to make the model again. Reading it costs no
import of a heavy library. Knows no task, no stage and no registry.
"""

import os
import platform
import subprocess
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from pydantic import Field

from mien import __version__, config
from mien.config import Form, RunConfig, Schema, TrainedOn
from mien.model import cpus
from mien.storage.cache_keys import source_hash
from mien.storage.files import sha256_file
from mien.storage.workspace import REPORT

ROOT = Path(__file__).resolve().parents[3]
"""The repository, where mien runs from one."""
LEFT_OUT = {"source", "search_space", "rights"}
"""Keys of a config that decide nothing of a model: its data are known by their fingerprint."""
TRAINING_LOCK = "requirements_train.txt"
"""All that a training can reach; the tools of development decide nothing of a model."""


class CodeState(Schema):
    """The code of a run: version, git commit, and a SHA-256 over the package's source files."""

    version: str = ""
    sha256: str = ""
    """Equal ones are the same code, committed or not."""
    commit: str | None = None
    dirty: bool | None = None
    """Whether files differ from the commit; None without git."""


class Processor(Schema):
    """Maker of the processor, and those of its instructions that libraries choose kernels by."""

    maker: str = ""
    flags: tuple[str, ...] = ()


class Platform(Schema):
    """What decides the last digits of a sum beside the packages."""

    python: str
    system: str
    machine: str
    libc: str
    cpu: Processor = Processor()


class VariantOrigin(Schema):
    """How a variant was made."""

    form: Form
    base: str
    """The candidate that it was made from."""
    digest: str
    """Digest of that candidate's bundle."""
    cache_key: str
    calibrated_on: int | None = None
    """Training examples that the ranges of int8 were measured on."""
    nodes_left_in_float: int | None = None
    libraries: dict[str, str] = Field(default_factory=dict)


class Certificate(Schema):
    """What rebuilding a version from its record gave."""

    when: str
    runs: int
    identical: bool
    verdict: str
    compared: dict[str, str]
    rebuilt_from: str
    """Digest of the bundle that was rebuilt."""
    python: str
    packages: int
    packages_sha256: str
    platform: Platform


class Lineage(Schema):
    """What a bundle says of its own making; all that a rebuild needs."""

    code: CodeState = CodeState()
    config: dict[str, Any] = Field(default_factory=dict)
    config_sha256: str | None = None
    data_fingerprint: str = ""
    """Root hash of the raw data."""
    trained_on: TrainedOn | None = None
    """None in bundles that were made before it existed."""
    prepared_sha256: str | None = None
    external_weights: Any = None
    seed: int | None = None
    lock_sha256: str | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    """Versions of Python and of the packages."""
    platform: Platform | None = None
    threads: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    """What only the trainer knows."""
    trained_at: str = ""
    """When the training ended, in UTC."""
    variant: VariantOrigin | None = None
    certificate: Certificate | None = None

    def recorded(self) -> dict[str, Any]:
        """What was recorded when the run began, as JSON values."""
        later = {"training", "trained_at", "variant", "certificate"}
        return self.model_dump(mode="json", exclude=later)


def record(
    run: RunConfig,
    data_fingerprint: str,
    prepared_sha256: str | None = None,
    external_weights: Any = None,
    trained_on: TrainedOn = "real",
) -> Lineage:
    """Return what a bundle must know to be rebuilt.

    Args:
        run: the run.
        data_fingerprint: root hash of the raw data.
        prepared_sha256: `folder_hash` of what the trainer reads.
        external_weights: what the training reads beside data and params, as JSON values.
        trained_on: what the raw data are.
    """
    document = run.model_dump(mode="json", exclude=LEFT_OUT)
    return Lineage(
        code=commit(),
        config=document,
        config_sha256=config.digest(document),
        data_fingerprint=data_fingerprint,
        trained_on=trained_on,
        prepared_sha256=prepared_sha256,
        external_weights=external_weights,
        seed=run.seed,
        lock_sha256=lock_hash(),
        environment=environment(),
        platform=machine(),
        threads=threads(),
    )


def lock_hash() -> str | None:
    """SHA-256 of the lock file of trainings, or None where mien is installed without its
    repository. What tests and docs need changes no model."""
    path = ROOT / TRAINING_LOCK
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def commit() -> CodeState:
    """The code that runs now."""
    head = git("rev-parse", "HEAD") if (ROOT / ".git").exists() else None
    return CodeState(
        version=__version__,
        sha256=source_hash(""),
        commit=head or None,
        dirty=_dirty() if head else None,
    )


def _dirty() -> bool:
    """Whether files differ from the commit; where git cannot tell, they may.

    A new file counts among the code alone: a photo or a table that lies in the folder decides
    nothing. Nor does `dvc.lock`, which DVC writes while a pipeline runs.
    """
    status = ("status", "--porcelain")
    changed = git(*status, "--untracked-files=no", "--", ".", ":!dvc.lock")
    return changed != "" or git(*status, "--untracked-files=normal", "--", "src") != ""


def git(*arguments: str) -> str | None:
    """What git prints of mien's repository; None where there is no git, or it cannot do this."""
    try:
        process = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or no commit yet: the record then says so by holding None
    return process.stdout.strip()


@cache
def environment() -> dict[str, str]:
    """Versions of Python and of the installed packages that the lock file of trainings names; of
    all packages where mien is installed without its repository."""
    names = locked(ROOT / TRAINING_LOCK)
    versions = {name: _version(name) for name in names or [each.name for each in distributions()]}
    installed = {name: each for name, each in sorted(versions.items()) if each is not None}
    return {"python": platform.python_version(), **installed}


def locked(path: Path) -> dict[str, str]:
    """Names and versions of the packages that a lock file installs on this system and Python; none
    where there is no such file."""
    if not path.is_file():
        return {}
    from packaging.markers import Marker  # comes with what trains

    lines = path.read_text(encoding="utf-8").splitlines()
    pins = [line.rstrip(" \\").partition(";") for line in lines if line[:1].isalnum()]
    pairs = (pin.split("==") for pin, _, marker in pins if not marker or Marker(marker).evaluate())
    return {name.strip(): each.strip() for name, each in pairs}


@cache
def machine() -> Platform:
    """The platform that this process runs on."""
    return Platform(
        python=platform.python_version(),
        system=platform.system(),
        machine=platform.machine(),
        libc=" ".join(platform.libc_ver()).strip(),
        cpu=processor(),
    )


def processor(path: Path = Path("/proc/cpuinfo")) -> Processor:
    """The processor as Linux describes it; empty on other systems."""
    if not path.is_file():
        return Processor()
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    flags = f"{fields.get('flags', '')} {fields.get('Features', '')}".split()
    return Processor(
        maker=fields.get("vendor_id") or fields.get("CPU implementer", ""),
        flags=tuple(sorted({flag for flag in flags if flag.startswith(_WIDE)})),
    )


_WIDE = ("avx", "fma", "f16c", "amx", "sse4", "asimd", "sve", "bf16", "i8mm")


def processor_features() -> tuple[str, ...]:
    """Architecture and the vector instructions that decide which kernels ONNX Runtime chooses.

    By NumPy, which asks the processor itself on every system, also under emulation; what NumPy
    does not know is read from /proc/cpuinfo. `("x86_64", "unknown")` where neither tells.
    """
    try:
        core = import_module("numpy._core._multiarray_umath")  # a private name, hence the guard
    except ImportError:
        core = None
    by_numpy: dict[str, bool] = getattr(core, "__cpu_features__", {})
    flags = set(processor().flags)
    features = [flag for flag in _BY_CPUINFO if flag in flags]
    features += [flag for name, flag in _BY_NUMPY.items() if by_numpy.get(name)]
    return (platform.machine() or "unknown", *(sorted(features) or ["unknown"]))


_BY_NUMPY = {
    "AVX2": "avx2",
    "AVX512F": "avx512f",
    "AVX512VNNI": "avx512_vnni",
    "NEON": "neon",
    "ASIMDDP": "asimddp",
}
_BY_CPUINFO = ("avx_vnni", "amx_int8", "i8mm")


def threads() -> dict[str, Any]:
    """Processors of this process, and what the environment says of threads: for people. The bytes
    of a model do not depend on them (docs/source/decisions/0018-rebuilding.md)."""
    limits = {name: os.environ[name] for name in cpus.NATIVE_THREADS if name in os.environ}
    return {"cores": cpus.available_cpus(), **limits}


def folder_hash(folder: Path) -> str:
    """SHA-256 over names and contents of prepared data; the report on them is left out."""
    state = sha256()
    for name, path in files(folder).items():
        state.update(f"{name}\0{sha256_file(path)}\n".encode())
    return state.hexdigest()


def files(folder: Path) -> dict[str, Path]:
    """What `folder_hash` covers, in the order of names."""
    paths = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    return {name: paths[name] for name in sorted(paths) if name not in _REPORTS}


_REPORTS = (REPORT, "report.png")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None  # of another system, or of an extra that is not installed here
