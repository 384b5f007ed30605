"""The help of the command line as plain text: to import rich would take longer than the rest."""

from typing import Any

from typer.core import TyperGroup, TyperOption


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
            row = (name, command.get_short_help_str(_WHOLE))
            sections.setdefault(title if isinstance(title, str) else "Commands", []).append(row)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


_WHOLE = 1000
"""Characters of a summary: more than any has, so that none is cut."""
