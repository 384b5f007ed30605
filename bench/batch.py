"""The speed of `mien batch` and its engines, its memory, and the gain of hand tracking.

The raw limit reads, decodes and predicts on all cores and stores nothing: as many threads, or
processes, as cores. All ways alternate on the same files, and ratios are taken within a round,
because the same code runs up to twice as fast in one second as in the next. The models are the
champions of the workspace (`MIEN_HOME`).
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from bench import engines, page
from mien import config, tasks
from mien.mediapipe import palm_detector
from mien.model import cpus, runtime
from mien.model.runtime import Model
from mien.stages import batch as stage
from mien.storage.workspace import Workspace
from mien.task import Request, Task
from mien.tasks.gesture import TASK

FACES, PHOTOS, ROUNDS = 400, 50, 5
FEW, MANY = 1000, 10_000
ENGINE_FILES = 5000
FRAMES, VIDEOS = 30, 12
BATCH, THREADS, PROCESSES = "mien batch", "raw, threads", "raw, processes"


def main() -> None:
    """Measure speed, then memory, then sequences."""
    home, cores = Workspace(config.settings().home), cpus.available_cpus()
    with tempfile.TemporaryDirectory() as scratch:
        faces, photos = Path(scratch, "faces"), Path(scratch, "photos")
        _faces(faces)
        _photos(photos)
        rows = [
            _speed("emotion", "96-pixel faces", faces, home, Path(scratch), cores),
            _speed("gesture", "photos, 512 pixels", photos, home, Path(scratch), cores),
        ]
        sizes = _memory(faces, home, Path(scratch))
        several = Path(scratch, "several")
        _linked(faces, several, ENGINE_FILES)
        with _champion("emotion", home) as (_, model):
            bundle = model.bundle.folder
        by_engine = engines.rows(several, bundle, Path(scratch), cores, ROUNDS)
    followed = _followed(home)
    parts = [
        f"Files per second with {cores} cores, medians of {ROUNDS} rounds; the ratio is the median "
        "over rounds, relative to the faster of the two raw ways. In addition to these, `mien "
        "batch` keeps the order, writes parts to disk and joins them. Loading the model and "
        "listing the files are not part of the speed; they are part of the CPU time, on which "
        "other load of the machine has less effect.",
        page.table(rows),
        "## Engines",
        f"96-pixel faces with {cores} cores, medians of {ROUNDS} rounds; the ratio is the median "
        "over rounds. Shards are as many processes as cores, with one thread each. Loading the "
        "model, listing the files and the start of Ray are not part of the speed; the start of Ray "
        "and of its workers is in the last column.",
        page.table(by_engine),
        "## Memory",
        "Peak resident memory of `mien batch` on 96-pixel faces, in MB.",
        page.table(sizes),
        "## Hand tracking",
        f"{VIDEOS} videos of {FRAMES} frames each, made from photos that show a gesture by moving, "
        "turning and scaling the picture slowly; each frame predicted independently and, in "
        "alternation, with `--sequence`. CPU time is that of the prediction, without decoding. "
        "Correct is the gesture that the photo shows.",
        page.table([followed]),
    ]
    page.write("batch", "Batches", parts)


def _speed(
    name: str, what: str, folder: Path, home: Workspace, scratch: Path, cores: int
) -> dict[str, object]:
    files = sorted(folder.iterdir())
    out = scratch / "speed.parquet"
    rates: dict[str, list[float]] = {BATCH: [], THREADS: [], PROCESSES: []}
    spent: dict[str, list[float]] = {way: [] for way in rates}
    with _champion(name, home) as (task, model), _workers(name, home, files, cores) as everyone:

        def batch() -> float:
            done = stage.batch(folder, out, home, bundle=model.bundle.folder, force=True)
            return done.seconds

        ways: dict[str, Callable[[], float]] = {
            THREADS: lambda: _timed(lambda: _threads(task, model, files, cores)),
            BATCH: batch,
            PROCESSES: lambda: _timed(everyone),
        }
        for way in ways.values():
            way()
        for turn in range(ROUNDS):
            order = list(ways) if turn % 2 else list(reversed(ways))
            for way in order:
                start = time.process_time()
                rates[way].append(len(files) / ways[way]())
                spent[way].append((time.process_time() - start) / len(files) * 1e3)
    limit = max((THREADS, PROCESSES), key=lambda way: median(rates[way]))
    shares = [own / raw for own, raw in zip(rates[BATCH], rates[limit], strict=True)]
    return {
        "files": f"{len(files)} {what}",
        "task": name,
        **{f"{way}, files/s": f"{median(found):.1f}" for way, found in rates.items()},
        "mien batch / raw limit": f"{median(shares):.2f}",
        "CPU ms per file, raw threads": f"{median(spent[THREADS]):.2f}",
        "mien batch": f"{median(spent[BATCH]):.2f}",
    }


def _memory(faces: Path, home: Workspace, scratch: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for count in (FEW, MANY):
        folder = scratch / str(count)
        _linked(faces, folder, count)
        command = [sys.executable, "-m", "mien.cli", "batch", str(folder), "--task", "emotion"]
        command += ["--out", str(scratch / f"{count}.parquet"), "--home", str(home.home.resolve())]
        most = 0.0
        with subprocess.Popen(
            command, cwd=page.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            while running.poll() is None:
                most = _most_resident(running.pid) or most
                time.sleep(0.05)
        if running.returncode:
            sys.exit(f"this failed: {' '.join(command)}")
        rows.append({"files": count, "MB": f"{most:.0f}"})
    return rows


def _linked(faces: Path, folder: Path, count: int) -> None:
    """Fill a folder with so many faces, again and again the same ones."""
    some = sorted(faces.iterdir())
    for number in range(count):
        link = folder / str(number // 1000) / f"{number}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(some[number % len(some)], link)


def _most_resident(process: int) -> float | None:
    """MB; the figure of `wait4` would count the memory of this bench, which started the process."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")), None)


