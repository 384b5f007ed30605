"""Kept samples of drawn hands and faces, as a server stores them."""

import base64
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr

from mien.config import Settings
from mien.observability.review.sample import Crop, Reason, ReviewSample
from mien.observability.review.store import ReviewStore
from mien.storage.workspace import Workspace
from mien.tasks.gesture.params import LIKE

KEY = "ab" * 32
GESTURES = ("fist", "like", "palm")
EMOTIONS = ("angry", "happy")
Keep = Callable[..., ReviewSample]


@pytest.fixture
def settings() -> Settings:
    """With the key of the samples."""
    return Settings().model_copy(update={"review_key": SecretStr(KEY)})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Without models: suggestions are what the server answered."""
    return Workspace(tmp_path / "home")


@pytest.fixture
def store(workspace: Workspace) -> ReviewStore:
    return ReviewStore(workspace.review, KEY)


@pytest.fixture
def keep(store: ReviewStore) -> Keep:
    """Keep one sample; the first score is the best one."""
    count = iter(range(1000))

    def add(
        task: str = "gesture",
        scores: dict[str, float] | None = None,
        reasons: tuple[Reason, ...] = ("uncertain",),
        **changes: Any,
    ) -> ReviewSample:
        number = next(count)
        now = time.time()
        if task == "gesture":
            chosen = scores or {"like": 0.5, "fist": 0.4, "palm": 0.1}
            part = {"kind": "landmarks", "body": {"landmarks": _turned(number)}}
        else:
            chosen = scores or {"happy": 0.6, "angry": 0.4}
            part = {"kind": "crops", "crop": _crop(number)}
        document = {
            "trace_id": f"{int(1000 * now) + number:012x}{number:020x}",
            "task": task,
            "timestamp": now,
            "version": "3",
            "digest": "d",
            "label": max(chosen, key=lambda label: chosen[label]),
            "scores": chosen,
            "reasons": reasons,
        }
        sample = ReviewSample.model_validate(document | part | changes)
        store.add(sample)
        return sample

    return add


def _turned(number: int) -> list[list[float]]:
    """The drawn hand, turned by a few degrees."""
    angle = 0.1 * number
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.array(LIKE, dtype=float)
    points[:, :2] = (points[:, :2] - 256) @ turn.T + 256
    return [[round(value, 3) for value in point] for point in points.tolist()]


def _crop(number: int) -> Crop:
    file = io.BytesIO()
    Image.new("RGB", (60, 80), (200, 150 + number, 120)).save(file, "PNG")
    return Crop(
        picture=base64.b64encode(file.getvalue()).decode(),
        width=60,
        height=80,
        box=(10.0, 10.0, 50.0, 70.0),
    )
