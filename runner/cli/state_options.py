"""Options that say where the state of a project is; they come before the environment and `runner.toml`."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from runner.cli.env_files import reads_env_files

R = TypeVar("R")

_PLACE_OPTIONS = {
    "state": ("URL|local", "Where the state is: a PostgreSQL database, or .runner in the project (local)."),
    "files": ("URL", "Where the files of runs are if the state is shared, such as s3://bucket/runner."),
    "project": ("NAME", "The name of the project in a shared state (default: that of its folder)."),
}


def _refuse_password(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    from runner.store.settings import has_password, variable_of

    if value == "":
        raise click.BadParameter("it is empty", context, option)
    if value is not None and has_password(value):
        variable = variable_of(option.name or "")
        line = (
            "it contains a password, which everyone on this machine could see; put it into the file that "
            f"PGPASSFILE names, or set {variable}"
        )
        raise click.BadParameter(line, context, option)
    return value


def opens_state(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command that opens the state `--env-file`, and the options that say where the state is.

    They are set as environment variables, which .env files never override and other processes inherit.
    """
    inner = reads_env_files(command)

    @wraps(inner)
    def run(*args: Any, **options: Any) -> R:
        from runner.store.settings import give_setting

        for name in _PLACE_OPTIONS:
            if (value := options.pop(name)) is not None:
                give_setting(name, value)
        return inner(*args, **options)

    for name, (metavar, text) in reversed(_PLACE_OPTIONS.items()):
        run = click.option(f"--{name}", metavar=metavar, callback=_refuse_password, help=text)(run)
    return run


def state_words() -> list[str]:
    """Return the options of this command that say where the state is, for a command that goes on."""
    given = click.get_current_context().params
    return [word for name in _PLACE_OPTIONS if (value := given.get(name)) for word in (f"--{name}", value)]