def _followed(home: Workspace) -> dict[str, object]:
    looks = 0
    look = palm_detector.preprocess

    def counted(pixels: Any) -> Any:
        nonlocal looks
        looks += 1
        return look(pixels)

    photos = [path for path in _gestures() if path.parent.name != "no_gesture"]
    rows_by_way: dict[str, list[tuple[str, str, float, int]]] = {"alone": [], "followed": []}
    palm_detector.preprocess = counted
    with _champion("gesture", home) as (_, model):
        for path in photos[:: len(photos) // VIDEOS][:VIDEOS]:
            ways = {
                "alone": lambda request: TASK.inference.predict(request, model),
                "followed": stage.frame_predictor(TASK, model),
            }
            for frame in _video(path):
                for way, answer in ways.items():
                    before, start = looks, time.process_time()
                    best = answer(Request(image=frame)).best
                    spent = time.process_time() - start
                    rows_by_way[way].append(
                        (best.label if best else "", path.parent.name, spent, looks - before)
                    )
    palm_detector.preprocess = look
    alone, followed = rows_by_way["alone"], rows_by_way["followed"]
    seconds = [sum(each[2] for each in way) for way in (alone, followed)]
    pairs = list(zip(alone, followed, strict=True))
    return {
        "frames": len(alone),
        "palm detector runs, single frames": sum(each[3] for each in alone),
        "palm detector runs, tracked": sum(each[3] for each in followed),
        "CPU time, single / tracked": f"{seconds[0] / seconds[1]:.2f}",
        "same prediction": f"{np.mean([one[0] == two[0] for one, two in pairs]):.1%}",
        "same if the single frame is correct": (
            f"{np.mean([one[0] == two[0] for one, two in pairs if one[0] == one[1]]):.1%}"
        ),
        "accuracy, single frames": f"{np.mean([each[0] == each[1] for each in alone]):.1%}",
        "accuracy, tracked": f"{np.mean([each[0] == each[1] for each in followed]):.1%}",
    }


def _video(path: Path) -> Iterator[Any]:
    """A photo as by a camera that turns, moves and comes nearer, slowly."""
    picture = Image.open(path).convert("RGB")
    middle = np.array(picture.size) / 2
    for place in np.linspace(0, 2 * np.pi, FRAMES):
        angle, scale = np.radians(10) * np.sin(place), 1 + 0.1 * np.sin(2 * place)
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        turn = np.array([[cos, sin], [-sin, cos]])
        start = middle - turn @ (middle * (1 + 0.1 * np.array([np.sin(place), np.cos(place)])))
        data = (*turn[0], start[0], *turn[1], start[1])
        yield np.asarray(
            picture.transform(picture.size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        )


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _loop(task: Task[Any], model: Model, files: Sequence[Path]) -> None:
    for path in files:
        task.inference.predict(task.inference.read(path.read_bytes()), model)


def _threads(task: Task[Any], model: Model, files: Sequence[Path], cores: int) -> None:
    threads = [
        threading.Thread(target=_loop, args=(task, model, files[place::cores]))
        for place in range(cores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def _workers(
    name: str, home: Workspace, files: Sequence[Path], cores: int
) -> Iterator[Callable[[], None]]:
    """Processes that have opened the model; called, each takes its share of the files."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for place in range(cores):
        own, other = context.Pipe()
        context.Process(
            target=_worker, args=(name, home.home, files[place::cores], other), daemon=True
        ).start()
        other.close()
        own.recv()
        pipes.append(own)

    def everyone() -> None:
        for pipe in pipes:
            pipe.send(True)
        for pipe in pipes:
            pipe.recv()

    yield everyone
    for pipe in pipes:
        pipe.send(False)


def _worker(name: str, home: Path, files: Sequence[Path], pipe: Connection) -> None:
    with _champion(name, Workspace(home)) as (task, model):
        _loop(task, model, files[:2])
        pipe.send(True)
        while pipe.recv():
            _loop(task, model, files)
            pipe.send(True)


@contextmanager
def _champion(name: str, home: Workspace) -> Iterator[tuple[Task[Any], Model]]:
    number = home.aliases(name).get("champion")
    if number is None:
        sys.exit(f"This bench needs a champion of {name} in {home.home}: run `mien demo` there.")
    with runtime.load(home.version(name, number)) as model:
        yield tasks.load(name), model


def _faces(folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(page.real_data() / "emotion" / "affectnet_yolo.zip") as archive:
        names = [each for each in archive.namelist() if "/test/images/" in each]
        for name in [each for each in names if not each.endswith("/")][:FACES]:
            (folder / Path(name).name).write_bytes(archive.read(name))


def _photos(folder: Path) -> None:
    folder.mkdir()
    found = _gestures()
    for path in found[:: len(found) // PHOTOS][:PHOTOS]:
        (folder / path.name).write_bytes(path.read_bytes())


def _gestures() -> list[Path]:
    return sorted((page.real_data() / "gesture" / "photos").rglob("*.*"))


if __name__ == "__main__":
    main()
