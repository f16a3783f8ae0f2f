"""Judge a run by its figures: what looks wrong, each with its evidence and the next command."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runner.pricing.rates import format_dollars
from runner.report.figures import Earlier, FieldFigures, Figures
from runner.report.words import format_number, format_share
from runner.results.outcome_names import cannot_be_retried
from runner.text import pluralize

Severity = Literal["bad", "doubtful"]

MIN_ROWS = 20
"""The rows that a share must be of before it is judged."""

_DOMINANT, _NULL, _AT_BOUND, _ESTIMATE, _CACHE, _MOVED = 0.70, 0.20, 0.20, 0.25, 0.80, 0.05
_SURE = 3.0
_MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that looks wrong: a sentence with the evidence, what to do, and a command that helps, if one does.

    `anchor` is the part of the report that shows it.
    """

    severity: Severity
    text: str
    remedy: str
    anchor: str
    command: str | None = None


def judge_run(figures: Figures) -> list[Finding]:
    """Return what looks wrong in a run, the worst first."""
    found = [
        *_judge_outcomes(figures),
        *_judge_scores(figures),
        *_judge_nulls(figures.fields),
        *(finding for field in figures.fields for finding in _judge_field(field)),
        *_judge_cost(figures),
        *_judge_cache(figures),
        *_judge_changes(figures),
    ]
    return sorted(found, key=lambda finding: finding.severity != "bad")


def _judge_outcomes(figures: Figures) -> Iterator[Finding]:
    run, outcomes = figures.summary.run, figures.summary.outcomes
    if figures.failed:
        share = format_share(figures.failed, figures.ended)
        yield Finding(
            "bad",
            f"{pluralize(figures.failed, 'row')} of {figures.ended:,} ({share}) did not succeed.",
            "Replace the files that these rows attach: as they are, none can be sent. A retry keeps good answers."
            if cannot_be_retried(outcomes)
            else "They are listed by reason below; a retry keeps all good answers.",
            "failures",
            f"runner retry {run}{_simulate(figures)}",
        )
    if figures.stopped_at_limit:
        share, limit = format_share(figures.stopped_at_limit, figures.answered), figures.max_tokens
        yield Finding(
            "bad",
            f"{pluralize(figures.stopped_at_limit, 'answer')} ({share}) stopped at max_tokens ({limit:,}).",
            "Raise max_tokens in params, then send only these rows again.",
            "tokens",
            f"runner retry {run} --outcome truncated{_simulate(figures)}",
        )
    if refused := outcomes.get("refused", 0):
        yield Finding(
            "bad",
            f"The model refused {pluralize(refused, 'row')} ({format_share(refused, figures.ended)}).",
            "Read what they ask for: the prompt or the input may need other words.",
            "failures",
            f"runner show {run} --outcome refused",
        )


def _simulate(figures: Figures) -> str:
    return " --simulate" if figures.summary.is_simulated else ""


def _judge_scores(figures: Figures) -> Iterator[Finding]:
    for score in figures.scores:
        if score.is_missed and score.accuracy is not None and score.min_accuracy is not None:
            yield Finding(
                "bad",
                f"{score.name}: {format_share(score.right, score.labelled)} of {score.labelled:,} labelled "
                f"answers are right, below min_accuracy {format_share(score.min_accuracy, 1)}.",
                "Read the wrong answers; the labels may be wrong too.",
                "evaluation",
                f"runner show {figures.summary.run} --wrong",
            )


def _judge_nulls(fields: Sequence[FieldFigures]) -> Iterator[Finding]:
    empty = [field for field in fields if field.of >= MIN_ROWS and field.nulls > _NULL * field.of]
    if not empty:
        return
    ordered = sorted(empty, key=lambda field: -field.nulls / field.of)
    shown = [f"{field.name} in {format_share(field.nulls, field.of)} of {field.of:,}" for field in ordered]
    others = f", and {pluralize(len(shown) - _MAX_SHOWN, 'other field')}" if len(shown) > _MAX_SHOWN else ""
    text = f"Often null or missing: {', '.join(shown[:_MAX_SHOWN])}{others}."
    yield Finding("doubtful", text, "If the input has it, the prompt may not ask for it clearly.", "fields")


def _judge_field(field: FieldFigures) -> Iterator[Finding]:
    filled = field.of - field.nulls
    if field.values and filled >= MIN_ROWS and len(field.values) > 1:
        value, count = field.values[0]
        if count > _DOMINANT * filled:
            yield Finding(
                "doubtful",
                f"{field.name} is {value!r} in {format_share(count, filled)} of {filled:,}.",
                "The model may fall back on this value when it is unsure: read some of these rows.",
                "fields",
            )
    yield from _judge_bounds(field)


def _judge_bounds(field: FieldFigures) -> Iterator[Finding]:
    numbers = field.numbers
    if numbers is None or numbers.count < MIN_ROWS or numbers.low == numbers.high:
        return
    for name, count, bound in (
        ("minimum", field.at_low, field.bounds[0]),
        ("maximum", field.at_high, field.bounds[1]),
    ):
        if bound is not None and count > _usual_share(field) * numbers.count:
            yield Finding(
                "doubtful",
                f"{field.name} is at its {name} of {format_number(bound)} in "
                f"{format_share(count, numbers.count)} of {numbers.count:,}.",
                "The scale may be too narrow, or the prompt may not say what its ends mean.",
                "fields",
            )


