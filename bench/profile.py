"""Which functions a training and a server spend their time in, by samples of their stacks.

    python3 tasks.py profile

py-spy reads the stacks of another process fifty times a second and does not slow it down much.
Shares do not depend on the speed of the machine; threads that wait are not counted.
"""

import io
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import mien
from bench import page
from mien import config, tasks
from mien.stages.monitor.web import HttpClient, form
from mien.storage.workspace import Workspace

RATE = 50
SERVE_S = 20.0
SHOWN = 16
CONFIG = "quick_gesture"
CLIENT = "_serve (bench/profile.py"
"""The thread that starts the server and is its client; not counted."""
Stack = tuple[str, ...]
"""Frames such as `run (mien/pipeline.py:49)`, the outermost first."""


@dataclass(frozen=True)
class Profile:
    """Samples of a process: how many there are of each stack."""

    stacks: Counter[Stack]

    @property
    def samples(self) -> int:
        return self.stacks.total()

    def functions(self) -> list[tuple[str, float]]:
        """The functions of mien by the share of samples that they, or what they call, are in."""
        counts = Counter[str]()
        for stack, count in self.stacks.items():
            for name in {_without_line(frame) for frame in stack if _is_function(frame)}:
                counts[name] += count
        return [(name, count / self.samples) for name, count in counts.most_common()]

    def packages(self) -> list[tuple[str, float]]:
        """The packages by the share of samples whose innermost frame of a package is theirs."""
        counts = Counter[str]()
        for stack, count in self.stacks.items():
            counts[_package(stack[-1])] += count
        return [(name, count / self.samples) for name, count in counts.most_common()]


def parse(text: str, ignored: str = CLIENT) -> Profile:
    """Read stacks as py-spy writes them (`outer;inner 3`), without those of the client."""
    stacks = Counter[Stack]()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if ignored not in frames:
            stacks[tuple(frames.split(";"))] += int(count)
    return Profile(stacks)


def _is_function(frame: str) -> bool:
    """Of mien, and neither a module nor a lambda."""
    return "(mien/" in frame and "<" not in frame


def _without_line(frame: str) -> str:
    """`run (mien/pipeline.py:49)` -> `mien/pipeline.py run`."""
    name, _, place = frame.rpartition(" (")
    return f"{place.partition(':')[0]} {name}"


def _package(frame: str) -> str:
    place = frame.rpartition(" (")[2]
    return place.partition("/")[0] if "/" in place else "Python itself"


def main(arguments: Sequence[str]) -> None:
    """Profile both, and write the page; with a name, be the process that is profiled."""
    if arguments:
        name, home = arguments
        WORK[name](Path(home))
        Path(home, name).touch()
        return
    with tempfile.TemporaryDirectory() as folder:
        parts = [_HOW, *_part("Training", "training", folder), *_part("Serving", "serving", folder)]
    page.write("profile", "Where the time goes", parts)


_HOW = f"""The training is `mien run {CONFIG}`. The server answers a picture of a hand, one request
after the other, for {SERVE_S:g} s. A function's share counts what it calls, so shares do not add
up; imports count."""


def _part(title: str, name: str, home: str) -> list[str]:
    with tempfile.NamedTemporaryFile() as file:
        work = (sys.executable, "-m", "bench.profile", name, home)
        spy = (Path(sys.executable).with_name("py-spy"), "record", "--rate", str(RATE))
        subprocess.run([*spy, "--format", "raw", "-o", file.name, "--", *work], check=True)
        if not Path(home, name).exists():  # py-spy exits with 0 even where the program failed
            sys.exit(f"profile: expected the {name} to end, found an error; it is above.")
        profile = parse(Path(file.name).read_text(encoding="utf-8"))
    return [
        f"## {title}",
        f"{profile.samples:,} samples.",
        _table("function", profile.functions()),
        _table("innermost frame in", profile.packages()),
    ]


def _table(title: str, shares: Iterable[tuple[str, float]]) -> str:
    rows = [{title: name, "share": f"{share:.1%}"} for name, share in list(shares)[:SHOWN]]
    return page.table(rows)


def _train(home: Path) -> None:
    mien.run(CONFIG, home=home, force="profiled with uncommitted code")


def _serve(home: Path) -> None:
    """Serve in this process, and send requests from its main thread."""
    from mien.stages.serve import app

    settings = config.settings().model_copy(
        update={"port": 0, "prediction_log": home / "predictions.db"}
    )
    file = io.BytesIO()
    tasks.load("gesture").inference.sample_picture().convert("RGB").save(file, "JPEG")
    body, kind = form(file.getvalue())
    with app.running(Workspace(home), ["gesture"], [], settings) as address:
        client, end = HttpClient(address), monotonic() + SERVE_S
        while monotonic() < end:
            client.post("/predict/gesture", body, kind)


WORK: dict[str, Callable[[Path], None]] = {"training": _train, "serving": _serve}

if __name__ == "__main__":
    main(sys.argv[1:])
