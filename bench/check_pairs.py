"""Contact sheets of near duplicates, to be judged by eye, and what was judged.

The sheets show people: they are drawn below the workspace and belong into no page.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
from PIL import Image, ImageDraw

from mien import config, images
from mien.stages.check.context import CheckContext

JUDGED = {"AffectNet": (96, 95, 96), "muxspace": (8, 0, 8)}
"""Pairs of the sheets that were judged; those that show one photo twice; those that show one person
in one scene, if not at the same moment."""
_SIDE = 110


def judged(contexts: Mapping[str, CheckContext]) -> Iterator[str]:
    for name, each in contexts.items():
        drawn, total = _sheet(name, each)
        judged_pairs, same_photo, same_scene = JUDGED[name]
        note = (
            ""
            if drawn == judged_pairs
            else f" (now {drawn} would be drawn; these are of an earlier run)"
        )
        yield (
            f"{name}: of {total} pairs in clusters that differ in their bytes, {judged_pairs}, "
            f"one at random of each cluster, were judged by eye{note}: {same_photo} show one photo "
            f"twice, {same_scene} at least one person in one scene. The limits were chosen on "
            f"{'this set' if name == 'AffectNet' else 'the other set; many here are from films'}."
        )


def _sheet(name: str, context: CheckContext) -> tuple[int, int]:
    """Draw a pair of each cluster below the workspace; how many are drawn, of how many."""
    samples, rng = context.samples, np.random.default_rng(0)
    chosen, total = [], 0
    for cluster in context.near_duplicates:
        pairs = [
            (one, two)
            for one, two in combinations(cluster, 2)
            if samples[one].digest != samples[two].digest
        ]
        total += len(pairs)
        if pairs:
            chosen.append(pairs[int(rng.integers(len(pairs)))])
    rows = -(-len(chosen) // 6)
    sheet = Image.new("RGB", (6 * (2 * _SIDE + 10), rows * (_SIDE + 16) or 1), "white")
    pen = ImageDraw.Draw(sheet)
    for number, pair in enumerate(chosen):
        left, top = number % 6 * (2 * _SIDE + 10), number // 6 * (_SIDE + 16)
        pen.text((left, top), str(number), fill="black")
        for column, sample in enumerate(samples[each] for each in pair):
            assert sample.image_path is not None
            photo = Image.fromarray(images.decode(sample.image_path.read_bytes()))
            sheet.paste(photo.resize((_SIDE, _SIDE)), (left + column * _SIDE, top + 14))
    path = config.settings().home / "reports" / "check" / f"pairs_{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    print(f"{len(chosen)} pairs to look at: {path}")
    return len(chosen), total
