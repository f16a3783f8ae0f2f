"""Shared options and exit handling of the commands."""

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from runner.cli.complete import SpecType, offer_conditions
from runner.cli.echo import echo, escape_controls, text_width, wrap_line
from runner.cli.help import list_command_groups, write_list
from runner.cli.log import LOG
from runner.cli.shells import register_shells
from runner.cli.signals import command_line, say_next_command
from runner.errors import InputError, RunnerError, StateError, describe_os_error
from runner.telemetry.trace import record_command

if TYPE_CHECKING:
    from runner.rules.finding import Finding

COMPLETE_VARIABLE = "_RUNNER_COMPLETE"
SPEC_PATH = SpecType(dir_okay=False, path_type=Path)
SPEC_PATHS = SpecType()
"""Several specs: paths, folders and globs."""


class RunnerGroup(click.Group):
    """Command group that ends a failed command with a message and exit code; only bugs show a traceback."""

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the names of the commands in the order of their definition."""
        return list(self.commands)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in the order of use."""
        for title, rows in list_command_groups(dict(self.commands)):
            write_list(formatter, title, rows)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of a call, whose help pages fit a terminal that is narrower than click expects."""
        if (width := text_width(err=False)) is not None and width < _NARROW:
            extra.setdefault("terminal_width", width)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except KeyboardInterrupt:
            sys.exit(130)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command as a program, and report an error of a file that no command expected."""
        # As in the scripts of `completion`, however the program is called.
        options.setdefault("complete_var", COMPLETE_VARIABLE)
        register_shells()
        try:
            return super().main(*args, **options)
        except OSError as error:
            _exit_with_error(_file_error(error))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command, and report its error; Ctrl-C ends it with 130, also at a question."""
        try:
            with record_command(lambda line: LOG.say(line, event="warning")):
                return super().invoke(ctx)
        except RunnerError as error:
            _exit_with_error(error)
        except click.UsageError as error:
            raise _wrap_usage_error(error) from None
        except (click.Abort, KeyboardInterrupt):
            say_next_command(
                f"{ctx.invoked_subcommand} was stopped", "start again with", command_line(), exit_code=130
            )
            sys.exit(130)


_NARROW = 52
"""Columns below which click's help pages, of 50 at least, do not fit."""

_USAGE_LABEL = "Error: "


def _wrap_usage_error(error: click.UsageError) -> click.UsageError:
    """Return a mistake in the words of a command as click is to print it: on a terminal, wrapped between words."""
    message, width = escape_controls(error.format_message()), text_width(err=True)
    if width is not None:
        lines = f"{_USAGE_LABEL}{message}".split("\n")
        message = "\n".join(wrap_line(line, width) for line in lines).removeprefix(_USAGE_LABEL)
    return click.UsageError(message, error.ctx)


def _file_error(error: OSError) -> RunnerError:
    """Return the error for an unusable file; without a file name, it is usually stdout."""
    if error.filename is not None:
        return StateError(describe_os_error(error))
    # Otherwise the buffered output would fail again when the process exits.
    with suppress(OSError, ValueError):
        sys.stdout.close()
    return RunnerError(f"cannot write: {error.strerror or error}")


def _find_roots() -> list[Path]:
    """Return the projects of the specs that the command names, and that of the working folder."""
    from runner.spec.spec_files import find_project_root

    words = map(Path, sys.argv[1:])
    named = [word / "spec" if word.is_dir() else word for word in words if word.exists()]
    return list(dict.fromkeys(map(find_project_root, [*named, Path("spec")])))


def _describe_problems(error: InputError) -> str:
    """Return the problems of an error, each with the line that it is about."""
    from runner.cli.texts.excerpt import format_problem

    roots, width = _find_roots(), text_width(err=True)
    return "\n".join(format_problem(problem, roots, width=width) for problem in error.problems)


def show_finding(finding: "Finding", *, err: bool) -> str:
    """Return a finding about a run with the line that it is about, to be printed on stdout or stderr."""
    from runner.cli.texts.excerpt import format_problem

    return format_problem(finding.shown, _find_roots(), width=text_width(err=err))


def _exit_with_error(error: RunnerError) -> NoReturn:
    say_error(error)
    sys.exit(error.exit_code)


def say_error(error: RunnerError, *, spec: str | None = None) -> None:
    """Print the error that stopped a command, or the run of one `spec` of several."""
    # If stderr cannot be written either, the exit code still reports the failure.
    with suppress(OSError):
        plain = str(error) if LOG.is_json else f"error: {f'{spec}: ' if spec else ''}{error}"
        message = _describe_problems(error) if isinstance(error, InputError) and not LOG.is_json else plain
        LOG.say(message, event="stopped", exit_code=error.exit_code)


class TimeSpan(click.ParamType[float]):
    """Option type: a time span such as 90m or 8h, converted to seconds."""

    name = "time span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds of a time span."""
        from runner.spec.cross_field import parse_duration

        if re.fullmatch(r"[0-9]+(\.[0-9]+)?[smhd]", str(value)) is None:
            self.fail(f"{value!r} is not a time span, such as 90m or 8h", param, ctx)
        return parse_duration(str(value))


def _parse_variables(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise click.BadParameter(f"{name!r} does not have the form NAME=VALUE", ctx, option)
    return {name: value for name, _, value in pairs}


VAR_OPTION = click.option(
    "--var",
    "variables",
    multiple=True,
    callback=_parse_variables,
    metavar="NAME=VALUE",
    help="Override a variable of the spec; can be repeated.",
)
SELECT_OPTION = click.option(
    "--select",
    multiple=True,
    metavar="CONDITION",
    shell_complete=offer_conditions,
    help="Only specs with tag:NAME, variant:NAME, state:failed, state:unfinished or state:new; "
    "a comma joins conditions.",
)
VERBOSE_OPTION = click.option("-v", "--verbose", is_flag=True, help="Show what the estimates are based on.")
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")


_OLD_NAMES = {
    "reasons": "because",
    "mode_reason": "why",
    "cheapest_reason": "cheapest_why",
    "duration": "outlook",
    "unfinished_run": "under_way",
    "estimated_cost": "estimated",
    "output_tokens.max": "output_tokens.worst",
    "cost.max": "cost.worst",
    "cost.at_sync_price": "cost.synchronous",
    "batches.ignored_lines": "batches.odd",
    "batches.mode": "batches.lane",
}
"""Names in JSON output with the names that version 0.1 had for them, which are printed too until version 0.3."""


def _add_old_names(value: Any, path: str = "") -> None:
    for item in value if isinstance(value, list) else []:
        _add_old_names(item, path)
    for name, inner in list(value.items()) if isinstance(value, dict) else []:
        _add_old_names(inner, f"{path}{name}.")
        if (old := _OLD_NAMES.get(f"{path}{name}")) is not None:
            value[old.rpartition(".")[2]] = inner


def echo_json(value: Any) -> None:
    """Print a value as one JSON object, under today's names and those of the version before."""
    import msgspec

    shown = msgspec.to_builtins(value)
    _add_old_names(shown)
    echo(msgspec.json.encode(shown))


def warn_of_debug_log() -> None:
    """Warn on stderr if the SDK is set to log prompts."""
    if os.environ.get("ANTHROPIC_LOG") == "debug":
        LOG.say("warning: ANTHROPIC_LOG=debug prints every request, including its prompt", event="warning")
