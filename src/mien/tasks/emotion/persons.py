"""Whose face an image shows, where the names of the files say it."""

import re
from collections.abc import Sequence

_PERSON = re.compile(r"([A-Z][^\d]*?)_\d+")
"""Sets that know whose face it is write names as Some_Name_0001."""
_MIN_PERSONS = 20
"""Fewer distinct names than these are those of sources or cameras, not of people."""


def persons(stems: Sequence[str]) -> list[str] | None:
    """The person of each image by the stem of its name, "" for an image without one.

    None where the names of the files name no persons.
    """
    matches = [_PERSON.fullmatch(stem) for stem in stems]
    names = {match[1] for match in matches if match}
    most = sum(match is not None for match in matches) * 2 > len(stems)
    if len(names) < _MIN_PERSONS or not most:
        return None
    return [match[1] if match else "" for match in matches]
