"""Golden answers: what the networks of a bundle answered on the machine that made the bundle.

`write` keeps inputs and outputs of each ONNX file for a few drawn requests, `check` runs the same
inputs on the machine that serves. Knows no task: the stages pass the requests as functions.
"""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from mien.config import Form, Schema
from mien.errors import BundleError, RequestError
from mien.model import bundle, runtime
from mien.model.bundle import Bundle, Manifest
from mien.model.lineage import processor_features
from mien.model.runtime import Model, NetworkAnswers, RecordingModel, array_digest
from mien.storage.files import write_json

GOLDEN = "golden.json"
ARRAYS = "golden.npz"
TOLERANCE: Mapping[Form | Literal["float32"], float] = {"float32": 1e-3, "fp16": 0.2, "int8": 0.1}
"""Largest `difference` by form, with room. `bench processors` prints those between VNNI and AVX2
alone. Measured once on an emulated ARM: float32 1e-5, int8 8e-6, and fp16 0.095, because ARM
computes in 16 bits what x86 computes in 32. int8 sums that saturate differ by 0.3 and more."""


class Network(Schema):
    """What is stored of one ONNX file; the arrays lie in `golden.npz`."""

    tolerance: float
    form: str
    cases: int = Field(ge=1)
    inputs: tuple[str, ...]


class Golden(Schema):
    """The content of `golden.json`."""

    processor: str
    onnxruntime: str
    networks: dict[str, Network]


@dataclass(frozen=True)
class GoldenCheck:
    """A bundle that answered its golden inputs within the tolerance."""

    checked: int
    """Inputs that were run, over all ONNX files."""
    max_difference: float


@dataclass(frozen=True)
class SharedAnswers:
    """What bundles of one training share: a network that is in several of them answers each golden
    input once, and its arrays are compressed once."""

    answers: NetworkAnswers = field(default_factory=dict)
    _compressed: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def compressed(self, name: str, array: NDArray[Any]) -> bytes:
        """An array as an `.npz` file of its own."""
        key = (name, array_digest({name: array}))
        if key not in self._compressed:
            file = io.BytesIO()
            np.savez_compressed(file, allow_pickle=False, **{name: array})
            self._compressed[key] = file.getvalue()
        return self._compressed[key]


def write(
    folder: Path,
    manifest: Manifest,
    predict: Sequence[Callable[[Model], object]],
    forms: Mapping[str, Form] | None = None,
    shared: SharedAnswers | None = None,
) -> Bundle:
    """Complete a bundle as `bundle.write` does, with golden answers.

    Args:
        folder: holds every other file of the bundle.
        manifest: the manifest without its files.
        predict: each function predicts one drawn request with the model that it is given. The
            first input of each network during a request becomes a golden input. A request that
            the model refuses (`RequestError`) is left out.
        forms: the form of each ONNX file that is not float32.
        shared: of bundles of one training.

    Raises:
        BundleError: no request reaches one of the networks: nothing could be checked later.
    """
    arrays: dict[str, NDArray[Any]] = {}
    networks = {}
    shared = shared or SharedAnswers()
    listed = bundle.list_files(folder, manifest)
    with RecordingModel(Bundle(folder, listed, digest=""), shared.answers) as model:
        cases = _record(model, predict)
        for name in _networks(model):
            arrays |= _arrays(name, cases[name])
            networks[name] = _network(cases[name], (forms or {}).get(name, "float32"))
    golden = Golden(
        processor=" ".join(processor_features()),
        onnxruntime=runtime.version(),
        networks=networks,
    )
    write_json(folder / GOLDEN, golden.model_dump(mode="json"), sort_keys=True)
    (folder / ARRAYS).write_bytes(_zip([shared.compressed(*each) for each in arrays.items()]))
    return bundle.write(folder, manifest, listed.files)


def load(folder: Path) -> Model:
    """Verify the bundle in `folder`, open it and check its golden answers.

    Raises:
        BundleError: the bundle is damaged, or answers differently on this machine.
    """
    model = runtime.load(folder)
    try:
        check(model)
    except BaseException:
        model.close()
        raise
    return model


def check(model: Model) -> GoldenCheck:
    """Run the golden inputs of an open bundle and compare what it answers.

    Raises:
        BundleError: an answer differs by more than the tolerance, or there are no golden answers.
    """
    golden, arrays = _read(model)
    checked, largest = 0, 0.0
    for name, network in golden.networks.items():
        found = [_case(model, name, network, case, arrays) for case in range(network.cases)]
        worst = max(found, default=0.0)
        if not worst <= network.tolerance:
            raise BundleError(_refusal(model, name, network, worst, golden))
        checked, largest = checked + len(found), max(largest, worst)
    return GoldenCheck(checked, largest)


