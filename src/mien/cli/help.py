"""The help of the command line as plain text: to import rich would take longer than the rest."""

import re
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.models import CommandFunctionType


class SectionedGroup(TyperGroup):
    """Lists its commands under the titles that they give as `rich_help_panel`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as typer does, but without pydantic, whose import takes longer than the help.

        It would validate flags whose default is None: --help and those for shell completion.
        """
        for parameter in self.get_params(ctx):
            if isinstance(parameter, TyperOption) and parameter.is_flag:
                parameter.default = parameter.default or False
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each title, in the order of the commands."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            title = command.rich_help_panel
            row = (name, command.get_short_help_str(_SUMMARY_CHARACTERS))
            sections.setdefault(title if isinstance(title, str) else "Commands", []).append(row)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


class PlainCommand(TyperCommand):
    """Writes arguments in capitals, as the pages do, and types without Python's words."""

    def invoke(self, ctx: Any) -> Any:
        """Run it, with warnings as plain lines."""
        import logging  # not at the top: `--help` does without

        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`TASK [VERSION]` for `{task} [version]`."""
        return [re.sub("[{}]", "", each).upper() for each in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options."""
        for title in ("Argument", "Option"):
            if rows := self.rows(ctx, title.lower()):
                with formatter.section(f"{title}s"):
                    formatter.write_dl(rows)

    def rows(self, ctx: Any, kind: str) -> list[tuple[str, str]]:
        """Name and text of each `argument` or `option`."""
        params = [each for each in self.get_params(ctx) if each.param_type_name == kind]
        records = filter(None, [each.get_help_record(ctx) for each in params])
        if kind == "argument":
            return [(name.partition(" ")[0].upper(), text) for name, text in records]
        return [
            (_TYPE.sub(lambda match: _type_name(match[1]), name), text) for name, text in records
        ]


_TYPE = re.compile("<(.+)>")
_TYPE_NAMES = {"path": "PATH", "str": "TEXT", "int": "NUMBER", "float": "NUMBER"}


def _type_name(name: str) -> str:
    """A type in help; choices stay as they are."""
    bare = re.sub(r"list\[(\w+)\]| range", r"\1", name)
    return _TYPE_NAMES.get(bare.lower(), bare)


class App(typer.Typer):
    """Makes every command a `PlainCommand`."""

    def command(
        self, name: str | None = None, **options: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """As typer's."""
        return super().command(name, cls=PlainCommand, **options)


_SUMMARY_CHARACTERS = 1000
"""Characters of a summary: more than any has, so that none is cut."""
