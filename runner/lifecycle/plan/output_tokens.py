"""Expected output tokens of an answer: those of answers to the same prompt in an earlier run, or else assumed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil, sqrt
from statistics import fmean, stdev
from typing import Any

import msgspec

from runner.errors import StateError
from runner.results.usage import Usage
from runner.runs.snapshot import SpecSnapshot, read_snapshot
from runner.store.records import Batch, Run
from runner.store.run_batches import decode_column
from runner.store.run_folder import open_slices
from runner.store.store import Store
from runner.text import pluralize

# Share of max_tokens that an answer uses, assumed if there are no earlier answers.
_ASSUMED_OUTPUT_SHARE = 0.25

_COMPARED_RUNS, _SAMPLED_BATCHES, _SAMPLED_ANSWERS = 20, 50, 1_000


@dataclass(frozen=True, slots=True)
class OutputTokens:
    """Expected tokens of an answer, and in words what they are based on.

    `answers` of the run `run` were read, and `deviation` is their standard deviation; otherwise it is None.
    """

    mean: float
    method: str
    run: str | None = None
    answers: int = 0
    deviation: float | None = None

    def interval(self, count: int) -> tuple[float, float] | None:
        """Return the limits of the mean of `count` new answers like those that were read, by 95 %, or None."""
        if self.deviation is None or not count:
            return None
        error = 2 * self.deviation * sqrt(1 / self.answers + 1 / count)
        return max(self.mean - error, 0.0), self.mean + error


def expected_output_tokens(now: SpecSnapshot, store: Store, runs: Iterable[Run]) -> OutputTokens:
    """Return the expected tokens of an answer to the prompt of `now`, from earlier runs of the spec, newest first.

    The first run with the same prompt, templates and model decides; else the first with the same model; else the
    first run with an answer.
    """
    known = list(runs)
    alike, same_model = _compare(now, store, known)
    for run in alike:
        if (found := _sample_run(store, run, "")) is not None:
            return found
    for run in same_model:
        if (found := _sample_run(store, run, ", which had another prompt")) is not None:
            return found
    averages = (_average_run(store, run) for run in known)
    assumed = OutputTokens(
        now.record["params"]["max_tokens"] * _ASSUMED_OUTPUT_SHARE, "assuming a quarter of max_tokens"
    )
    return next((found for found in averages if found is not None), assumed)


def _compare(now: SpecSnapshot, store: Store, runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Return the runs with the same prompt and model, and those with the same model alone."""
    alike: list[Run] = []
    same_model: list[Run] = []
    for run, snapshot in islice(_read_snapshots(store, runs), _COMPARED_RUNS):
        if snapshot.record["params"]["model"] == now.record["params"]["model"]:
            (alike if _prompt_of(snapshot) == _prompt_of(now) else same_model).append(run)
    return alike, same_model


def _prompt_of(snapshot: SpecSnapshot) -> tuple[Any, ...]:
    """Return everything that a prompt consists of; a cache mark changes no answer."""
    return snapshot.templates, {**snapshot.record["prompt"], "cache": None}


def _read_snapshots(store: Store, runs: Sequence[Run]) -> Iterator[tuple[Run, SpecSnapshot]]:
    for run in runs:
        try:
            snapshot = read_snapshot(store, run)
        except StateError:
            continue
        # The rows that a retry sends are those that went wrong before: their answers are not like others.
        if snapshot.retries is None:
            yield run, snapshot


def _sample_run(store: Store, run: Run, note: str) -> OutputTokens | None:
    """Return the mean of answers that are spread over a run; None if it has none."""
    tokens = list(_read_output_tokens(store, run))
    if not tokens:
        return None
    deviation = stdev(tokens) if len(tokens) > 1 else None
    method = f"from {pluralize(len(tokens), 'answer')} of run {run.id}{note}"
    return OutputTokens(fmean(tokens), method, run.id, len(tokens), deviation)


class _TokenUsage(msgspec.Struct):
    output_tokens: float


class _Message(msgspec.Struct):
    usage: _TokenUsage


class _Result(msgspec.Struct):
    message: _Message


class _Line(msgspec.Struct):
    result: _Result


def _read_output_tokens(store: Store, run: Run) -> Iterator[float]:
    """Yield the output tokens of at most 1,000 answers that are spread over a run."""
    folder, decode = store.folder(run), msgspec.json.Decoder(_Line).decode
    with open_slices() as files:
        for batch, offset, length in _spread_results(store, run):
            try:
                line = decode(files.read(folder.results(batch.round, batch.batch), offset, length))
            except (OSError, msgspec.DecodeError):  # purged, or no answer
                continue
            yield line.result.message.usage.output_tokens


def _spread_results(store: Store, run: Run) -> Iterator[tuple[Batch, int, int]]:
    """Yield the batch, offset and length of results at even distances in a run."""
    collected = [batch for batch in store.batches(run) if batch.state == "collected"]
    batches = collected[:: ceil(len(collected) / _SAMPLED_BATCHES) or 1]
    # An odd step, because rows often alternate.
    step, seen = ceil(sum(batch.requests for batch in batches) / _SAMPLED_ANSWERS) | 1, 0
    for batch in batches:
        results = store.row_index.results_of(batch)
        yield from ((batch, offset, length) for _, offset, length in results[-seen % step :: step])
        seen += len(results)


def _average_run(store: Store, run: Run) -> OutputTokens | None:
    """Return the average of all answers of a run, which may be purged; None if it has none."""
    tokens, answers = 0.0, 0
    for batch in store.batches(run):
        usage = decode_column(batch.usage, Usage)
        if usage.unreadable:
            continue
        tokens += usage.output_tokens or 0
        answers += decode_column(batch.counts, dict[str, int]).get("succeeded", 0)
    if not tokens or not answers:
        return None
    return OutputTokens(tokens / answers, f"based on the average of run {run.id}", run.id, answers)