def _usual_share(field: FieldFigures) -> float:
    """Return the share of numbers that may equal a bound: on a scale of few integers, twice its even share."""
    low, high = field.bounds
    if field.numbers is None or not field.numbers.is_whole or low is None or high is None:
        return _AT_BOUND
    return max(_AT_BOUND, 2 / (high - low + 1))


def _judge_cost(figures: Figures) -> Iterator[Finding]:
    estimated, actual = figures.summary.cost["estimated"], figures.summary.cost["actual"]
    if not figures.is_finished or not estimated or actual is None:
        return
    if abs(actual - estimated) > _ESTIMATE * estimated:
        way = "more" if actual > estimated else "less"
        share = format_share(abs(actual - estimated), estimated)
        yield Finding(
            "doubtful",
            f"The run cost {format_dollars(actual)}, {share} {way} than estimated: {format_dollars(estimated)}.",
            "The next plan takes the length of answers from this run.",
            "cost",
        )


def _judge_cache(figures: Figures) -> Iterator[Finding]:
    cache, saved = figures.cache, figures.summary.cost.get("saved_by_cache")
    if cache.answers >= MIN_ROWS and cache.reading < _CACHE * cache.answers:
        share = format_share(cache.reading, cache.answers)
        yield Finding(
            "doubtful",
            f"Only {share} of {cache.answers:,} requests read the prompt cache that they were planned to read.",
            "It may have expired before they were processed: a cache of 1h lasts longer than one of 5m.",
            "cost",
        )
    if saved is not None and saved < 0:
        yield Finding(
            "doubtful",
            f"Writing the prompt cache cost {format_dollars(-saved)} more than reading it has saved.",
            "With few rows, or a short common beginning of the prompts, go without it.",
            "cost",
        )


def _judge_changes(figures: Figures) -> Iterator[Finding]:
    earlier = figures.earlier
    if earlier is None:
        return
    command = f"runner diff {earlier.run} {figures.summary.run}"
    if regressed := earlier.diff.rows["regressed"]:
        yield Finding(
            "bad",
            f"{pluralize(regressed, 'row')} succeeded in the last run and failed in this one.",
            "The differences below say because of what.",
            "changes",
            command,
        )
    for text in _find_moved_shares(figures.fields, earlier):
        yield Finding(
            "doubtful", text, "If the input is alike, the prompt or the model moved it.", "changes", command
        )


def _find_moved_shares(fields: Sequence[FieldFigures], earlier: Earlier) -> Iterator[str]:
    """Yield the value of each field whose share has moved the most, if that can hardly be chance."""
    before = {field.name: field for field in earlier.fields}
    for field in fields:
        old = before.get(field.name)
        if old is None or not (field.values and old.values):
            continue
        moved = _find_moved_value(_to_shares(field), _to_shares(old), field, old)
        if moved is not None:
            value, *shares = moved
            was, now = (format_share(share, 1) for share in shares)
            yield f"{field.name}: the share of {value!r} moved from {was} to {now} since the last run."


def _to_shares(field: FieldFigures) -> dict[str, float]:
    filled = field.of - field.nulls
    return {one.value: one.rows / filled for one in field.values} if filled >= MIN_ROWS else {}


def _find_moved_value(
    now: Mapping[str, float], was: Mapping[str, float], field: FieldFigures, old: FieldFigures
) -> tuple[str, float, float] | None:
    if not now or not was:
        return None
    pairs = [(value, was.get(value, 0.0), now.get(value, 0.0)) for value in {**now, **was}]
    value, before, after = max(pairs, key=lambda pair: abs(pair[2] - pair[1]))
    sizes = (old.of - old.nulls, field.of - field.nulls)
    if abs(after - before) < _MOVED or not _is_sure(before, after, sizes):
        return None
    return value, before, after


def _is_sure(before: float, after: float, sizes: tuple[int, int]) -> bool:
    """Return whether two shares differ by more than chance explains, by the test of two proportions."""
    pooled = (before * sizes[0] + after * sizes[1]) / sum(sizes)
    error = math.sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1]))
    return error > 0 and abs(after - before) / error > _SURE


def conclude(figures: Figures, findings: Sequence[Finding]) -> str:
    """Return the one sentence that a report begins with."""
    summary, state = figures.summary, _describe_state(figures)
    if not figures.ended:
        return f"{state}: no row has a result yet."
    rate = f"{figures.succeeded:,} of {summary.rows:,} rows succeeded" + ("" if figures.is_finished else " so far")
    cost = summary.cost["actual"]
    paid = "" if cost is None else f" for {format_dollars(cost)}"
    simulated = " (simulated: nothing was paid)" if summary.is_simulated else ""
    wrong = f"{pluralize(len(findings), 'thing')} to look at" if findings else "nothing looks wrong"
    return f"{state}: {rate}{paid}{simulated}; {wrong}."


def _describe_state(figures: Figures) -> str:
    if figures.is_finished:
        return "Finished"
    if figures.summary.state == "abandoned":
        return "Abandoned for a newer run"
    return "Not finished"
