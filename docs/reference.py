"""Writes the pages of reference that the code decides: `python3 tasks.py reference`.

Commands from the command line, config keys from their schemas, the HTTP API from its OpenAPI
description, the Python API from signatures and docstrings. A test compares the pages with what
these functions return.
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from re import sub
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from typer.main import get_command

import mien
from mien import cli, config, errors, tasks
from mien.pipeline import RunReport
from mien.stages.predict import Recognizer
from mien.stages.register import Registered
from mien.stages.serve import app
from mien.stages.serve.loading import BundleSource
from mien.storage.workspace import Workspace
from mien.task import Detection, Prediction
from mien.tasks.emotion.params import Params as EmotionParams
from mien.tasks.emotion.recipe import Augmentation, FineTuning
from mien.tasks.gesture.params import Params as GestureParams

SOURCE = Path(__file__).parent / "source"


def commands() -> str:
    """Every command with its arguments and options, as its `--help` has them."""
    text = "# Commands\n\n`mien COMMAND --help` prints the same.\n"
    group: Any = get_command(cli.app)
    panels: dict[str, str] = {}
    for name, command in ((name, group.commands[name]) for name in group.list_commands(None)):
        parts = getattr(command, "commands", {})
        section = f"\n### mien {name}\n\n{command.help}\n" if parts else ""
        for part, each in parts.items() or [("", command)]:
            section += _command(f"mien {name} {part}".strip(), each, "####" if part else "###")
        panels[command.rich_help_panel] = panels.get(command.rich_help_panel, "") + section
    return text + "".join(f"\n## {title}\n{section}" for title, section in panels.items())


def _command(name: str, command: Any, heading: str) -> str:
    context = command.context_class(command, info_name=name)
    records = [*command.rows(context, "argument"), *command.rows(context, "option")]
    rows = [
        [f"`{name}`", text.replace("  [", " [")]
        for name, text in records
        if not name.endswith("--help")
    ]
    pieces = [each for each in command.collect_usage_pieces(context) if each != "[OPTIONS]"]
    usage = " ".join([name, *pieces])
    return f"\n{heading} {usage}\n\n{command.help}\n" + _table(["argument", "meaning"], rows)


def configs() -> str:
    """The keys of a run's YAML and of the `params:` section of both tasks."""
    parts = (
        ("A config", config.RunConfig, "", "One YAML file for each run; unknown keys are refused."),
        ("Policy", config.Policy, "policy.", ""),
        ("Checks", config.CheckConfig, "checks.SLUG.", "[What each looks for](data.md#checks)."),
        ("Gesture", GestureParams, "params.", ""),
        ("Emotion", EmotionParams, "params.", ""),
        ("Augmentation", Augmentation, "params.augmentation.", ""),
        ("Fine-tuning", FineTuning, "params.finetuning.",
         "Instead of the keys of the same name, for candidates that start from a public network."),
    )  # fmt: skip
    text = (
        "# Config keys\n\n`--set KEY=VALUE` overrides each, as in `--set params.trees=200`. "
        "The configs that come with mien are in `src/mien/tasks/<task>/configs/`, and `mien init` "
        "copies them.\n"
    )
    header = ["key", "values", "default", "meaning"]
    for title, schema, prefix, note in parts:
        rows = [[f"`{prefix}{row[0]}`", *row[1:]] for row in _fields(schema)]
        text += f"\n## {title}\n" + (f"\n{note}\n" if note else "") + _table(header, rows)
    return text


def _fields(schema: type[BaseModel]) -> list[list[str]]:
    meanings: dict[str, str] = {}
    for each in reversed(schema.__mro__[:-2]):
        meanings |= _docstrings(each)
    if schema is FineTuning:
        meanings = {**_docstrings(EmotionParams.__mro__[1]), **meanings}
    rows = []
    for name, field in schema.model_fields.items():
        if name != "name":  # the file's own, not a key
            default = _value(field.get_default(call_default_factory=True))
            rows.append([name, _values(field.annotation), default, meanings.get(name, "")])
    return rows


