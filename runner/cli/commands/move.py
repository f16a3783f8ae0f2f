"""The command that moves the runs of a project to a state that machines share, and back."""

from functools import partial
from threading import Event

import click

from runner.cli.common import JSON_OPTION, echo_json
from runner.cli.echo import echo_text
from runner.cli.env_files import reads_env_files
from runner.cli.wait_lock import WAIT_LOCK_OPTION, wait_for_lock


@click.command()
@click.option("--to", metavar="shared|local|URL", help="Where to: the shared state of runner.toml (default), the "
              "project folder, or the URL of a PostgreSQL database.")  # fmt: skip
@click.option("--files", metavar="URL", help="With the URL of a database: the folder in an object store.")
@click.option("--project", metavar="NAME", help="With the URL of a database: the project (default: the folder's).")
@WAIT_LOCK_OPTION
@JSON_OPTION
@reads_env_files
def move(
    to: str | None, files: str | None, project: str | None, wait_lock: float | None, *, as_json: bool
) -> None:
    """Move all runs to a shared state, or back.

    Moves the runs of this project, finished or not, from .runner/ to the shared state that runner.toml names, or
    with --to local from there to .runner/. Nothing may run meanwhile, and nothing is sent. If it is interrupted,
    run it again: until then, the runs can be sent from one place at most.
    """
    from runner.lifecycle.maintain.move import find_move, move_runs
    from runner.text import pluralize

    place, is_shared = find_move(to, files, project)
    # A signal may end it at any moment.
    moved = wait_for_lock(
        lambda: move_runs(place, partial(echo_text, err=True), is_shared=is_shared), wait_lock, Event()
    )
    target = str(place) if is_shared else str(place.folder)
    if as_json:
        echo_json({"to": target, "runs": moved.runs, "files": moved.files})
        return
    echo_text(f"{target} has {pluralize(moved.runs, 'run')}; {pluralize(moved.files, 'file')} moved")
    if to not in (None, "shared", "local"):
        echo_text(
            f'put state, files = "{files}" and project = "{place.project}" into runner.toml, as the guide says'
        )
    if not is_shared:
        echo_text("take `state` and `files` out of runner.toml, so that runs start from here")
