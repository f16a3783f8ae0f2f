"""The texts about a run: its summary, its states, and its unknown batches."""

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from runner.cli.echo import escape_line, to_cell
from runner.cli.signals import program_words
from runner.cli.texts.scores import format_scores
from runner.pricing.rates import format_dollars
from runner.results.outcome_names import cannot_be_retried
from runner.runs.find import RunInfo
from runner.runs.summary import Progress, Summary
from runner.store.api_queue import FullQueue
from runner.text import format_duration, pluralize

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from runner.lifecycle.maintain.unknown_batches import UnknownBatch


def format_states(summary: Summary | Progress) -> str:
    """Return the number of batches in each state."""
    counts = summary.batches
    if isinstance(counts, list):
        counts = Counter(batch["state"] for batch in counts)
    return ", ".join(f"{count:,} {state}" for state, count in counts.items()) or _none(summary)


def _none(summary: Summary | Progress) -> str:
    """Return the word for no batches, or no outcomes: those of a finished run do not come later."""
    return "none" if summary.state == "finished" else "none yet"


def format_outcomes(summary: Summary | Progress) -> str:
    """Return the number of rows with each outcome."""
    return ", ".join(f"{count:,} {outcome}" for outcome, count in summary.outcomes.items()) or _none(summary)


def _format_destination(sink: Mapping[str, Any]) -> str:
    """Return the destination of a sink; a path below the working folder is shown relative to it."""
    table = f" {sink['table']}" if "table" in sink else ""
    return _relative_path(str(sink["path"])) + table


def _relative_path(path: str) -> str:
    relative = path if "://" in path else os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _format_cost(summary: Summary) -> Iterator[str]:
    cost = summary.cost
    if summary.unreadable_usage:
        fields = ", ".join(summary.unreadable_usage)
        most = f", at most {format_dollars(cost['max'])}" if cost["max"] is not None else ""
        yield f"  cost    unknown{most}; unreadable in the API's usage: {fields}"
    if cost["actual"] is None:
        return
    estimate = f", estimated {format_dollars(cost['estimated'])}" if cost["estimated"] is not None else ""
    saved = f"; saved {format_dollars(cost['saved'])} compared to synchronous requests" if cost["saved"] else ""
    note = " (simulated: nothing was paid)" if summary.is_simulated else ""
    yield f"  cost    {format_dollars(cost['actual'])}{note}{estimate}{saved}"


def format_cache(summary: Summary) -> Iterator[str]:
    """Yield what the prompt cache has brought, if there is anything to say of it."""
    written, read = (summary.usage[f"cache_{name}_input_tokens"] for name in ("creation", "read"))
    if not written + read:
        return
    saved = summary.cost.get("saved_by_cache")
    amount = "" if saved is None else f"; {'saved' if saved >= 0 else 'lost'} {format_dollars(abs(saved))}"
    hits = read / (written + read)
    yield f"{written:,} tokens written, {read:,} read: {hits:.1%} of what was cached{amount}"


def format_accounts(summary: Summary) -> Iterator[str]:
    """Yield what each account still processes, if there are accounts."""
    for name, counts in summary.accounts.items():
        requests, batches = pluralize(counts["requests"], "request"), pluralize(counts["batches"], "batch")
        yield f"account {name.replace(',', ' or ')}: {requests} in {batches} in processing"


def _format_missing(summary: Summary) -> Iterator[str]:
    if missing := sum(batch.get("missing_results", 0) for batch in summary.batches):
        yield (
            f"  missing {pluralize(missing, 'row')} without a result, though the API counted them as processed: "
            "they count as paid.\n"
            "          They are sent, and paid, again only with `missing` in retry.on or by `runner retry`"
        )


def format_doubts(summary: Summary) -> Iterator[str]:
    """Yield a line about the batches that may have been paid twice, if there are any."""
    doubted = [batch for batch in summary.batches if "doubted_cost" in batch]
    if doubted:
        round, number = doubted[0]["round"], doubted[0]["batch"]
        name = f"batch {number}" if round == 1 else f"batch {number} of round {round}"
        what = name if len(doubted) == 1 else pluralize(len(doubted), "batch")
        most = format_dollars(sum(batch["doubted_cost"] for batch in doubted))
        yield f"{what} may have been paid twice: up to {most}"


