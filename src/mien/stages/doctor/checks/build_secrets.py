"""Secrets that would stay readable in an image: build arguments and variables of Dockerfiles."""

import re
from collections.abc import Iterator
from pathlib import Path

from .. import compose_file, image
from ..contract import DoctorCheck, Finding, Installation, failed, ok

_NAME = r"\w*(?:secret|token|passw|api_?keys?|credential|private_?key)\w*"
_ARGUMENT = re.compile(rf"\bARG\s+({_NAME})", re.IGNORECASE)
_VARIABLE = re.compile(rf"({_NAME})=.+", re.IGNORECASE)
_OPTION = re.compile(rf"--build-arg[ =]+[\"']?({_NAME}|\w+=[^\n]*\$\{{\{{\s*secrets\.\w+)", re.I)
_REMEDY = "Pass it at run time, or with `docker build --secret`. Change the secret if it was built."


def find(subject: Installation) -> Finding:
    """Dockerfiles, the Compose file, GitHub workflows, and the image if one is named."""
    problem = next(_problems(subject), "")
    if problem:
        return failed(problem, _REMEDY)
    return ok("no secret in build arguments or in variables of images")


def _problems(subject: Installation) -> Iterator[str]:
    for each in image.images(subject.project, subject.image):
        for line in each.build_lines:
            if match := _ARGUMENT.search(line):
                yield f"{each.name}: build argument {match[1]} stays readable in the image."
        for variable in each.variables:
            if match := _VARIABLE.fullmatch(variable):
                yield f"{each.name}: variable {match[1]} has a value in the image."
    stack = compose_file.read(subject.project)
    for name, options in (stack.services if stack else {}).items():
        build = options.get("build")
        arguments = (build.get("args") or []) if isinstance(build, dict) else []
        for argument in (str(each).partition("=")[0] for each in arguments):  # never the value
            if re.fullmatch(_NAME, argument, re.IGNORECASE):
                yield f"{compose_file.NAME}: {name} is built with the argument {argument}."
    yield from _workflows(subject.project / ".github" / "workflows")


def _workflows(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.y*ml")):
        if match := _OPTION.search(path.read_text(encoding="utf-8")):
            yield f"{path.name}: --build-arg {match[1]} stays readable in the image."


CHECK = DoctorCheck("build_secrets", "Secrets in build arguments and in images.", find)
