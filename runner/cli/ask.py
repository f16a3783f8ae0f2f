"""The questions of the commands: each ends the same way, whether it is declined or stopped by a signal."""

from typing import TYPE_CHECKING

import click

from runner.cli.echo import format_for_terminal
from runner.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.cli.signals import StopEvent


def confirm(question: str, stop: "StopEvent", *, effect: str) -> None:
    """Ask a person to agree. Raises Interrupted, which says the `effect`, if they decline or press Ctrl-C."""
    with stop.end_question(effect):
        is_agreed = click.confirm(_wrap(f"{question} [y/N]"), err=True, show_default=False)
    if not is_agreed:
        raise Interrupted(f"you declined: {effect}")


def choose(question: str, choices: "Sequence[str]", stop: "StopEvent", *, effect: str) -> str:
    """Ask which of some choices to take, by default the first.

    Raises Interrupted, which says the `effect`, at the choice `stop` or at Ctrl-C.
    """
    shown = _wrap(f"{question} ({', '.join(choices)}) [{choices[0]}]")
    with stop.end_question(effect):
        answer = click.prompt(
            shown, type=click.Choice(choices), default=choices[0], err=True, show_default=False, show_choices=False
        )
    if answer == "stop":
        raise Interrupted(f"you stopped: {effect}")
    return str(answer)


def _wrap(question: str) -> str:
    """Return a question wrapped between words, with room for the colon that click adds."""
    return format_for_terminal(f"{question}:", err=True).removesuffix(":")