def format_wrong(summary: Summary, spec: str | None = None) -> Iterator[str]:
    """Yield the command that shows the wrong answers, if a score is below its threshold; see `format_failures`."""
    if any(score.is_missed and score.right < score.labelled for score in summary.evaluation or ()):
        yield f"  wrong   {shlex.join([*program_words(), 'show', spec or summary.run, '--wrong'])}"


_MAX_REASONS = 5


def format_failures(summary: Summary, spec: str | None = None) -> Iterator[str]:
    """Yield the failed rows by reason with an example of each, then the commands that show and retry them.

    They name the run, or its `spec` if the run is in another project than the working folder.
    """
    groups = summary.failures or []
    counts = [pluralize(group.rows, "row") for group in groups[:_MAX_REASONS]]
    width = max(map(len, counts), default=0)
    for index, (group, count) in enumerate(zip(groups, counts, strict=False)):
        yield f"  {'' if index else 'failed':6}  {count:{width}}  {escape_line(group.reason)}"
        answer = "" if group.answer is None else f": {group.answer}"
        yield escape_line(f"  {'':6}  {'':{width}}  {group.key}{answer}")
    if left := sum(group.rows for group in groups[_MAX_REASONS:]):
        yield f"  {'':6}  {pluralize(left, 'row')} of other reasons"
    program, named = shlex.join(program_words()), summary.run if spec is None else shlex.quote(spec)
    if groups:
        yield f"  show    {program} show {named} --failed"
    if groups and summary.state == "finished" and not summary.is_pilot:
        simulate = " --simulate" if spec is not None and summary.is_simulated else ""
        if cannot_be_retried(summary.outcomes):
            yield "          These rows cannot be sent as they are. Replace the files that they attach, then"
        yield f"  again   {program} retry {named}{simulate}"
        if cannot_be_retried(summary.outcomes):
            yield "          After an edit of the rows themselves, run the spec again"


def format_conclusion(summary: Summary, *, is_simulated: bool, spec: str | None = None) -> str:
    """Return the summary of a finished run: outcomes, duration, tokens, cost, scores and outputs.

    `spec` is its path if it belongs to another project than the working folder.
    """
    took = format_duration(summary.seconds) + (" (simulated)" if is_simulated else "")
    lines = [
        f"{summary.spec}: {pluralize(summary.rows, 'row')}, {format_outcomes(summary)}, in {took}",
        f"  run     {summary.run}",
        (
            f"  tokens  {summary.usage['input_tokens']:,} in, {summary.usage['output_tokens']:,} out"
            f"{' (simulated)' if summary.is_simulated else ''}"
        ),
        *(f"  cache   {line}" for line in format_cache(summary)),
        *_format_cost(summary),
        *_format_missing(summary),
        *(f"  doubt   {line}" for line in format_doubts(summary)),
        *format_scores(summary.evaluation, is_simulated=summary.is_simulated),
        *format_wrong(summary, spec),
        *format_failures(summary, spec),
    ]
    paths = [_format_destination(sink) for sink in summary.sinks]
    width = max(map(len, paths), default=0)
    for index, (path, sink) in enumerate(zip(paths, summary.sinks, strict=True)):
        lines.append(f"  {'' if index else 'wrote':6}  {path:{width}}  {pluralize(sink['rows'], 'row')}")
    lines += _format_cuts(zip(paths, summary.sinks, strict=True))
    kept = [_relative_path(sink["instead_of"]) for sink in summary.sinks if "instead_of" in sink]
    lines += [f"  {'' if index else 'kept':6}  {path}, which is complete" for index, path in enumerate(kept)]
    return "\n".join(lines)


