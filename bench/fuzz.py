"""Coverage-guided fuzzing of what reads strangers' bytes: `python3 tasks.py bench fuzz`.

Each target of `bench/fuzzed.py` runs in a process of its own for MIEN_FUZZ_S seconds (60), within
bounded memory. What it learns is kept under the cache folder, so that the next run goes on from
there. A finding ends the recipe with an error and is kept as a file, to be made a test of.

Atheris is not among the locked packages, as it has no wheels for every platform: it is fetched, by
its hash, into the cache folder when it is first needed.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

VERSION = "3.0.0"
WHEELS = """atheris==3.0.0 \\
    --hash=sha256:1f0929c7bc3040f3fe4102e557718734190cf2d7718bbb8e3ce6d3eb56ef5bb3 \\
    --hash=sha256:510e502c57b6dc615fb174066407af620d4c7f73cf08a782c86e7761bf12c4eb \\
    --hash=sha256:8a5c8a781467c187da40fd29139784193e2647058831f837f675d0bb8cbd8746 \\
    --hash=sha256:a402cdca8a650d1371050b1f9552eb4cdc488d2db64950d603c4560318365eac
"""
ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien" / "fuzz"
NAMES = ("pictures", "forms", "requests", "landmarks", "feedback")
MEMORY_MB = 2048
"""What a process may take; beyond it, the input is a finding."""
SECONDS_EACH = 20
"""What one input may take; beyond it, it is a finding."""
_INSTRUMENTED = ["PIL", "mien", "python_multipart", "starlette"]


def main() -> None:
    """Fuzz every target, or those that are named, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench fuzz")
    parser.add_argument("names", nargs="*", metavar="target", help=f"of {', '.join(NAMES)}")
    seconds = os.environ.get("MIEN_FUZZ_S", "60")
    parser.add_argument("--seconds", type=int, default=int(seconds), help="for each target")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    known, flags = parser.parse_known_args()
    if known.child:
        fuzz(known.names[0], [*flags, *known.names[1:]])
        return
    if unknown := set(known.names) - set(NAMES):
        sys.exit(f"There is no target {', '.join(unknown)}; there are {', '.join(NAMES)}.")
    atheris = install()
    names = known.names or NAMES
    failed = [name for name in names if run(name, atheris, _bounded(name, known.seconds))]
    if failed:
        sys.exit(f"Findings in {', '.join(failed)}: the files are in {CACHE / 'findings'}.")


def install() -> Path:
    """The folder with atheris, which is fetched where it is not there yet."""
    folder = CACHE / f"atheris-{VERSION}-{sys.implementation.cache_tag}"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            wheels, made = Path(scratch, "atheris.txt"), Path(scratch, "made")
            wheels.write_text(WHEELS)
            command = ["uv", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
            command += ["--python", sys.executable, "--only-binary", ":all:"]
            path = os.pathsep.join([str(Path(sys.prefix, "bin")), os.environ.get("PATH", "")])
            done = subprocess.run(
                [*command, "--target", str(made), "-r", str(wheels)],
                env={**os.environ, "PATH": path},
                check=False,
            )
            if done.returncode:
                sys.exit("Atheris cannot be installed: it has wheels for Linux, and needs uv.")
            made.rename(folder)
    return folder


def run(name: str, atheris: Path, flags: Sequence[str]) -> int:
    """Fuzz a target in a process of its own; its exit status, 0 where nothing was found."""
    path = [str(ROOT / "src"), str(ROOT), str(atheris), os.environ.get("PYTHONPATH", "")]
    # The process ends without tidying up; what it leaves lies in the folder that goes with it.
    with tempfile.TemporaryDirectory(prefix="mien-fuzz-") as scratch:
        command = [sys.executable, "-m", "bench.fuzz", name, "--child", *flags, scratch]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "TMPDIR": scratch}
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def fuzz(name: str, flags: Sequence[str]) -> None:
    """Fuzz a target in this process, which ends with it; the last of the flags is a folder."""
    import atheris

    logging.disable(logging.CRITICAL)
    seeds = Path(flags[-1], "seeds")
    seeds.mkdir()
    with atheris.instrument_imports(include=_INSTRUMENTED):
        from bench import fuzzed

        target = fuzzed.TARGETS[name]
        for number, seed in enumerate(target.seeds()):
            (seeds / str(number)).write_bytes(seed)
            target.check(seed)  # Pillow imports what reads a format with the first file of it
    atheris.Setup([sys.argv[0], *flags[:-1], str(seeds)], target.check)
    atheris.Fuzz()


def bounds() -> list[str]:
    """Options of libFuzzer that hold for every run."""
    return [f"-rss_limit_mb={MEMORY_MB}", f"-timeout={SECONDS_EACH}", "-max_len=20000"]


def _bounded(name: str, seconds: int) -> list[str]:
    learned, findings = CACHE / "learned" / name, CACHE / "findings"
    for folder in (learned, findings):
        folder.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={findings}/{name}-"]
    return [*bounds(), *options, "-print_final_stats=1", str(learned)]


if __name__ == "__main__":
    main()