def _docstrings(schema: type) -> dict[str, str]:
    """The text below each field of a class."""
    if schema.__module__.partition(".")[0] != "mien":
        return {}
    body = ast.parse(textwrap.dedent(inspect.getsource(schema))).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def _values(annotation: Any) -> str:
    """A type in words: the choices where there are any."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(annotation))
    parts = [each for each in get_args(annotation) if each not in (Ellipsis, type(None))]
    if get_origin(annotation) is tuple:
        return f"list of {_values(parts[0])}"
    if parts and get_origin(annotation) is not dict:
        return " or ".join(map(_values, parts))
    words = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`"}
    return words.get(annotation, "section")


def _value(default: Any) -> str:
    if isinstance(default, tuple):
        return f"`[{', '.join(map(str, default))}]`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if isinstance(default, int | float | str) else ""


def api() -> str:
    """Addresses and documents of a server that serves gestures, from its OpenAPI description."""
    source = BundleSource(tasks.load("gesture"), Path("bundle"))
    with TemporaryDirectory() as home:  # the app opens a prediction log
        openapi = app.create(Workspace(Path(home)), [source], config.Settings()).openapi()
    text = (
        "# HTTP API\n\n[Serving](serving.md) says how the addresses behave, and has the limits, "
        "the settings and the problems behind each status. A running server describes its own API "
        "at `/docs` and `/openapi.json`. Here it is that of a server of gestures; every task has "
        "`/predict/TASK` and its own name as first key.\n\n## Addresses\n"
    )
    rows = [
        [f"`{method.upper()} {path}`", *_address(each)]
        for path, methods in openapi["paths"].items()
        for method, each in methods.items()
    ]
    text += _table(["address", "what it does", "body", "answer", "problems"], rows)
    for name, schema in openapi["components"]["schemas"].items():
        rows = [
            [f"`{key}`", _type(each), each.get("description", "")]
            for key, each in schema["properties"].items()
        ]
        text += f"\n## {name}\n\n{schema.get('description', 'The answer.')}\n"
        text += _table(["key", "type", "meaning"], rows)
    return text


def _address(operation: Mapping[str, Any]) -> list[str]:
    answers = operation["responses"]
    problems = ", ".join(status for status in answers if status != "200")
    body = _content(operation.get("requestBody", {}))
    return [operation["summary"], body, _content(answers["200"]), problems]


def _content(part: Mapping[str, Any]) -> str:
    content = part.get("content", {})
    return ", ".join(
        _type(each["schema"]) if kind == "application/json" else f"`{kind}`"
        for kind, each in content.items()
        if each["schema"]  # FastAPI adds an empty one for JSON to every answer
    )


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        items = schema.get("items") or schema["prefixItems"][0]
        return f"array of {_type(items)}"
    return str(kind)


def python() -> str:
    """The public functions, what they return, and what they raise."""
    text = (
        "# Python API\n\n`mien.load` opens a model, `mien.run` trains one; "
        "[examples](own_project.md#from-python). All of it is typed. A `Picture` is a path, "
        "the bytes of a file, a Pillow image, or RGB pixels (uint8, height x width x 3). Names "
        "that are not on this page may change with any version.\n"
    )
    for name in ("load", "run"):
        text += _function(f"mien.{name}", getattr(mien, name), "##")
    for each in (Recognizer, Prediction, Detection, RunReport, Registered):
        text += f"\n## {each.__name__}\n\n{inspect.getdoc(each)}\n" + _attributes(each)
        for name, method in vars(each).items():
            public = inspect.isfunction(method) and not name.startswith("_")
            if public and each is Recognizer:
                text += _function(name, method, "###")
    rows = [
        [f"`{name}`", f"`{each.__base__.__name__}`", inspect.getdoc(each) or ""]
        for name, each in vars(errors).items()
        if inspect.isclass(each) and issubclass(each, errors.MienError)
    ]
    text += "\n## Errors\n\nIn `mien.errors`; each message says what to do.\n"
    return text + _table(["error", "is a", "meaning"], rows)


def _function(name: str, function: Any, heading: str) -> str:
    """A function with its arguments and errors, as its docstring has them."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    assert node.returns is not None
    node.args.args = [each for each in node.args.args if each.arg != "self"]
    text, *sections = (inspect.getdoc(function) or "").split("\n\n")
    signature = f"{name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
    page = f"\n{heading} {name}\n\n```py\n{signature}\n```\n\n{' '.join(text.split())}\n"
    for section in sections:
        title, _, lines = section.partition("\n")
        if title not in ("Args:", "Raises:"):
            page += f"\n{' '.join(section.split())}\n"
            continue
        rows = [
            [f"`{each}`", meaning.replace("``", "`")]
            for each, _, meaning in (line.partition(": ") for line in _joined(lines))
        ]
        page += _table(["argument" if title == "Args:" else "raises", "meaning"], rows)
    return page


def _joined(lines: str) -> list[str]:
    """Entries of a section of a docstring, each in one line."""
    return sub(r"\n {4,}", " ", textwrap.dedent(lines)).strip().splitlines()


def _attributes(each: type) -> str:
    """Fields by the comment behind or the text below them, and properties."""
    source = textwrap.dedent(inspect.getsource(each))
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    texts, rows = _docstrings(each), []
    for part in node.body:
        kind: ast.expr | None
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            name, kind, text = part.target.id, part.annotation, texts.get(part.target.id)
        elif isinstance(part, ast.FunctionDef) and part.decorator_list and part.returns:
            name, kind, text = part.name, part.returns, ast.get_docstring(part)
        else:
            continue
        _, _, comment = source.splitlines()[part.lineno - 1].partition("  # ")
        rows.append([f"`{name}`", f"`{ast.unparse(kind)}`", text or comment])
    return _table(["attribute", "type", "meaning"], rows)


def _table(header: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    texts = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines]
    return "\n" + "".join(f"| {text} |\n" for text in texts)


PAGES = {"commands.md": commands, "configs.md": configs, "api.md": api, "python.md": python}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (SOURCE / name).write_text(page(), encoding="utf-8")
