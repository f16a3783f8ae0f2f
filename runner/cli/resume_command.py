"""The command line that continues what this command began, to be copied as it stands."""

import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import click

from runner.cli.signals import program_words

# Repeated, they would start over, or stop at once.
_NOT_REPEATED = {"--new", "--no-wait", "--run"}


class _Words(NamedTuple):
    """The words of one option with its value, or of one argument, whose option is None."""

    option: str | None
    value: str | None
    words: list[str]


def resume_command(specs: Collection[str]) -> str:
    """Return the command line that continues this one; `specs` are the paths of the specs that are left.

    They replace the specs and selections of this command if a selection by state would miss them now.
    """
    command = click.get_current_context().command
    parts = [part for part in _split_words(command, sys.argv[2:]) if _is_repeated(part)]
    if any(part.option == "--select" and "state:" in (part.value or "") for part in parts):
        parts = [part for part in parts if part.option not in (None, "--select")]
        parts = [_Words(None, None, [spec]) for spec in specs] + parts
    name = command.name if command.name in ("retry", "pilot") else "run"
    return shlex.join([*program_words(), name, *(word for part in parts for word in part.words)])


def _is_repeated(part: _Words) -> bool:
    return part.option not in _NOT_REPEATED and (part.option, part.value) != ("--pending", "new")


def _split_words(command: click.Command, words: Sequence[str]) -> Iterator[_Words]:
    """Yield the options and arguments of a command line."""
    flags = {name for one in command.params if isinstance(one, click.Option) and one.is_flag for name in one.opts}
    left = iter(words)
    for word in left:
        option, has_value, value = word.partition("=")
        if not word.startswith("-") or word == "-":
            yield _Words(None, None, [word])
        elif has_value:
            yield _Words(option, value, [word])
        elif word in flags or (following := next(left, None)) is None:
            yield _Words(word, None, [word])
        else:
            yield _Words(word, following, [word, following])