def difference(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """Largest |actual - expected| / (1 + |expected|): absolute for scores, relative for pixels.

    Infinite where the shapes differ, a value is NaN, or values that are no floats differ.
    """
    if expected.shape != actual.shape:
        return float("inf")
    same = expected == actual
    if bool(np.all(same)):
        return 0.0
    if expected.dtype.kind != "f" or actual.dtype.kind != "f":
        return float("inf")
    one, two = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.where(same, 0.0, np.abs(two - one) / (1 + np.abs(one)))
    return float(np.max(np.nan_to_num(off, nan=np.inf, posinf=np.inf)))


@dataclass(frozen=True)
class _Case:
    """What a network was given, by name, and what it answered."""

    feeds: Mapping[str, NDArray[Any]]
    outputs: Sequence[NDArray[Any]]


def _record(
    model: RecordingModel, predict: Sequence[Callable[[Model], object]]
) -> dict[str, list[_Case]]:
    cases: dict[str, list[_Case]] = {}
    for each in predict:
        model.recorded.clear()
        try:
            each(model)
        except RequestError:
            continue  # a model may take one kind of request alone
        first: dict[str, _Case] = {}
        for name, feeds, outputs in model.recorded:
            first.setdefault(name, _Case(feeds, outputs))
        for name, case in first.items():
            cases.setdefault(name, []).append(case)
    for name in set(_networks(model)) - set(cases):
        raise BundleError(
            f"{model.bundle.folder / name} has no golden answers: expected at least one drawn "
            "request that reaches this network, found none. Add one to `drawn_predictions` of the "
            "task."
        )
    return cases


def _zip(files: Sequence[bytes]) -> bytes:
    """One zip of zips with one small file each, as if all were written at once: what is compressed
    is copied. Format: PKWARE's APPNOTE.TXT, 4.3.12 (offset at byte 42) and 4.3.16."""
    members, directory = b"", b""
    for each in files:
        size, start = struct.unpack_from("<2L", each, len(each) - 10)
        entry = each[start : start + size]
        directory += entry[:42] + struct.pack("<L", len(members)) + entry[46:]
        members += each[:start]
    count, size, start = len(files), len(directory), len(members)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, start, 0)
    return members + directory + end


def _networks(model: Model) -> list[str]:
    return sorted(name for name in model.bundle.manifest.files if name.endswith(".onnx"))


def _network(cases: Sequence[_Case], form: Form | Literal["float32"]) -> Network:
    inputs = tuple(cases[0].feeds)
    return Network(tolerance=TOLERANCE[form], form=form, cases=len(cases), inputs=inputs)


def _arrays(name: str, cases: Sequence[_Case]) -> dict[str, NDArray[Any]]:
    """The inputs and outputs of a network, as they are named in `golden.npz`."""
    arrays: dict[str, NDArray[Any]] = {}
    for index, case in enumerate(cases):
        arrays |= {_key(name, index, "in", key): value for key, value in case.feeds.items()}
        arrays |= {_key(name, index, "out", n): _plain(o) for n, o in enumerate(case.outputs)}
    return arrays


def _case(
    model: Model, name: str, network: Network, case: int, arrays: Mapping[str, NDArray[Any]]
) -> float:
    try:
        feeds = {key: arrays[_key(name, case, "in", key)] for key in network.inputs}
        outputs = model.run(feeds, name)
        expected = [arrays[_key(name, case, "out", n)] for n in range(len(outputs))]
    except KeyError as error:
        raise BundleError(f"{model.bundle.folder}: {ARRAYS} lacks {error}. {_REMEDY}") from None
    return max(difference(*pair) for pair in zip(expected, map(_plain, outputs), strict=True))


def _read(model: Model) -> tuple[Golden, dict[str, NDArray[Any]]]:
    folder, files = model.bundle.folder, model.bundle.manifest.files
    if GOLDEN not in files or ARRAYS not in files:
        raise BundleError(f"{folder} has no golden answers ({GOLDEN}, {ARRAYS}). {_REMEDY}")
    try:
        golden = Golden.model_validate_json((folder / GOLDEN).read_bytes())
        with (
            (folder / ARRAYS).open("rb") as stream,
            np.load(stream, allow_pickle=False) as stored,
        ):
            arrays = dict(stored)
    except (ValidationError, ValueError, TypeError, zipfile.BadZipFile, OSError, EOFError):
        raise BundleError(f"{folder}: {GOLDEN} or {ARRAYS} cannot be read. {_REMEDY}") from None
    missing = set(_networks(model)) ^ set(golden.networks)
    if missing:
        names = ", ".join(sorted(missing))
        raise BundleError(f"{folder}: {GOLDEN} does not match the ONNX files ({names}). {_REMEDY}")
    return golden, arrays


def _refusal(model: Model, name: str, network: Network, worst: float, golden: Golden) -> str:
    return (
        f"{model.bundle.folder / name} answers its golden inputs differently on this machine: "
        f"expected a difference of at most {network.tolerance:g} ({network.form}), found "
        f"{worst:.3g}. This processor: {' '.join(processor_features())}, ONNX Runtime "
        f"{runtime.version()}; recorded on: {golden.processor}, ONNX Runtime {golden.onnxruntime}. "
        "Use the float32 candidate, or train it again on this machine: `mien run CONFIG`."
    )


_REMEDY = "Train it again: `mien run CONFIG`."


def _key(name: str, case: int, side: Literal["in", "out"], each: str | int) -> str:
    return f"{name}/{case}/{side}/{each}"


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Texts as a fixed-width array: an array of objects would need a pickle."""
    return array.astype(str) if array.dtype == object else array
