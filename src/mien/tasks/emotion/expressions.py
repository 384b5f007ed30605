"""How eight emotions look: the pose of brows, lids, eyes, nose, mouth and the colour of a face.

The poses follow the Facial Action Coding System (AU: action unit), exaggerated as a cartoonist
would. The tints are the comic artist's: red with anger, green with disgust. They are strong on
purpose, so that a small network learns the sample in half a minute. Knows no drawing.
"""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Expression:
    """The pose of a face; lengths in half head heights, positive is up for everything lifted.

    The comments name the action units (AU) of the Facial Action Coding System.
    """

    brow_inner: float = 0.0  # AU1 up, AU4 down
    brow_outer: float = 0.0  # AU2 up
    brow_odd: float = 0.0  # one brow higher than the other
    eye: float = 1.0  # AU5 above 1, AU7 below 1: height of the open eye
    lid: float = 0.12  # part of the eye under the upper lid
    lid_slant: float = 0.0  # positive: the lid falls towards the nose
    iris: float = 1.0
    gaze: float = 0.0
    width: float = 0.30  # AU20 stretches, AU18 puckers
    corners: float = 0.0  # AU12 up, AU15 down
    corner_odd: float = 0.0  # one corner only (AU14)
    upper: float = 0.0  # AU10 lifts the upper lip
    lower: float = 0.0  # AU26 drops the jaw
    teeth: float = 0.0  # part of the open mouth that shows teeth
    clenched: bool = False
    tongue: bool = False
    nose_wrinkle: bool = False  # AU9
    frown_lines: bool = False
    shut_smile: bool = False  # AU6: eyes closed to arcs by the cheeks
    tear: bool = False
    sweat: bool = False
    tint: Colour | None = None  # what the blood does to the face
    tint_share: float = 0.0


EXPRESSIONS: dict[str, Expression] = {
    "anger": Expression(
        brow_inner=-0.17, brow_outer=0.13, eye=0.95, lid=0.30, lid_slant=0.55, iris=0.85,
        width=0.34, corners=-0.10, upper=0.09, lower=0.11, teeth=1.0, clenched=True,
        frown_lines=True, tint=(226, 40, 28), tint_share=0.55,
    ),
    "contempt": Expression(
        brow_inner=0.0, brow_outer=0.0, brow_odd=0.17, eye=0.95, lid=0.50, gaze=0.40,
        width=0.27, corners=-0.02, corner_odd=0.22, tint=(160, 90, 190), tint_share=0.50,
    ),
    "disgust": Expression(
        brow_inner=-0.10, brow_outer=-0.03, eye=0.55, lid=0.30, lid_slant=0.25, iris=0.8,
        width=0.27, corners=-0.15, upper=0.10, lower=0.02, tongue=True, nose_wrinkle=True,
        tint=(96, 180, 50), tint_share=0.55,
    ),
    "fear": Expression(
        brow_inner=0.24, brow_outer=0.02, eye=1.30, lid=0.0, iris=0.50, width=0.36,
        corners=-0.11, upper=0.10, lower=0.16, teeth=0.42, sweat=True,
        tint=(90, 225, 220), tint_share=0.55,
    ),
    "happy": Expression(
        brow_inner=0.08, brow_outer=0.06, shut_smile=True, width=0.40, corners=0.14,
        upper=-0.04, lower=0.30, teeth=0.42, tint=(255, 205, 40), tint_share=0.55,
    ),
    "neutral": Expression(width=0.25, lid=0.14),
    "sad": Expression(
        brow_inner=0.18, brow_outer=-0.14, eye=0.80, lid=0.36, lid_slant=-0.45, width=0.24,
        corners=-0.17, tear=True, tint=(70, 110, 210), tint_share=0.55,
    ),
    "surprise": Expression(
        brow_inner=0.22, brow_outer=0.22, eye=1.42, lid=0.0, iris=0.72, width=0.17, upper=0.15,
        lower=0.34, tint=(255, 120, 170), tint_share=0.50,
    ),
}  # fmt: skip
