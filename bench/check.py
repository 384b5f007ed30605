"""What `stages/check` finds in real photos of faces, how fast, and how often it is right.

Image statistics, duplicates and the metadata baseline on two real data sets, next to `imagehash`,
which is not among the locked packages and is fetched by its hash into the cache folder. Pairs of
near duplicates are drawn as contact sheets below the workspace, to be judged by eye: they show
people and belong into no page.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import numpy as np
from PIL import Image

from bench import check_pairs, page
from mien import images, tasks
from mien.images import statistics
from mien.images.statistics import THUMBNAIL_SIDE, ImageStats
from mien.model import cpus
from mien.stages.check import image_stats, similarity
from mien.stages.check.context import (
    MAX_COUNTED_IMAGES,
    CheckContext,
    build_context,
    train_leakage,
)
from mien.stages.check.image_stats import compute_image_stats
from mien.stages.check.metadata_baseline import MetadataBaseline
from mien.stages.data import sources
from mien.storage.versions import Store
from mien.task import Sample

RIVAL = """imagehash==4.3.2 \\
    --hash=sha256:02b0f965f8c77cd813f61d7d39031ea27d4780e7ebcad56c6cd6a709acc06e5f
"""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien"
SETS = {"AffectNet": "affectnet_yolo.zip", "muxspace": "muxspace_yolo.zip"}
ROUNDS = 3
HASHED = 512
"""Pictures that are hashed in each round, next to the other library."""
Way = Callable[[], object]


def main() -> None:
    """Check both sets, draw the sheets, and write the page."""
    rival = _rival()
    with tempfile.TemporaryDirectory() as folder:
        contexts = {
            name: _context(page.real_data() / "emotion" / file, Path(folder, name))
            for name, file in SETS.items()
        }
        first = contexts["AffectNet"]
        parts = [
            "What `stages/check` finds in real photos of faces, and how fast "
            "([0017](../decisions/0017-near-duplicates.md)).",
            "## Speed",
            *_speed(first, rival, Path(folder)),
            *_command(page.real_data() / "emotion" / SETS["AffectNet"], len(first.samples)),
            "## Duplicates",
            page.table([_copied(name, each) for name, each in contexts.items()]),
            *_steps(first),
            *check_pairs.judged(contexts),
            "## Spurious correlation",
            *_spurious(first),
        ]
    page.write("check", "Duplicates and spurious correlations", parts)


def _rival() -> ModuleType:
    """The module imagehash; scipy, which its phash needs, is there with scikit-learn."""
    folder = CACHE / "imagehash-4.3.2"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            wanted, made = Path(scratch, "imagehash.txt"), Path(scratch, "made")
            wanted.write_text(RIVAL)
            command = ["uv", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
            command += ["--python", sys.executable, "--target", str(made), "-r", str(wanted)]
            path = os.pathsep.join([str(Path(sys.prefix, "bin")), os.environ.get("PATH", "")])
            done = subprocess.run(command, env={**os.environ, "PATH": path}, check=False)
            if done.returncode:
                sys.exit("imagehash cannot be installed; this needs uv and a package registry.")
            made.rename(folder)
    sys.path.append(str(folder))
    import imagehash  # type: ignore[import-not-found,unused-ignore]

    module: ModuleType = imagehash
    return module


def _context(archive: Path, folder: Path) -> CheckContext:
    with ZipFile(archive) as opened:
        opened.extractall(folder)
    task = tasks.load("emotion")
    return build_context(task, folder, task.training.Params(), folder / "cache")


def _paths(context: CheckContext) -> list[Path]:
    return [sample.image_path for sample in context.samples if sample.image_path]


def _speed(context: CheckContext, rival: ModuleType, folder: Path) -> list[str]:
    paths, seen, cores = _paths(context), _stats(context), cpus.available_cpus()
    digests = [sample.digest for sample in context.samples]
    task = context.task
    raw, store = folder / "AffectNet", Store(folder / "store")
    with sources.open_source(str(raw), folder / "cache") as opened:
        version = store.add(opened.items, opened.name)

    def unpack() -> None:
        with store.unpacked(version):
            pass

    looked = f"image statistics, {cores} processes"
    ways: dict[str, Way] = {
        "image statistics, one process": lambda: compute_image_stats(
            paths, task.inference.min_side, workers=1
        ),
        f"image statistics, {cores} threads": lambda: _by_threads(
            paths, task.inference.min_side, cores
        ),
        "unpack and delete again": unpack,
        "inspect": lambda: task.data.inspect(raw, task.training.Params(), folder / "cache"),
        looked: lambda: compute_image_stats(paths, task.inference.min_side, workers=cores),
        "duplicates": lambda: (
            similarity.exact_duplicates(digests),
            similarity.near_duplicate_images(seen),
        ),
        "metadata baseline": lambda: _baseline(context),
    }
    spent = _turns(ways, ROUNDS)
    wall = {name: min(each[0] for each in times) for name, times in spent.items()}
    cpu = {name: float(np.median([each[1] for each in times])) for name, times in spent.items()}
    each = ["unpack and delete again", "inspect", looked, "duplicates", "metadata baseline"]
    for total in (wall, cpu):
        total[f"all of it, {cores} processes"] = sum(total[name] for name in each)
    rows = [
        {
            "part": name,
            "CPU us per image": f"{1e6 * cpu[name] / len(paths):.0f}",
            "images per second": f"{len(paths) / wall[name]:,.0f}",
        }
        for name in wall
    ]
    return [
        f"{len(paths):,} images of 96 x 96 in {ROUNDS} rounds in which all parts take turns: "
        "median CPU time, worker processes and their start included, and the best wall time, with "
        f"files {_kept()}. The load of the machine was {os.getloadavg()[0]:.1f}, this bench "
        "included.",
        page.table(rows),
        *_hashing(context, rival),
    ]


def _command(archive: Path, count: int) -> list[str]:
    """The whole command, from the start of its process to its end, beside unpacking by zipfile."""
    spent: dict[str, list[float]] = {}
    # A file system may be slow to use again what was just deleted: nothing is until the end.
    with tempfile.TemporaryDirectory(prefix="mien-check-") as folder:
        for number in range(ROUNDS):
            home = Path(folder, str(number))
            checked = home / "data" / "checked"
            first = ["data", "check", "emotion", "--source", str(archive)]
            again = [*first[:-1], "@"]
            environment = {**os.environ, "MIEN_HOME": str(home)}
            for name, words in (("first, with the import of the zip", first), ("again", again)):
                start = time.perf_counter()
                command = [sys.executable, "-m", "mien.cli", *words]
                done = subprocess.run(command, env=environment, check=False, capture_output=True)
                if not list(
                    checked.rglob("report.html")
                ):  # the set fails checks: the command ends with 1
                    sys.exit(done.stderr.decode())
                spent.setdefault(name, []).append(time.perf_counter() - start)
                if name != "again":
                    checked.rename(home / "set aside")
            start = time.perf_counter()
            with ZipFile(archive) as opened:
                opened.extractall(home / "unpacked")
            spent.setdefault("ZipFile.extractall alone", []).append(time.perf_counter() - start)
    rows = [
        {
            "`mien data check emotion`": name,
            "seconds": f"{min(times):.2f}",
            "images per second": f"{count / min(times):,.0f}",
        }
        for name, times in spent.items()
    ]
    return [
        f"The whole command on the same images, the best of {ROUNDS}, with "
        f"files {_kept()}. Beyond the parts above it includes, for any number of images: the "
        f"start of Python, faces counted in {MAX_COUNTED_IMAGES} images, and the report. It does "
        f"not import scikit-learn, which takes {_imported('sklearn.tree'):.1f} s in a process of "
        f"its own (numpy alone {_imported('numpy'):.1f} s).",
        page.table(rows),
    ]


def _by_threads(paths: Sequence[Path], min_side: int | None, count: int) -> list[ImageStats]:
    """What `compute_image_stats` would be with threads."""
    chunks = [
        paths[start : start + image_stats.CHUNK_SIZE]
        for start in range(0, len(paths), image_stats.CHUNK_SIZE)
    ]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda chunk: statistics.measure(chunk, min_side), chunks))


def _hashing(context: CheckContext, rival: ModuleType) -> list[str]:
    pixels = [images.decode(path.read_bytes()) for path in _paths(context)[:HASHED]]
    photos = [Image.fromarray(each) for each in pixels]
    size, brightness = np.zeros((HASHED, 2), np.int64), np.zeros(HASHED)

    def own() -> ImageStats:
        small = np.stack([statistics.shrink(each) for each in photos])
        return statistics.from_pixels(small, size, brightness, [""] * len(pixels))

    ways: dict[str, Way] = {
        "own: hash, thumbnail and mean colour": own,
        "imagehash.phash": lambda: [rival.phash(photo) for photo in photos],
        "imagehash.dhash": lambda: [rival.dhash(photo) for photo in photos],
    }
    spent = _turns(ways, 2 * ROUNDS)
    cpu = {name: float(np.median([each[1] for each in times])) for name, times in spent.items()}
    least = min(cpu.values())
    rows = [
        {
            "of a decoded image": name,
            "CPU us": f"{1e6 * seconds / len(photos):.0f}",
            "times the least": f"{seconds / least:.2f}",
        }
        for name, seconds in cpu.items()
    ]
    theirs = np.stack([rival.phash(photo).hash.ravel() for photo in photos])
    packed = np.packbits(theirs, axis=1).view(np.uint64)[:, 0]
    differ = float(np.bitwise_count(own().phash ^ packed).mean())
    return [
        page.table(rows),
        f"The two perceptual hashes differ in {differ:.1f} of 64 bits: they reduce images in "
        "different ways.",
    ]


def _turns(ways: Mapping[str, Way], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds for each way, in turns; the first round does not count."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start, used = time.perf_counter(), sum(os.times()[:4])
            way()
            if number:
                spent[name].append((time.perf_counter() - start, sum(os.times()[:4]) - used))
    return spent


def _copied(name: str, context: CheckContext) -> dict[str, object]:
    samples = context.samples
    leaks = train_leakage(context)
    measured = sum(sample.split in ("val", "test") for sample in samples)
    near = sum(len(cluster) for cluster in context.near_duplicates)
    return {
        "set": name,
        "images": f"{len(samples):,}",
        "exact groups": len(context.duplicates),
        "across splits": sum(_across(samples, group) for group in context.duplicates),
        "near clusters": len(context.near_duplicates),
        "images in them": f"{near} ({near / len(samples):.1%})",
        "valid and test also in train": f"{sum(map(len, leaks.values())) / measured:.1%}",
        "exact groups with two labels": sum(_at_odds(samples, each) for each in context.duplicates),
        "near clusters with two labels": sum(
            _at_odds(samples, each) for each in context.near_duplicates
        ),
        "unreadable": int((~_stats(context).readable).sum()),
    }


def _steps(context: CheckContext) -> list[str]:
    """How many pairs each of the two steps leaves."""
    seen = _stats(context)
    apart = np.arange(len(seen))
    pairs = list(similarity._candidates(seen.phash, similarity.MAX_HASH_DISTANCE, lambda: apart))
    one, two = (np.concatenate([each[side] for each in pairs]) for side in (0, 1))
    bits = np.bitwise_count(seen.phash[one] ^ seen.phash[two])
    likeness = similarity._correlation(similarity._details(seen.thumbnail)[0], one, two)
    rows = [
        {
            "bits that differ, at most": radius,
            "pairs": int((bits <= radius).sum()),
            "near duplicates by their thumbnails": int(
                (likeness[bits <= radius] >= similarity.NEAR_DUPLICATE_CORRELATION).sum()
            ),
        }
        for radius in range(0, similarity.MAX_HASH_DISTANCE + 1, 4)
    ]
    return ["AffectNet, pairs by the hash alone and by both steps:", page.table(rows), _scale()]


def _scale() -> str:
    """What 30,000 pictures and rows without a copy take."""
    rng, count = np.random.default_rng(0), 30_000
    drawn = ImageStats(
        readable=np.ones(count, dtype=bool),
        size=np.full((count, 2), 96),
        mean_rgb=rng.random((count, 3)) * 255,
        phash=rng.integers(0, 2**64, count, dtype=np.uint64),
        thumbnail=rng.integers(0, 256, (count, THUMBNAIL_SIDE, THUMBNAIL_SIDE), dtype=np.uint8),
        brightness=np.ones(count),
        errors=("",) * count,
    )
    rows = rng.normal(size=(count, 63))
    spent = _turns(
        {
            "near": lambda: similarity.near_duplicate_images(drawn),
            "rows": lambda: similarity.near_duplicate_rows(rows),
        },
        ROUNDS,
    )
    cpu = {name: float(np.median([each[1] for each in times])) for name, times in spent.items()}
    return (
        f"Of {count:,} random images, `near_duplicate_images` takes {cpu['near']:.1f} s of CPU "
        f"time; of as many rows of 63 numbers, `near_duplicate_rows` {cpu['rows']:.1f} s."
    )


def _across(samples: Sequence[Sample], group: Sequence[int]) -> bool:
    return len({samples[place].split for place in group}) > 1


def _at_odds(samples: Sequence[Sample], group: Sequence[int]) -> bool:
    return len({samples[place].labels[:1] for place in group}) > 1


def _spurious(context: CheckContext) -> list[str]:
    baseline = _baseline(context)
    assert baseline is not None
    labels = Counter(sample.labels[0] for sample in context.samples if sample.labels)
    rows = [
        {"predicted from": name, "accuracy": f"{share:.1%}"}
        for name, share in (
            ("all metadata", baseline.accuracy),
            *baseline.by_feature,
            ("all metadata, labels shuffled", baseline.chance),
            ("the most common label", baseline.majority),
        )
    ]
    return [
        f"AffectNet, {len(labels)} labels, by a small tree on samples that it was not fitted on.",
        page.table(rows),
    ]


def _kept() -> str:
    """Where temporary files lie: the cost of a file depends on it (TMPDIR sets it)."""
    return "in memory" if tempfile.gettempdir().startswith("/dev/shm") else "on disk"


def _imported(name: str) -> float:
    """Seconds until a new process has imported a module, the best of some."""
    spent = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
        spent.append(time.perf_counter() - start)
    return min(spent)


def _stats(context: CheckContext) -> ImageStats:
    assert context.image_stats is not None
    return context.image_stats


def _baseline(context: CheckContext) -> MetadataBaseline | None:
    """Measured again at each call."""
    vars(context).pop("metadata_baseline", None)
    return context.metadata_baseline


if __name__ == "__main__":
    main()
