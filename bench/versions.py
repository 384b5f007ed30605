"""Versions of loose images: mien's shards tracked by DVC, next to `dvc add` of the loose files.

Both methods take turns step by step, each in a process of its own, in a fresh repository for each
round; the files of the source are in the file system cache for both.
"""

import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from PIL import Image

from bench import page

ROUNDS = {"AffectNet": 2, "generated JPEGs": 1}
IMAGES = 30_000
CHANGED = 10
SIDE = 64
"""Pixels; an image of noise is then a JPEG of about 6 KB."""
MIN_FILE_AGE_S = 3
"""Both methods read younger files again, because their time stamps are not conclusive yet."""
STEPS = {
    "first import": "the source becomes a version that DVC tracks",
    "unchanged re-check": "look for changes, find none",
    "the same, mien alone": "without `dvc status`: what `mien data` does first",
    f"{CHANGED} changed files": "a second version",
    "diff": "what changed: mien by sample and label, DVC by file",
    "diff again": "",
    "push": "both versions to a folder on the same disk",
    "pull": "the latest version into a fresh clone, as loose files for the trainer",
}
FETCH = """
import sys
from pathlib import Path
from mien.config import RunConfig
from mien.stages import Run, data
from mien.storage.workspace import Workspace
config = RunConfig(name="run", task="emotion", source=sys.argv[1])
data.fetch(Run.resolve(config, Workspace(Path())))
"""
UNPACK = """
from pathlib import Path
from mien.storage.versions import Store
store = Store(Path("data/raw/emotion"))
with store.unpacked(store.versions()[-1]):
    pass
"""
RAW = "data/raw/emotion"


@dataclass
class Method:
    """One method of storing versions, in a repository of its own."""

    name: str
    repository: Path
    commands: dict[str, list[list[str]]]
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def source(self) -> Path:
        """Its own copy of the loose files; DVC tracks nothing outside of its repository."""
        return self.repository / "loose"

    def make_repository(self, source: Path) -> None:
        """Make a repository of git and DVC with the loose files only."""
        shutil.rmtree(self.repository, ignore_errors=True)
        self.repository.mkdir()
        _run(["git", "init", "--quiet"], self.repository)
        _run([*_DVC, "init", "--quiet"], self.repository)
        shutil.copy(page.ROOT / ".dvc" / "config", self.repository / ".dvc")
        remote = self.repository / "remote"
        _run([*_DVC, "remote", "add", "--default", "store", str(remote)], self.repository)
        (self.repository / ".gitignore").write_text(
            "/models\n/remote\n/clone\n/loose\n/data/cache\n"
        )
        shutil.copytree(source, self.source)
        self.commit()

    def commit(self) -> None:
        _run(["git", "add", "--all"], self.repository)
        _run(["git", "commit", "--quiet", "--allow-empty", "-m", "state"], self.repository)

    def step(self, name: str, folder: Path | None = None) -> None:
        """Run a step and record its time."""
        start = perf_counter()
        for command in self.commands.get(name, []):
            _run(command, folder or self.repository)
        if name in self.commands:
            self.seconds[name].append(perf_counter() - start)


_DVC = [sys.executable, "-m", "dvc"]
_MIEN = [sys.executable, "-m", "mien.cli", "data"]


def main() -> None:
    """Measure both sets with both methods."""
    page.real_data()
    parts = []
    with TemporaryDirectory(prefix="mien-versions-") as temporary:
        _isolate(Path(temporary))
        for name, make in (("AffectNet", _affectnet), ("generated JPEGs", _generated)):
            source = Path(temporary) / "source"
            make(source)
            parts += _measured(name, source, Path(temporary))
            shutil.rmtree(source)
    page.write("versions", "Versions of data", [*_introduction(), *parts])


def _introduction() -> list[str]:
    return [
        "Loose images stored as versions in two ways: mien's shards tracked by DVC "
        "([0020](../decisions/0020-data-versions.md)), and plain `dvc add` of the folder. "
        "Seconds of whole commands, start included; medians of rounds in which both ways "
        "take turns step by step, each in a fresh repository. Ratios are medians over the rounds, "
        "so that load slows both.",
        page.table([{"step": name, "meaning": text} for name, text in STEPS.items() if text]),
    ]


