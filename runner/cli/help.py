"""Help pages: commands in the order of use, options in groups, and examples and exit codes at the end."""

from collections.abc import Iterable, Iterator

import click

from runner.cli.texts.help import COMMAND_GROUPS, DEFAULT_EXIT_CODES, EXAMPLES, EXIT_CODES, OPTION_GROUPS

_FEW_OPTIONS = 6
_NO_LIMIT = 1000
_MAX_TERM = 30
"""The most columns of a term that has its meaning beside it; in a narrow terminal it is a third of them."""


class HelpedCommand(click.Command):
    """Command whose help page has groups of options, examples and exit codes."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options; if there are many, in groups."""
        records = ((param.name, param.get_help_record(ctx)) for param in self.get_params(ctx))
        found = [(name, record) for name, record in records if record is not None and record[1]]
        groups = OPTION_GROUPS if len(found) > _FEW_OPTIONS else {}
        for title, names in groups.items():
            write_list(formatter, title, (record for name, record in found if name in names))
        grouped = {name for names in groups.values() for name in names}
        title = "Other options" if grouped else "Options"
        write_list(formatter, title, (record for name, record in found if name not in grouped))

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples and exit codes."""
        name = self.name or ""
        if name in EXAMPLES:
            with formatter.section("Examples"):
                for line, purpose in EXAMPLES[name]:
                    command = line if "runner" in line else f"runner {line}"
                    formatter.write(f"{'':{formatter.current_indent}}{command}\n")
                    indent = f"{'':{formatter.current_indent}}    "
                    formatter.write(f"{click.wrap_text(purpose, formatter.width, indent, indent)}\n")
        codes = EXIT_CODES.get(name, DEFAULT_EXIT_CODES)
        write_list(formatter, "Exit codes", ((str(code), meaning) for code, meaning in sorted(codes.items())))


def write_list(formatter: click.HelpFormatter, title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Write a section of terms with their meanings, if there are any."""
    if shown := list(rows):
        with formatter.section(title):
            formatter.write_dl(shown, col_max=min(_MAX_TERM, formatter.width // 3))


def with_help(command: click.Command) -> HelpedCommand:
    """Return a command that does the same and has a help page like all others."""
    return HelpedCommand(command.name, callback=command.callback, params=command.params, help=command.help)


def list_command_groups(commands: dict[str, click.Command]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each group of commands with their one-line help, uncut."""
    for title, names in COMMAND_GROUPS.items():
        yield title, [(name, commands[name].get_short_help_str(_NO_LIMIT)) for name in names if name in commands]
    grouped = {name for names in COMMAND_GROUPS.values() for name in names}
    others = (name for name in commands if name not in grouped)
    yield "Other commands", [(name, commands[name].get_short_help_str(_NO_LIMIT)) for name in others]
