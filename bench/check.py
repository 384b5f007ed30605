"""What the gates stage finds in real photos of faces, how fast, and how often it is right.

The looks, copies and shortcuts of `stages/check` on two real data sets, next to `imagehash`, which
is not among the locked packages and is fetched by its hash into the cache folder. Pairs that are
said to be near copies are drawn as contact sheets below the workspace, to be judged by eye: they
show people and belong into no page.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import numpy as np
from PIL import Image, ImageDraw

from bench import page
from mien import config, images, tasks
from mien.model import runtime
from mien.stages.check import copies, looks, material
from mien.stages.check.looks import Looks
from mien.stages.check.material import Material
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
JUDGED = {"AffectNet": (96, 95, 96), "muxspace": (8, 0, 8)}
"""Pairs of the contact sheets that somebody looked at; those that show one photo twice; those that
show one person in one scene, if not at the same moment."""
_SIDE = 110
Way = Callable[[], object]


def main() -> None:
    """Look at both sets, write the sheets, and the page of what was found in the first."""
    rival = _rival()
    with tempfile.TemporaryDirectory() as folder:
        held = {
            name: _held(page.real_data() / "emotion" / file, Path(folder, name))
            for name, file in SETS.items()
        }
        first = held["AffectNet"]
        parts = [
            "What `stages/check` finds in real photos of faces, and how fast "
            "([0017](../decisions/0017-finding-copies.md)).",
            "## Speed",
            *_speed(first, rival, Path(folder)),
            *_command(page.real_data() / "emotion" / SETS["AffectNet"], len(first.samples)),
            "## Copies",
            page.table([_copied(name, each) for name, each in held.items()]),
            *_steps(first),
            *_judged(held),
            "## Shortcuts",
            *_shortcuts(first),
        ]
    page.write("check", "Copies and shortcuts", parts)


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


def _held(archive: Path, folder: Path) -> Material:
    with ZipFile(archive) as opened:
        opened.extractall(folder)
    task = tasks.load("emotion")
    return material.gather(task, folder, task.training.Params(), folder / "cache")


def _paths(held: Material) -> list[Path]:
    return [sample.picture for sample in held.samples if sample.picture]


def _speed(held: Material, rival: ModuleType, folder: Path) -> list[str]:
    paths, seen, cores = _paths(held), _seen(held), runtime.available_cpus()
    digests = [sample.digest for sample in held.samples]
    task = held.task
    raw, store = folder / "AffectNet", Store(folder / "store")
    with sources.opened(str(raw), folder / "cache") as opened:
        version = store.add(opened.items, opened.name)

    def unpack() -> None:
        with store.unpacked(version):
            pass

    looked = f"look, {cores} processes"
    ways: dict[str, Way] = {
        "look, one process": lambda: looks.look(paths, task.inference.min_side, workers=1),
        f"look, {cores} threads": lambda: _by_threads(paths, task.inference.min_side, cores),
        "unpack and delete again": unpack,
        "survey": lambda: task.data.inspect(raw, task.training.Params(), folder / "cache"),
        looked: lambda: looks.look(paths, task.inference.min_side, workers=cores),
        "copies": lambda: (copies.exact(digests), copies.near(seen)),
        "shortcuts": lambda: material.shortcut(held),
    }
    spent = _turns(ways, ROUNDS)
    wall = {name: min(each[0] for each in times) for name, times in spent.items()}
    cpu = {name: float(np.median([each[1] for each in times])) for name, times in spent.items()}
    each = ["unpack and delete again", "survey", looked, "copies", "shortcuts"]
    for total in (wall, cpu):
        total[f"all of it, {cores} processes"] = sum(total[name] for name in each)
    rows = [
        {
            "part": name,
            "CPU us a picture": f"{1e6 * cpu[name] / len(paths):.0f}",
            "pictures a second": f"{len(paths) / wall[name]:,.0f}",
        }
        for name in wall
    ]
    return [
        f"{len(paths):,} pictures of 96 x 96 in {ROUNDS} rounds in which all take turns: median of "
        "CPU time, that of processes and of their start included, and the best wall time, with "
        f"files {_kept()}. The machine's load was {os.getloadavg()[0]:.1f}, this bench "
        "included.",
        page.table(rows),
        *_hashing(held, rival),
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
                if not list(checked.rglob("report.html")):  # the set fails gates: it ends with 1
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
            "pictures a second": f"{count / min(times):,.0f}",
        }
        for name, times in spent.items()
    ]
    return [
        f"The whole command on the same pictures, the best of {ROUNDS}, with "
        f"files {_kept()}. To the parts above come, whatever the number of pictures: the "
        f"start of Python, faces counted in {material.ASKED} pictures, the import of scikit-learn "
        f"({_imported('sklearn.tree'):.1f} s in a process of its own; numpy alone "
        f"{_imported('numpy'):.1f} s), that of matplotlib, and the report.",
        page.table(rows),
    ]


def _by_threads(paths: Sequence[Path], min_side: int | None, count: int) -> list[Looks]:
    """What `look` might do in threads."""
    pieces = [paths[start : start + looks.PIECE] for start in range(0, len(paths), looks.PIECE)]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda piece: looks._looked_here(piece, min_side), pieces))


def _hashing(held: Material, rival: ModuleType) -> list[str]:
    pixels = [images.decode(path.read_bytes()) for path in _paths(held)[:HASHED]]
    photos = [Image.fromarray(each) for each in pixels]
    size, measured = np.zeros((HASHED, 2), np.int64), np.zeros((HASHED, 2))

    def own() -> Looks:
        small = np.stack([looks._squeezed(each) for each in pixels])
        return looks._of(small, size, measured, [""] * len(pixels))

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
            "of a decoded picture": name,
            "CPU us": f"{1e6 * seconds / len(photos):.0f}",
            "times the least": f"{seconds / least:.2f}",
        }
        for name, seconds in cpu.items()
    ]
    theirs = np.stack([rival.phash(photo).hash.ravel() for photo in photos])
    packed = np.packbits(theirs, axis=1).view(np.uint64)[:, 0]
    differ = float(np.bitwise_count(own().hash ^ packed).mean())
    return [
        page.table(rows),
        f"The two perceptual hashes differ in {differ:.1f} of 64 bits: they scale pictures down "
        "in different ways.",
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


def _copied(name: str, held: Material) -> dict[str, object]:
    samples = held.samples
    leaks = material.leaks(held)
    measured = sum(sample.split in ("val", "test") for sample in samples)
    near = sum(len(cluster) for cluster in held.near)
    return {
        "set": name,
        "pictures": f"{len(samples):,}",
        "exact groups": len(held.exact),
        "across splits": sum(_across(samples, group) for group in held.exact),
        "near clusters": len(held.near),
        "pictures in them": f"{near} ({near / len(samples):.1%})",
        "valid and test also in train": f"{sum(map(len, leaks.values())) / measured:.1%}",
        "exact groups with two labels": sum(_at_odds(samples, each) for each in held.exact),
        "near clusters with two labels": sum(_at_odds(samples, each) for each in held.near),
        "unreadable": int((~_seen(held).readable).sum()),
    }


def _steps(held: Material) -> list[str]:
    """How many pairs each of the two steps leaves."""
    seen = _seen(held)
    apart = np.arange(len(seen))
    pairs = list(copies._candidates(seen.hash, copies.RADIUS, lambda: apart))
    one, two = (np.concatenate([each[side] for each in pairs]) for side in (0, 1))
    bits = np.bitwise_count(seen.hash[one] ^ seen.hash[two])
    likeness = copies._likeness(copies._details(seen.thumb)[0], one, two)
    rows = [
        {
            "bits that differ, at most": radius,
            "pairs": int((bits <= radius).sum()),
            "copies by their thumbnails": int((likeness[bits <= radius] >= copies.ALIKE).sum()),
        }
        for radius in range(0, copies.RADIUS + 1, 4)
    ]
    return ["AffectNet, pairs by the hash alone and by both steps:", page.table(rows), _scale()]


def _scale() -> str:
    """What 30,000 pictures and rows without a copy take."""
    rng, count = np.random.default_rng(0), 30_000
    drawn = Looks(
        readable=np.ones(count, dtype=bool),
        size=np.full((count, 2), 96),
        colour=rng.random((count, 3)) * 255,
        hash=rng.integers(0, 2**64, count, dtype=np.uint64),
        thumb=rng.integers(0, 256, (count, looks.THUMB, looks.THUMB), dtype=np.uint8),
        brightness=np.ones(count),
        sharpness=np.ones(count),
        why=("",) * count,
    )
    rows = rng.normal(size=(count, 63))
    spent = _turns(
        {"near": lambda: copies.near(drawn), "rows": lambda: copies.near_rows(rows)}, ROUNDS
    )
    cpu = {name: float(np.median([each[1] for each in times])) for name, times in spent.items()}
    return (
        f"Of {count:,} random pictures, `near` takes {cpu['near']:.1f} s of CPU time; of as many "
        f"rows of 63 numbers, `near_rows` {cpu['rows']:.1f} s."
    )


def _across(samples: Sequence[Sample], group: Sequence[int]) -> bool:
    return len({samples[place].split for place in group}) > 1


def _at_odds(samples: Sequence[Sample], group: Sequence[int]) -> bool:
    return len({samples[place].labels[:1] for place in group}) > 1


def _judged(held: Mapping[str, Material]) -> Iterator[str]:
    for name, each in held.items():
        drawn, there = _sheet(name, each)
        seen, right, scene = JUDGED[name]
        told = (
            "" if drawn == seen else f" (now {drawn} would be drawn; these are of an earlier run)"
        )
        yield (
            f"{name}: of {there} pairs in clusters that are not equal byte for byte, {seen}, one "
            f"at random of each cluster, were judged by eye{told}: {right} show one photo twice, "
            f"{scene} at least one person in one scene. The limits were chosen on "
            f"{'this set' if name == 'AffectNet' else 'the other set; many here are from films'}."
        )


def _sheet(name: str, held: Material) -> tuple[int, int]:
    """Draw a pair of each cluster below the workspace; how many are drawn, of how many."""
    samples, rng = held.samples, np.random.default_rng(0)
    chosen, there = [], 0
    for cluster in held.near:
        pairs = [
            (one, two)
            for one, two in combinations(cluster, 2)
            if samples[one].digest != samples[two].digest
        ]
        there += len(pairs)
        if pairs:
            chosen.append(pairs[int(rng.integers(len(pairs)))])
    rows = -(-len(chosen) // 6)
    sheet = Image.new("RGB", (6 * (2 * _SIDE + 10), rows * (_SIDE + 16) or 1), "white")
    pen = ImageDraw.Draw(sheet)
    for number, pair in enumerate(chosen):
        left, top = number % 6 * (2 * _SIDE + 10), number // 6 * (_SIDE + 16)
        pen.text((left, top), str(number), fill="black")
        for place, sample in enumerate(samples[each] for each in pair):
            assert sample.picture is not None
            photo = Image.fromarray(images.decode(sample.picture.read_bytes()))
            sheet.paste(photo.resize((_SIDE, _SIDE)), (left + place * _SIDE, top + 14))
    path = config.settings().home / "reports" / "check" / f"pairs_{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    print(f"{len(chosen)} pairs to be looked at: {path}")
    return len(chosen), there


def _shortcuts(held: Material) -> list[str]:
    found = material.shortcut(held)
    assert found is not None
    labels = Counter(sample.labels[0] for sample in held.samples if sample.labels)
    rows = [
        {"guessed from": name, "right": f"{share:.1%}"}
        for name, share in (
            ("all facts", found.accuracy),
            *found.by_fact,
            ("all facts, labels dealt out anew", found.chance),
            ("the commonest label", found.majority),
        )
    ]
    return [
        f"AffectNet, {len(labels)} labels, by a small tree on samples that it has not seen.",
        page.table(rows),
    ]


def _kept() -> str:
    """Where temporary files lie: what a file costs hangs on that (TMPDIR chooses)."""
    return "in memory" if tempfile.gettempdir().startswith("/dev/shm") else "on disk"


def _imported(name: str) -> float:
    """Seconds until a new process has imported a module, the best of some."""
    spent = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
        spent.append(time.perf_counter() - start)
    return min(spent)


def _seen(held: Material) -> Looks:
    assert held.looks is not None
    return held.looks


if __name__ == "__main__":
    main()
