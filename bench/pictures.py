"""What large photos cost to read: the size of the file, CPU seconds, and peak memory.

`python3 tasks.py bench pictures` draws JPEGs of 12 to 200 megapixels with the noise of a sensor,
and reads each in a process of its own as the service does. Wall times would depend on what else
runs on the machine; CPU time hardly does, memory does not.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from bench import page
from mien import tasks
from mien.config import Settings

SIZES = {"12 MP": (4032, 3024), "50 MP": (8192, 6144), "108 MP": (12000, 9000)}
SIZES |= {"200 MP": (16320, 12240)}
TILE = 1024
NOISE_STD = 3.0
"""Standard deviation of the noise, in steps of 255."""
QUALITIES = (90, 97)
READ = """
import json, sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from mien import images
from mien.errors import MienError
from mien.model import runtime
runtime.tune_malloc()
warm, path, side = sys.argv[1:]
images.read(Path(warm).read_bytes(), min_side=int(side))
data = Path(path).read_bytes()
def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1000
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
resident, before = memory("VmRSS"), getrusage(RUSAGE_SELF)
try:
    images.read(data, min_side=int(side))
except MienError as error:
    print(json.dumps(str(error)))
else:
    after = getrusage(RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps([seconds, memory("VmHWM") - resident]))
"""


def main() -> None:
    """Draw, read, and write the page."""
    limit = Settings().max_upload_mb
    with tempfile.TemporaryDirectory() as folder:
        warm, path = Path(folder, "warm.jpg"), Path(folder, "photo.jpg")
        _photo((640, 480)).save(warm)
        rows = []
        for name, size in SIZES.items():
            photo = _photo(size)
            for progressive in (False, True):
                for quality in QUALITIES:
                    photo.save(path, quality=quality, progressive=progressive)
                    kind = "progressive" if progressive else "plain"
                    rows.append(_row(f"{name}, {kind}, quality {quality}", warm, path, limit))
    introduction = (
        f"JPEGs with noise ({NOISE_STD:g} of 255), read as the service reads them, each in its "
        "own process: CPU seconds, and memory in MB without the file. The limit on uploads "
        f"is {limit:g} MB (`MIEN_MAX_UPLOAD_MB`)."
    )
    page.write("pictures", "Photos of large sensors", [introduction, page.table(rows)])


def _photo(size: tuple[int, int]) -> Image.Image:
    """A smooth picture with noise, of which a tile is repeated."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(60, 196, (16, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((TILE, TILE), Image.Resampling.BICUBIC), dtype=float)
    tile = (smooth + rng.normal(0, NOISE_STD, smooth.shape)).clip(0, 255).astype(np.uint8)
    width, height = size
    tiled = np.tile(tile, (-(-height // TILE), -(-width // TILE), 1))[:height, :width]
    return Image.fromarray(np.ascontiguousarray(tiled))


def _row(name: str, warm: Path, path: Path, limit_mb: float) -> dict[str, object]:
    megabytes = path.stat().st_size / 1e6
    row: dict[str, object] = {"photo": name, "file, MB": f"{megabytes:.1f}"}
    row["below the limit on uploads"] = "yes" if megabytes <= limit_mb else "no"
    for task in map(tasks.load, tasks.names()):
        command = [sys.executable, "-c", READ, warm, path, str(task.inference.min_side)]
        done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=page.ROOT)
        result = json.loads(done.stdout)
        refused = "refused" if isinstance(result, str) else ""
        row[f"{task.name}, CPU s"] = refused or f"{result[0]:.2f}"
        row[f"{task.name}, MB"] = refused or f"{result[1]:.0f}"
    return row


if __name__ == "__main__":
    main()
