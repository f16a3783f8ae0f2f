"""The command that writes a page about a run: report."""

from pathlib import Path

import click

from runner.cli.complete import TARGET
from runner.cli.echo import echo, echo_text
from runner.cli.state_options import opens_state
from runner.errors import UsageError


@click.command()
@click.argument("target", metavar="RUN|SPEC", type=TARGET)
@click.option(
    "-o", "--output", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write this file (default: report-RUN.html).",
)  # fmt: skip
@click.option("--no-rows", is_flag=True, help="Leave out all rows and samples, for sharing.")
@click.option("--attachments", "has_pictures", is_flag=True, help="Show images and first pages beside their rows.")
@click.option("--md", "is_markdown", is_flag=True, help="Print Markdown, for a pull request or a chat.")
@opens_state
def report(target: str, *, path: Path | None, no_rows: bool, has_pictures: bool, is_markdown: bool) -> None:
    """Write a page about a run.

    One HTML file that needs no network: what looks wrong, then the figures, then the rows. During a run it shows
    what is known so far. Sends nothing.
    RUN is a run id or its beginning; SPEC is the path or name of a spec, and means its newest run.
    """
    from runner.cli.finish_command import say_if_simulated
    from runner.files.extras import missing_package_message
    from runner.lifecycle.maintain.show import find_shown_run
    from runner.report.write import make_page, make_text, write_file
    from runner.runs.find import check_no_input, open_run
    from runner.sinks.destination import Destination, why_not_writable

    found = find_shown_run(target)
    say_if_simulated(found, target)
    with open_run(found, lock=False) as (store, run):
        if has_pictures and (missing := missing_package_message("documents")):
            raise UsageError(f"--attachments: {missing}")
        if is_markdown and path is None:
            echo(make_text(store, run), nl=False)
            return
        path = path or Path(f"report-{run.id}.html")
        check_no_input(path, [found])
        if why := why_not_writable(Destination(path)):
            raise UsageError(f"--output: {why}")
        if is_markdown:
            write_file(path, [make_text(store, run)])
        else:
            write_file(path, make_page(store, run, has_rows=not no_rows, has_pictures=has_pictures))
    kind = "pilot" if run.is_pilot else "run"
    echo_text(f"wrote {path}: {kind} {run.id} of {run.spec}", err=True)
