"""Recorded samples of drawn hands, as the studio stores them."""

import numpy as np

from mien.stages.studio.recording import RecordedSample
from mien.task import RecordedSubject
from mien.tasks.gesture.sample import landmark_rows

SIZE = (640, 480)


def recorded(
    labels: str = "like peace", sessions: int = 2, count: int = 12
) -> list[RecordedSample]:
    """`count` hands of each label and session."""
    points, names = landmark_rows(count * sessions, 0)
    samples = []
    for label in labels.split():
        hands = points[np.array(names) == label]
        for index, hand in enumerate(hands):
            numbers = np.round(hand * (1, 1, SIZE[0]), 3).ravel().tolist()
            subject = RecordedSubject(tuple(numbers), "Right")
            samples.append(RecordedSample(label, 1 + index // count, subject, SIZE))
    return samples
