"""The version of Python."""

from importlib.metadata import metadata

from ..contract import DoctorCheck, Finding, Installation, failed, ok, warning

_PREFIX = "Programming Language :: Python :: 3."


def find(subject: Installation) -> Finding:
    """Compare with the versions that the package names in its classifiers."""
    classifiers = metadata("mien").get_all("Classifier") or []
    minors = sorted(int(each.removeprefix(_PREFIX)) for each in classifiers if _PREFIX in each)
    lowest, highest = (3, minors[0]), (3, minors[-1])
    texts = [f"{major}.{minor}" for major, minor in (lowest, highest, subject.python)]
    expected = f"Python: expected {texts[0]} to {texts[1]}, found {texts[2]}."
    if subject.python < lowest:
        return failed(expected, f"Install Python {texts[1]}, remove .venv and set it up again.")
    if subject.python > highest:
        return warning(expected, "The locked packages may not install on it.")
    return ok(f"Python {texts[2]}; supported: {texts[0]} to {texts[1]}")


CHECK = DoctorCheck("python", "The version of Python against the supported ones.", find)