def _format_cuts(outputs: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """Yield a line for each output that has cells with only a part of their text."""
    for path, sink in outputs:
        if cuts := sink.get("cut"):
            columns = ", ".join(f"{pluralize(count, 'cell')} of {name}" for name, count in cuts.items())
            yield escape_line(f"  cut     {path}: {columns}")


def format_unfinished(summary: Summary) -> str:
    """Return the message about an unfinished run."""
    states = format_states(summary)
    first = f"{summary.spec}: run {summary.run} is unfinished (batches: {states}); nothing was canceled"
    scores = format_scores(summary.evaluation, is_simulated=summary.is_simulated)
    return "\n".join([first, *(f"  {line}" for line in format_doubts(summary)), *scores])


def format_unknown_batch(batch: "UnknownBatch") -> str:
    """Describe a batch whose creation got no response, and the remote batches that could be it."""
    sent_at = datetime.fromtimestamp(batch.intent_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [
        (
            f"{batch.name} ({pluralize(batch.requests, 'request')}), sent at {sent_at}: "
            "unknown whether it was accepted"
        )
    ]
    for remote in batch.candidates:
        created_at = datetime.fromtimestamp(remote.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        lines.append(f"  could be {remote.id}, created at {created_at}, {remote.processing_status}")
    if not batch.candidates:
        lines.append("  no batch in the workspace could be it")
    return "\n".join(lines)


def format_queue(queue: FullQueue, now: float, *, is_only: bool = True) -> str:
    """Return what is in a queue of the API that is known to be full, who waits, and when more is tried."""
    organization = "" if is_only else queue.name.partition(" ")[2]
    accounts = ", ".join(account.replace(",", " or ") for account in queue.accounts)
    whose = f" of account {accounts}" if accounts else f" of {organization}" if organization else ""
    runs = ", ".join(f"{requests:,} of run {run}" for run, requests in queue.runs.items())
    shown = f"{pluralize(queue.requests, 'request')}: {runs}" if runs else "requests of others"
    next_try = f"in {format_duration(queue.next_try - now)}" if queue.next_try > now else "now"
    verb = "waits" if len(queue.waiting) == 1 else "wait"
    waiting = f"; run {', run '.join(queue.waiting)} {verb} for room" if queue.waiting else ""
    return f"queue{whose}: full with {shown}{waiting}; next try {next_try}, or once a batch has ended"


def _format_actual_cost(summary: Summary) -> str:
    if summary.unreadable_usage:
        return "unknown"
    return "" if summary.cost["actual"] is None else format_dollars(summary.cost["actual"])


def format_run_blocks(found: Sequence[RunInfo]) -> str:
    """Return runs below each other, for a terminal that is too narrow for their table."""
    lines = []
    for run in found:
        summary, cost = run.summary, _format_actual_cost(run.summary)
        kinds = [name for name, is_it in (("simulated", run.is_simulated), ("pilot", run.is_pilot)) if is_it]
        note = f" ({', '.join(kinds)})" if kinds else ""
        lines += [
            f"{summary.run}  {summary.state}{note}",
            f"  spec      {summary.spec}",
            f"  rows      {summary.rows:,}: {format_outcomes(summary)}",
            f"  batches   {format_states(summary)}",
            *([f"  cost      {cost}"] if cost else []),
        ]
    return "\n".join(lines)


_ANY_WIDTH = 10_000
_WRAPPED = "outcomes"


def build_runs_table(found: Sequence[RunInfo]) -> "Table":
    """Return a table of runs."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("run", "spec", "state", "rows", _WRAPPED, "batches", "cost", "kind"):
        justify: Literal["left", "right"] = "right" if name in ("rows", "cost") else "left"
        table.add_column(name, justify=justify, no_wrap=name != _WRAPPED)
    for run in found:
        summary = run.summary
        table.add_row(
            summary.run,
            to_cell(summary.spec),
            summary.state,
            f"{summary.rows:,}",
            format_outcomes(summary),
            format_states(summary),
            _format_actual_cost(summary),
            ("simulated" if run.is_simulated else "real") + (" pilot" if run.is_pilot else ""),
        )
    return table


def measure_runs_table(table: "Table", found: Sequence[RunInfo], console: "Console") -> int:
    """Return the least width at which a table of runs is whole: only its outcomes may wrap, between words."""
    outcomes = [_WRAPPED, *(format_outcomes(run.summary) for run in found)]
    spare = max(map(len, outcomes)) - max(len(word) for text in outcomes for word in text.split())
    options = console.options.update(max_width=_ANY_WIDTH)
    return console.measure(table, options=options).maximum - spare
