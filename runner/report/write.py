"""Write the report of a run: read its figures, judge them, and render the page or the text."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from runner.errors import InputError, UsageError
from runner.lifecycle.deliver.failures import UNCONFIRMED_STATES
from runner.report.by_spec import open_labels, read_variants
from runner.report.collect import TakeRow, collect_figures
from runner.report.earlier import read_earlier
from runner.report.figures import Figures
from runner.report.judge import judge_run
from runner.report.page.render import render_html, render_markdown
from runner.report.page.rows import RowPacker, keep_nothing, open_packer
from runner.runs.context import RunContext
from runner.sinks.destination import Destination, resolve_report
from runner.store.records import Run
from runner.store.run_folder import open_slices
from runner.store.store import Store


def _open_rows(stack: ExitStack, store: Store, run: Run, *, has_pictures: bool) -> RowPacker:
    draw = None
    if has_pictures:
        # Only pictures need Pillow and PDFium.
        from runner.lifecycle.deliver.row_results import RequestFinder
        from runner.report.page.thumbnails import Thumbnailer

        files = stack.enter_context(open_slices())
        draw = Thumbnailer(store, files, RequestFinder(store, run, files)).draw
    counts = store.counts.read(run)
    failed = sum(rows for name, rows in counts.items() if name != "succeeded")
    judge = stack.enter_context(open_labels(store, run))
    return stack.enter_context(open_packer(rows=run.rows, failed=failed, draw=draw, judge=judge))


def _read_figures(store: Store, run: Run, take_row: TakeRow) -> Figures:
    figures = collect_figures(store, run, take_row)
    return replace(figures, earlier=read_earlier(store, run), variants=read_variants(store, run))


def make_page(store: Store, run: Run, *, has_rows: bool = True, has_pictures: bool = False) -> Iterator[str]:
    """Yield the page about a run as it stands, in parts; `has_pictures` shows what rows attach.

    Raises UsageError if the run has not begun, and StateError if its files are damaged.
    """
    _check_begun(run)
    with ExitStack() as stack:
        is_full = has_rows and run.purged_at is None
        packer = _open_rows(stack, store, run, has_pictures=has_pictures) if is_full else None
        figures = _read_figures(store, run, keep_nothing if packer is None else packer.add)
        yield from render_html(figures, judge_run(figures), packer, time.time())


def make_text(store: Store, run: Run) -> str:
    """Return the report of a run in Markdown. Raises UsageError and StateError like `make_page`."""
    _check_begun(run)
    figures = _read_figures(store, run, keep_nothing)
    return render_markdown(figures, judge_run(figures), time.time())


def _check_begun(run: Run) -> None:
    if run.state in UNCONFIRMED_STATES:
        raise UsageError(f"run {run.id} has not begun: there is a report once it was confirmed")


def write_file(path: Path, parts: Iterable[str]) -> None:
    """Write a report; it appears whole or not at all. Raises OSError."""
    with Destination(path).open_file() as file:
        for part in parts:
            file.write(part.encode("utf-8", "replace"))


def write_spec_report(context: RunContext) -> None:
    """Write the page about a run as it stands, if its spec asks for one and its rows were not purged.

    Raises InputError if it cannot be written: the outputs of the run are complete then.
    """
    place, store = resolve_report(context.spec, context.output_root), context.store
    if place is None or place.path is None or context.run.purged_at is not None:
        return
    context.report("writing", "writing the report")
    try:
        write_file(place.path, make_page(store, context.run))
    except OSError as error:
        message = f"cannot write {place}: {error.strerror}; the outputs are written. Repeat this command"
        raise InputError([context.spec.problem("report", message)]) from error
