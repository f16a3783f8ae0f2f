"""The figures of a run that are judged and drawn, once its records were read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from runner.evaluation.score import Score
from runner.lifecycle.diff.diff import Diff
from runner.lifecycle.judge.compare_variants import VariantComparison
from runner.runs.summary import Summary


class ValueCount(NamedTuple):
    """A value of a field, and the number of times that it occurs."""

    value: str
    rows: int


class Bin(NamedTuple):
    """The number of values from `low` up to, but not including, `high`."""

    low: float
    high: float
    values: int


@dataclass(frozen=True, slots=True)
class Spread:
    """The spread of numbers. `is_whole` is true if all are integers; `median` and `p95` are exact to a bin."""

    count: int
    low: float
    high: float
    mean: float
    median: float
    p95: float
    is_whole: bool
    bins: Sequence[Bin]


@dataclass(frozen=True, slots=True)
class FieldFigures:
    """One field of the valid outputs.

    `of` counts the places where it could be, and `nulls` those in which it is null or missing. `values` are its
    values if they are few, the most frequent first. The spreads are those of its numbers, of the days of its
    dates (proleptic ordinals), of the characters of its texts, and of the items of its lists. `at_low` and
    `at_high` count the numbers that equal the `bounds` of the schema.
    """

    name: str
    of: int
    nulls: int
    values: Sequence[ValueCount] = ()
    numbers: Spread | None = None
    dates: Spread | None = None
    lengths: Spread | None = None
    items: Spread | None = None
    bounds: tuple[float | None, float | None] = (None, None)
    at_low: int = 0
    at_high: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A failed row: its key, the message of its error, and the beginnings of its input and its answer."""

    key: str | int
    message: str
    input: str
    answer: str


@dataclass(frozen=True, slots=True)
class FailedRows:
    """The failed rows of one reason; `outcome` is None for rows of several."""

    outcome: str | None
    reason: str
    rows: int
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """One round: the requests that were sent, the outcomes of rows that ended in it, and those sent again.

    Round 0 holds the rows that were not sent: their answers were reused, or they were rejected before.
    """

    number: int
    requests: int
    outcomes: dict[str, int]
    again: int


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """One batch with its tokens by kind; times are in Unix seconds, amounts in US dollars."""

    name: str
    id: str | None
    state: str
    mode: str
    requests: int
    tokens: "Tokens"
    cost: float | None
    created_at: float | None
    ended_at: float | None


class Tokens(NamedTuple):
    """Tokens by kind: read at the full price, written to the cache, read from it, and answered."""

    input: int = 0
    cache_write: int = 0
    cache_read: int = 0
    output: int = 0

    @property
    def prompt(self) -> int:
        """The tokens of the prompts."""
        return self.input + self.cache_write + self.cache_read


class KindCost(NamedTuple):
    """The tokens of one kind, and their cost in US dollars; None if it is not known."""

    kind: str
    tokens: int
    cost: float | None


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """Answers to requests with a cache mark, without those that were sent to write it, and those that read it."""

    answers: int
    reading: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """The last finished run of the spec before this one, and what has changed since.

    `fields` are those of its outputs, and `outcomes` counts its rows.
    """

    run: str
    created_at: float
    rows: int
    outcomes: dict[str, int]
    fields: Sequence[FieldFigures]
    diff: Diff


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that a report shows of a run, but its rows.

    `max_tokens` is the limit of an answer, and `stopped_at_limit` counts the answers that ended there. `variants`
    compares the run with those of the other variants of its spec.
    """

    summary: Summary
    created_at: float
    finished_at: float | None
    model: str
    max_tokens: int
    answered: int
    stopped_at_limit: int
    rounds: Sequence[RoundFigures]
    failures: Sequence[FailedRows]
    fields: Sequence[FieldFigures]
    batches: Sequence[BatchFigures]
    kinds: Sequence[KindCost]
    prompt_tokens: Spread | None
    output_tokens: Spread | None
    cache: CacheFigures
    is_purged: bool = False
    scores: Sequence[Score] = field(default_factory=tuple)
    earlier: Earlier | None = None
    variants: VariantComparison | None = None

    @property
    def ended(self) -> int:
        """The number of rows that have an outcome."""
        return sum(self.summary.outcomes.values())

    @property
    def succeeded(self) -> int:
        """The number of rows that succeeded."""
        return self.summary.outcomes.get("succeeded", 0)

    @property
    def failed(self) -> int:
        """The number of rows that ended, but did not succeed."""
        return self.ended - self.succeeded

    @property
    def is_finished(self) -> bool:
        """True once the run is finished."""
        return self.summary.state == "finished"