def _measured(name: str, source: Path, home: Path) -> list[str]:
    files = sorted(path for path in source.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    names = [path.relative_to(source) for path in files]
    methods = [_shards(home, is_set=name == "AffectNet"), _plain(home)]
    for number in range(ROUNDS[name]):
        for method in methods:
            method.make_repository(source)
        time.sleep(MIN_FILE_AGE_S)
        _round(methods[:: -1 if number % 2 else 1], names, number)
    own, other = (method.seconds for method in methods)
    rows = [
        {
            "step": step,
            "mien and DVC, s": f"{median(own[step]):.2f}",
            "plain DVC, s": f"{median(other[step]):.2f}" if other[step] else "",
            "plain / mien": f"{_ratio(own[step], other[step]):.1f}" if other[step] else "",
        }
        for step in STEPS
        if own.get(step)
    ]
    caches = "; ".join(f"{method.name} {_cached(method)}" for method in methods)
    return [
        f"## {name}: {len(files):,} files, {size / 1e6:,.0f} MB",
        f"Rounds: {ROUNDS[name]}.",
        page.table(rows),
        f"DVC's cache after both versions: {caches}.",
    ]


def _round(methods: list[Method], names: list[Path], number: int) -> None:
    def each(step: str) -> None:
        for method in methods:
            method.step(step)

    each("first import")
    for method in methods:
        method.commit()
    each("unchanged re-check")
    each("the same, mien alone")
    images = [name for name in names if name.suffix in (".jpg", ".png")]
    for name in random.Random(number).sample(images, CHANGED):
        for method in methods:
            _change(method.source / name, number)
    each(f"{CHANGED} changed files")
    each("diff")
    each("diff again")
    for method in methods:
        method.commit()
    each("push")
    for method in methods:
        clone = method.repository / "clone"
        _run(["git", "clone", "--quiet", str(method.repository), str(clone)], method.repository)
        method.step("pull", clone)


def _shards(home: Path, is_set: bool) -> Method:
    """mien's versions, tracked by DVC; only a set that the task reads is compared by sample."""
    fetch = [sys.executable, "-c", FETCH, "loose"]
    add = [*_DVC, "add", "--quiet", RAW]
    diff = {step: [[*_MIEN, "diff", "emotion", "1", "2"]] for step in ("diff", "diff again")}
    return Method(
        "mien and DVC",
        home / "shards",
        {
            "first import": [fetch, add],
            "unchanged re-check": [fetch, [*_DVC, "status", "--quiet"]],
            "the same, mien alone": [fetch],
            f"{CHANGED} changed files": [fetch, add],
            **(diff if is_set else {}),
            "push": [[*_DVC, "push", "--quiet"]],
            "pull": [[*_DVC, "pull", "--quiet"], [sys.executable, "-c", UNPACK]],
        },
    )


def _plain(home: Path) -> Method:
    add = [*_DVC, "add", "--quiet", "loose"]
    return Method(
        "plain DVC",
        home / "plain",
        {
            "first import": [add],
            "unchanged re-check": [[*_DVC, "status", "--quiet"]],
            f"{CHANGED} changed files": [add],
            "diff": [[*_DVC, "diff"]],
            "diff again": [[*_DVC, "diff"]],
            "push": [[*_DVC, "push", "--quiet"]],
            "pull": [[*_DVC, "pull", "--quiet"]],
        },
    )


def _change(path: Path, number: int) -> None:
    """Put another image under the same name; the file may be a link into DVC's cache."""
    raw = path.read_bytes()
    path.unlink()
    path.write_bytes(raw + f"changed in round {number}".encode())


def _ratio(own: list[float], other: list[float]) -> float:
    return median(b / a for a, b in zip(own, other, strict=True))


def _cached(method: Method) -> str:
    cache = method.repository / ".dvc" / "cache"
    files = [path for path in cache.rglob("*") if path.is_file()]
    return f"{len(files):,} files, {sum(path.stat().st_size for path in files) / 1e6:,.0f} MB"


def _affectnet(target: Path) -> None:
    with zipfile.ZipFile(page.real_data() / "emotion" / "affectnet_yolo.zip") as archive:
        archive.extractall(target)


def _generated(target: Path) -> None:
    """Write small images of noise in thirty folders."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = target / f"{number % 30:02}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, quality=80)


def _isolate(home: Path) -> None:
    """Use no settings and caches of the machine, and send nothing to a server."""
    for name in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG"):
        os.environ[f"DVC_{name}_DIR"] = str(home / name.lower())
    for role in ("AUTHOR", "COMMITTER"):
        os.environ |= {f"GIT_{role}_NAME": "bench", f"GIT_{role}_EMAIL": "bench@example.org"}
    os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1", "MIEN_HOME": "."}
    os.environ["PYTHONPATH"] = str(page.ROOT / "src")


def _run(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")


if __name__ == "__main__":
    main()
