"""What a colour profile costs: CPU milliseconds to read a photo with and without one.

`python3 tasks.py bench colours` prints the table. Each photo is read as the service reads it, in
turn with the others; the first reading of a profile, which builds its transform, stands apart.
"""

import io
import struct
import time
from collections.abc import Mapping
from statistics import median

import numpy as np
from PIL import Image

from bench import page
from mien import images
from mien.images import colour

PRIMARIES = {
    "sRGB": ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)),
    "P3": ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)),
    "Adobe": ((0.60974, 0.31111, 0.0195), (0.20528, 0.62567, 0.0609), (0.14919, 0.06322, 0.7446)),
    "ProPhoto": ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)),
}
"""Red, green and blue as XYZ under D50."""
WHITE = (0.9642, 1.0, 0.8249)
SIZES = {"1 MP": (1155, 866), "12 MP": (4032, 3024), "50 MP": (8192, 6144)}
MIN_SIDE = 1200
"""That of gesture, the larger one."""
ROUNDS = 9


def profile(name: str, gamma: float = 2.2) -> bytes:
    """An ICC profile of three primaries and one exponent; "grey" has none."""
    curve = b"curv\0\0\0\0" + struct.pack(">LH", 1, round(gamma * 256)) + b"\0\0"
    tags = [(b"desc", _text(b"desc", name)), (b"wtpt", _xyz(WHITE)), (b"kTRC", curve)]
    if name != "grey":
        xyz = map(_xyz, PRIMARIES[name])
        tags[2:] = [*zip((b"rXYZ", b"gXYZ", b"bXYZ"), xyz, strict=True)]
        tags += [(tag, curve) for tag in (b"rTRC", b"gTRC", b"bTRC")]
    table, content, start = struct.pack(">L", len(tags)), b"", 132 + 12 * len(tags)
    for tag, value in tags:
        table += tag + struct.pack(">LL", start + len(content), len(value))
        content += value
    space = b"GRAY" if name == "grey" else b"RGB "
    head = struct.pack(">LLL4s4s4s", start + len(content), 0, 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    return (head + b"".join(map(_fixed, WHITE))).ljust(128, b"\0") + table + content


def main() -> None:
    """Measure and print."""
    rows = [_row(name, size) for name, size in SIZES.items()]
    print(page.table(rows))


def _row(name: str, size: tuple[int, int]) -> Mapping[str, object]:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    photo = Image.fromarray(small).resize(size)
    files = {
        "no profile, ms": _saved(photo),
        "Display P3, ms": _saved(photo, icc_profile=profile("P3")),
    }
    times: dict[str, list[float]] = {kind: [] for kind in files}
    colour._transform.cache_clear()
    for _ in range(ROUNDS + 1):
        for kind, data in files.items():
            start = time.process_time()
            images.read(data, min_side=MIN_SIDE)
            times[kind].append((time.process_time() - start) * 1000)
    plain, converted = (median(each[1:]) for each in times.values())
    return {
        "photo": name,
        **{kind: f"{median(each[1:]):.1f}" for kind, each in times.items()},
        "more, ms": f"{converted - plain:.1f}",
        "first reading of a profile, ms more": f"{times['Display P3, ms'][0] - converted:.1f}",
    }


def _saved(photo: Image.Image, **options: bytes) -> bytes:
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=85, **options)
    return stream.getvalue()


def _text(kind: bytes, text: str) -> bytes:
    value = kind + struct.pack(">LL", 0, len(text) + 1) + text.encode() + bytes(79)
    return value + bytes(-len(value) % 4)


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _fixed(value: float) -> bytes:
    return struct.pack(">l", round(value * 65536))


if __name__ == "__main__":
    main()
