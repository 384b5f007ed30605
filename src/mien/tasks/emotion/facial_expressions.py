"""The facial expressions of eight emotions: brows, lids, eyes, nose, mouth and colour of a face.

The expressions follow the Facial Action Coding System (AU: action unit), exaggerated as in a
cartoon. The tints are those of comics: red for anger, green for disgust. They are strong on
purpose, so that a small network learns the sample in half a minute. Does not draw.
"""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Expression:
    """The parts of a face; lengths in half head heights, positive is up.

    The comments name the action units (AU) of the Facial Action Coding System.
    """

    brow_inner: float = 0.0  # AU1 up, AU4 down
    brow_outer: float = 0.0  # AU2 up
    brow_asymmetry: float = 0.0  # one brow higher than the other
    eye_openness: float = 1.0  # AU5 above 1, AU7 below 1
    lid_closure: float = 0.12  # fraction of the eye under the upper lid
    lid_slant: float = 0.0  # positive: lower towards the nose
    iris_size: float = 1.0
    gaze: float = 0.0
    mouth_width: float = 0.30  # AU20 stretches, AU18 puckers
    mouth_corners: float = 0.0  # AU12 up, AU15 down
    mouth_asymmetry: float = 0.0  # one corner only (AU14)
    upper_lip: float = 0.0  # AU10 lifts the upper lip
    lower_lip: float = 0.0  # AU26 drops the jaw
    teeth_fraction: float = 0.0  # fraction of the open mouth that shows teeth
    clenched_teeth: bool = False
    tongue_out: bool = False
    nose_wrinkle: bool = False  # AU9
    frown_lines: bool = False
    smiling_eyes: bool = False  # AU6: the cheeks close the eyes to arcs
    tear: bool = False
    sweat: bool = False
    tint: Colour | None = None  # colour mixed into the skin
    tint_strength: float = 0.0


EXPRESSIONS: dict[str, Expression] = {
    "anger": Expression(
        brow_inner=-0.17, brow_outer=0.13, eye_openness=0.95, lid_closure=0.30, lid_slant=0.55,
        iris_size=0.85, mouth_width=0.34, mouth_corners=-0.10, upper_lip=0.09, lower_lip=0.11,
        teeth_fraction=1.0, clenched_teeth=True, frown_lines=True, tint=(226, 40, 28),
        tint_strength=0.55,
    ),
    "contempt": Expression(
        brow_inner=0.0, brow_outer=0.0, brow_asymmetry=0.17, eye_openness=0.95, lid_closure=0.50,
        gaze=0.40, mouth_width=0.27, mouth_corners=-0.02, mouth_asymmetry=0.22,
        tint=(160, 90, 190), tint_strength=0.50,
    ),
    "disgust": Expression(
        brow_inner=-0.10, brow_outer=-0.03, eye_openness=0.55, lid_closure=0.30, lid_slant=0.25,
        iris_size=0.8, mouth_width=0.27, mouth_corners=-0.15, upper_lip=0.10, lower_lip=0.02,
        tongue_out=True, nose_wrinkle=True, tint=(96, 180, 50), tint_strength=0.55,
    ),
    "fear": Expression(
        brow_inner=0.24, brow_outer=0.02, eye_openness=1.30, lid_closure=0.0, iris_size=0.50,
        mouth_width=0.36, mouth_corners=-0.11, upper_lip=0.10, lower_lip=0.16, teeth_fraction=0.42,
        sweat=True, tint=(90, 225, 220), tint_strength=0.55,
    ),
    "happy": Expression(
        brow_inner=0.08, brow_outer=0.06, smiling_eyes=True, mouth_width=0.40, mouth_corners=0.14,
        upper_lip=-0.04, lower_lip=0.30, teeth_fraction=0.42, tint=(255, 205, 40),
        tint_strength=0.55,
    ),
    "neutral": Expression(mouth_width=0.25, lid_closure=0.14),
    "sad": Expression(
        brow_inner=0.18, brow_outer=-0.14, eye_openness=0.80, lid_closure=0.36, lid_slant=-0.45,
        mouth_width=0.24, mouth_corners=-0.17, tear=True, tint=(70, 110, 210), tint_strength=0.55,
    ),
    "surprise": Expression(
        brow_inner=0.22, brow_outer=0.22, eye_openness=1.42, lid_closure=0.0, iris_size=0.72,
        mouth_width=0.17, upper_lip=0.15, lower_lip=0.34, tint=(255, 120, 170),
        tint_strength=0.50,
    ),
}  # fmt: skip
