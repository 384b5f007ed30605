"""The same ONNX files with AVX2 alone (emulated by QEMU) and with all that this processor has.

The emotion champion of the workspace (after `python3 tasks.py demo --exit`) in several int8 forms.
Each file answers drawn faces here and in `qemu-x86_64 -cpu Haswell-noTSX`, which has neither
AVX-512 nor VNNI.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import thread_time

import numpy as np

from bench import page
from mien import config, tasks
from mien.model import golden, variants
from mien.model.bundle import read
from mien.model.lineage import processor_features
from mien.model.runtime import RecordingModel, Session
from mien.storage.workspace import CHAMPION, Workspace
from mien.task import Request
from mien.tasks.emotion.params import LABELS
from mien.tasks.emotion.sample import draw_face_image

EMULATOR = ("qemu-x86_64", "-cpu", "Haswell-noTSX")
ROUNDS = 20
"""Runs of one input whose CPU time is added up."""
FORMS = {
    "float32": None,
    "int8, 7-bit weights (what mien makes)": True,
    "int8, 8-bit weights": False,
}


def main() -> None:
    """Make the files, run them twice, write the page; without QEMU say so and stop."""
    if len(sys.argv) > 1:
        _run(Path(sys.argv[1]), sys.argv[2])
        return
    if not shutil.which(EMULATOR[0]):
        sys.exit(f"SKIPPED: {EMULATOR[0]} is not installed (Debian: apt-get install qemu-user).")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        about = _make(folder)
        seconds = _run(folder, "here")
        command = [*EMULATOR, sys.executable, "-m", "bench.processors", str(folder), "avx2"]
        subprocess.run(command, check=True, cwd=page.ROOT)
        rows = [_row(folder, number, form, seconds) for number, form in enumerate(FORMS)]
    processors = f"Here: {' '.join(processor_features())}. Emulated: {' '.join(EMULATOR)}."
    page.write(
        "processors", "Same answers on every processor", [about, processors, page.table(rows), NOTE]
    )


NOTE = (
    "A difference is |a - b| / (1 + |a|), the largest over all outputs: absolute for scores, "
    "relative for pixels. 8-bit weights saturate sums of 16 bits where the processor has no VNNI; "
    "7-bit weights cannot."
)


def _make(folder: Path) -> str:
    """Write the forms as `<number>.onnx` and their inputs; return what they were made from."""
    home = Workspace(config.settings().home)
    number = home.aliases("emotion").get(CHAMPION)
    if number is None:
        sys.exit(f"This bench needs a champion of emotion in {home.home}: run `mien demo` there.")
    opened = read(home.version("emotion", number))
    task = tasks.load("emotion")
    inputs = []
    with RecordingModel(opened) as model:
        for label in LABELS:
            pixels = np.asarray(draw_face_image(label).convert("RGB"))
            task.inference.predict(Request(image=pixels), model)
        inputs = [feeds for _, feeds, _ in model.recorded]
    (name,) = inputs[0]
    np.savez(folder / "inputs.npz", *[feeds[name] for feeds in inputs])
    (folder / "name").write_text(name)
    folded = folder / "folded"
    after = variants._fold(opened.folder / "model.onnx", folded)
    for number, reduce_range in enumerate(FORMS.values()):
        target = folder / f"{number}.onnx"
        if reduce_range is None:
            shutil.copy(opened.folder / "model.onnx", target)
        else:
            variants._to_int8(folded, target, inputs, after, reduce_range=reduce_range)
    return f"Made from {opened.manifest.candidate}; {len(inputs)} drawn faces as inputs."


def _run(folder: Path, name: str) -> list[float]:
    """Store the outputs of each file; return the CPU seconds of `ROUNDS` runs."""
    with np.load(folder / "inputs.npz") as stored:
        feeds = [{(folder / "name").read_text(): stored[key]} for key in stored]
    seconds = []
    for number in range(len(FORMS)):
        session = Session(folder / f"{number}.onnx")
        np.save(folder / f"{number}.{name}.npy", [session.run(each)[0] for each in feeds])
        start = thread_time()
        for _ in range(ROUNDS if name == "here" else 0):
            session.run(feeds[0])
        seconds.append(thread_time() - start)
    return seconds


def _row(folder: Path, number: int, form: str, seconds: list[float]) -> dict[str, object]:
    here, emulated = (np.load(folder / f"{number}.{name}.npy") for name in ("here", "avx2"))
    exact = np.load(folder / "0.here.npy")
    return {
        "form": form,
        "MB": f"{(folder / f'{number}.onnx').stat().st_size / 1e6:.2f}",
        "difference between processors": f"{golden.difference(here, emulated):.2g}",
        "mean difference from float32": f"{np.abs(here - exact).mean():.4g}",
        "CPU time / float32": f"{seconds[number] / seconds[0]:.2f}",
    }


if __name__ == "__main__":
    main()
