"""What strangers may send as a picture, a form, a document: only typed errors come of it.

`bench/fuzz.py` looks for more by coverage. What it once found stands here for good; the same
readers are tried here with files that were changed by chance.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import fuzz, fuzzed
from mien import images
from mien.errors import ImageError
from mien.images import Limits

_PNG = b"\x89PNG\r\n\x1a\n"
_NO_PALETTE = bytes.fromhex(
    "0000000d4948445200000002000000010803000000c3fc8fb80000000b49444154789c636064020000070004"
    "7649e3280000000049454e44ae426082"
)
_SCAN = bytes.fromhex("ffda0008010100013f01")
"""Without the last bit of its coefficients: behind a complete picture, no scan is read."""
FOUND = {
    "a PNG file of palette colours without a palette": _PNG + _NO_PALETTE,
    # Each scan is a pass over all pixels: 20 MB of them would take hours.
    "a progressive JPEG file of 3,000 scans": bytes.fromhex(
        "ffd8ffdb00430001010101010101010101010101010101010101010101010101010101010101010101010101"
        "010101010101010101010101010101010101010101010101010101ffc2000b0807d007d001011100ffc40014"
        "000100000000000000000000000000000000ffc40014100100000000000000000000000000000000ffda0008"
        "010100000000"
    )
    + _SCAN * 3000
    + b"\xff\xd9",
}
SEEDS = {name: list(target.seeds()) for name, target in fuzzed.TARGETS.items()}
RUNS = 2000
"""Inputs of a short run of the fuzzer."""


@st.composite
def changed(draw: st.DrawFn, name: str) -> bytes:
    """A seed of a target with some bytes replaced, put in, taken out or doubled."""
    data = bytearray(draw(st.sampled_from(SEEDS[name])))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 2, 4, 30])))
        own = bytes(data[start:end])
        data[start:end] = draw(st.one_of(st.binary(max_size=8), st.just(own * 2)))
    return bytes(data)


@pytest.mark.parametrize("name", fuzz.NAMES)
def test_seeds_are_taken(name: str) -> None:
    """A fuzzer that starts from what is refused at the door finds nothing behind it."""
    taken = 0
    for seed in SEEDS[name]:
        fuzzed.TARGETS[name].check(seed)
        taken += _is_taken(name, seed)
    assert taken >= len(SEEDS[name]) / 2


@pytest.mark.parametrize("name", fuzz.NAMES)
@given(data=st.data())
def test_changed_files_are_read_or_refused(name: str, data: st.DataObject) -> None:
    """Whatever became of them: an answer, or an error that is made for clients."""
    fuzzed.TARGETS[name].check(data.draw(changed(name)))


@pytest.mark.parametrize("name", fuzz.NAMES)
@given(data=st.binary(max_size=600))
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    """As above, of bytes that come from nowhere."""
    fuzzed.TARGETS[name].check(data)


def test_a_short_run_of_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    """The recipe's own way, with few inputs and always the same."""
    atheris = fuzz.CACHE / f"atheris-{fuzz.VERSION}-{sys.implementation.cache_tag}"
    if not atheris.is_dir():
        pytest.skip("atheris is fetched by `python3 tasks.py bench fuzz`")
    flags = [*fuzz.bounds(), f"-runs={RUNS}", "-seed=1", f"-artifact_prefix={tmp_path}/"]
    assert fuzz.run("pictures", atheris, flags) == 0, sorted(tmp_path.iterdir())


@pytest.mark.parametrize("found", sorted(FOUND))
def test_what_was_found_stays_mended(found: str) -> None:
    """Files that once were a server error are reported as damaged."""
    with pytest.raises(ImageError):
        images.decode(FOUND[found], Limits(pixels=4_000_000))


def test_the_recipe_knows_its_targets() -> None:
    """An unknown name gets a list of the known ones."""
    assert set(fuzz.NAMES) == set(fuzzed.TARGETS)
    command = [sys.executable, "-m", "bench.fuzz", "nonsense"]
    done = subprocess.run(command, cwd=fuzz.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pictures" in done.stderr


def _is_taken(name: str, seed: bytes) -> bool:
    try:
        fuzzed.TARGETS[name].read(seed)
    except fuzzed.MienError:
        return False
    return True
