"""What is made once for a whole test run: the first xdist worker that needs it makes it."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that `make` filled, for all workers; who changes anything in it copies it.

    A second worker waits for the first one. Where making it failed, it is not tried again: each
    test that needs it fails with the first traceback.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # one for all workers, as the docs of pytest-xdist have it
    folder, made, failed = (shared / f"{name}{ending}" for ending in ("", ".made", ".failed"))
    with FileLock(shared / f"{name}.lock"):
        if failed.exists():
            pytest.fail(f"{name} could not be made:\n{failed.read_text(encoding='utf-8')}")
        if not made.exists():
            folder.mkdir()
            try:
                make(folder)
            except BaseException:
                failed.write_text(traceback.format_exc(), encoding="utf-8")
                raise
            made.touch()
    return folder
