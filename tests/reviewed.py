"""Kept samples with labels of a reviewer, as a server and people leave them."""

import base64
import io
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from mien.observability.review.labels import Label
from mien.observability.review.sample import Crop, ReviewSample
from mien.observability.review.store import ReviewStore

KEY = "ab" * 32


def keep_hands(
    store: ReviewStore,
    hands: Any,
    labels: Sequence[str | None],
    first: int = 0,
    known: Sequence[str] = ("fist", "like"),
) -> list[str]:
    """Keep hands (n, 21, 3) that ann labelled, of a model that knows some labels; returns their
    trace_ids."""
    content = {"scores": {each: 1 / len(known) for each in known}}
    return [
        _keep(store, "gesture", first + number, label, body={"landmarks": hand.tolist()}, **content)
        for number, (hand, label) in enumerate(zip(hands, labels, strict=True))
    ]


def keep_faces(store: ReviewStore, labels: Sequence[str | None]) -> list[str]:
    """Keep plain crops, no two alike."""
    names = []
    for number, label in enumerate(labels):
        file = io.BytesIO()
        noise = np.random.default_rng(number).integers(0, 255, (80, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "PNG")
        picture = base64.b64encode(file.getvalue()).decode()
        crop = Crop(picture=picture, width=60, height=80, box=(10.0, 10.0, 50.0, 70.0))
        scores = {"anger": 0.5, "happy": 0.5}
        names.append(_keep(store, "emotion", number, label, crop=crop, scores=scores))
    return names


def say(store: ReviewStore, task: str, trace_id: str, label: str | None, who: str = "ann") -> None:
    """Label a sample."""
    store.labels(task).add(
        Label(
            trace_id=trace_id,
            reviewer=who,
            timestamp=time.time(),
            verdict="nothing" if label is None else "label",
            label=label,
        )
    )


def _keep(store: ReviewStore, task: str, number: int, label: str | None, **content: Any) -> str:
    now = time.time()
    sample = ReviewSample(
        trace_id=f"{int(1000 * now):012x}{number:020x}",
        task=task,
        kind="crops" if "crop" in content else "landmarks",
        timestamp=now,
        version="1",
        digest="d",
        label=next(iter(content["scores"])),
        reasons=("uncertain",),
        **content,
    )
    store.add(sample)
    say(store, task, sample.trace_id, label)
    return sample.trace_id
