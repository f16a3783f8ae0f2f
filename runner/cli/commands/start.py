"""The command that writes a first spec: init."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.echo import echo, echo_text
from runner.cli.signals import program_words

if TYPE_CHECKING:
    from runner.starters.own_data import Starter


def _print_starter(made: "Starter") -> None:
    from runner.starters.template import next_commands

    for path in made.written:
        echo_text(f"wrote {os.path.relpath(path)}")
    for path in made.left:
        echo_text(f"left {os.path.relpath(path)} as it was")
    for note in made.notes:
        echo_text(f"note: {note}", err=True)
    echo("next:")
    for command, purpose in next_commands(os.path.relpath(made.spec), program_words()):
        echo(f"  {command}")  # not wrapped: it is there to be copied
        echo_text(f"      {purpose}")


@click.command()
@click.argument("template", required=False)
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--from",
    "data",
    metavar="FILE",
    help="Write a spec for this data file: csv, tsv, json, jsonl, parquet or xlsx; or for a glob of them.",
)
@click.option("--ask", "task", metavar="TEXT", help="What to do with each row. `as A, B or C` names the answers.")
@click.option("--name", help="Name of the spec (default: that of the data file).")
@click.option("--list", "is_list", is_flag=True, help="List the templates.")
def init(
    template: str | None,
    folder: Path | None,
    *,
    data: str | None,
    task: str | None,
    name: str | None,
    is_list: bool,
) -> None:
    """Write a first spec from your data or a template.

    With --from, writes a spec for a data file, from its columns and the text of --ask; no model is called. Without
    it, copies a template (default: classify) into FOLDER (default: here). Files that exist are never overwritten.
    """
    from runner.starters.own_data import write_starter
    from runner.starters.template import DEFAULT, copy_template, list_templates

    if is_list:
        templates = list_templates()
        width = max(map(len, templates))
        for one, about in templates.items():
            echo_text(f"{one:{width}}  {about}")
        return
    if data is None:
        if task or name:
            raise click.UsageError("--ask and --name need a data file: `--from FILE`")
        _print_starter(copy_template(template or DEFAULT, folder or Path()))
        return
    if folder is not None:
        raise click.UsageError("--from takes no template: give only the folder for the spec")
    _print_starter(write_starter(data, Path(template or "."), task=task, name=name))
