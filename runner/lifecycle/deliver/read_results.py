"""Read a results file: the outcome of each row, the lines of no use, tokens and cost."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runner.pricing.models import load_catalogue
from runner.pricing.rates import Rate
from runner.requests.custom_id import parse_row_number
from runner.results.outcome import LOST_ANSWER, PAUSE_TURN, parse_result
from runner.results.output_format import OutputFormat
from runner.results.usage import Usage, parse_usage
from runner.store.index.row_index import RETRY_ALWAYS


@dataclass(slots=True)
class BatchResults:
    """Contents of one results file.

    `rows` holds by row: the outcome, whether to send the row again, and the offset and length of its line in
    bytes. `answered_rows` holds the rows with an answer, and `ignored_lines` the unusable lines by kind. `cost`
    is the cost of the answers in US dollars, `synchronous_cost` what they would have cost synchronously, and
    `cache_saving` what the prompt cache has saved of it, or cost if negative.
    `lost_rows` holds the rows that may have been paid for without an answer. `unclear_costs` holds by row the
    part of its cost that could be read, for an answer whose usage could not be read in full. `unknown_rows` holds
    the rows that the custom_ids of the batch name, and that it does not have.
    """

    rows: dict[int, tuple[str, int, int, int]] = field(default_factory=dict)
    answered_rows: set[int] = field(default_factory=set)
    usage: Usage = field(default_factory=Usage)
    ignored_lines: dict[str, int] = field(default_factory=dict)
    cost: float = 0.0
    synchronous_cost: float = 0.0
    cache_saving: float = 0.0
    lost_rows: set[int] = field(default_factory=set)
    unclear_costs: dict[int, float] = field(default_factory=dict)
    unknown_rows: set[int] = field(default_factory=set)

    def add_cost(self, row: int, usage: Usage, rate: Rate | None, *, is_batched: bool) -> None:
        """Add the usage and cost of the answer to one row."""
        self.usage.add(usage)
        if rate is None:
            return
        synchronous = rate.synchronous_cost(usage)
        cost = rate.apply_batch_discount(synchronous, usage) if is_batched else synchronous
        self.synchronous_cost += synchronous
        self.cache_saving += rate.cache_saving(usage) * (load_catalogue().batch if is_batched else 1.0)
        if usage.unreadable:
            self.unclear_costs[row] = cost
        else:
            self.cost += cost

    def amounts(self) -> dict[str, float]:
        """Return the amounts by the names of their columns."""
        return {
            "cost": self.cost,
            "synchronous_cost": self.synchronous_cost,
            "cache_saving": self.cache_saving,
        }

    def count_ignored_line(self, kind: str) -> None:
        """Count an unusable line."""
        self.ignored_lines[kind] = self.ignored_lines.get(kind, 0) + 1

    def count_foreign_line(self, row: int | None) -> None:
        """Count a line with another custom_id; `row` is the one that it names with the prefix of the batch."""
        self.count_ignored_line("foreign")
        if row is not None:
            self.unknown_rows.add(row)


def _read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its offset.

    Only a line feed ends a line, because JSON text may contain U+2028 and similar characters.
    """
    offset = 0
    with path.open("rb") as file:
        for line in file:
            yield offset, line
            offset += len(line)


def read_results(
    path: Path,
    *,
    prefix: str,
    expected: set[int],
    retry_on: tuple[str, ...],
    output_format: OutputFormat,
    rate: Rate | None = None,
    is_batched: bool = True,
    resend_canceled: bool = False,
    can_continue: bool = False,
) -> BatchResults:
    """Read the results file of a batch, and sort its lines into outcomes, retries and ignored lines."""
    found = BatchResults()
    for offset, line in _read_lines(path):
        try:
            outcome = parse_result(line, output_format)
        except ValueError:
            found.count_ignored_line("malformed" if line.strip() else "blank")
            continue
        row = parse_row_number(outcome.custom_id, prefix=prefix)
        if row is None or row not in expected:
            found.count_foreign_line(row)
            continue
        if row in found.rows:
            if not _replaces_result(path, found, row, line, outcome.outcome):
                continue
            # The row has a good answer, and is not paid again; both lines count as billed.
            found.lost_rows.discard(row)
        is_paused = can_continue and outcome.stop_reason == PAUSE_TURN
        is_always = is_paused or (resend_canceled and outcome.outcome in ("canceled", "expired"))
        again = RETRY_ALWAYS if is_always else int(outcome.is_retryable and outcome.outcome in retry_on)
        if outcome.error is not None and outcome.error["type"] == LOST_ANSWER:
            found.lost_rows.add(row)
        found.rows[row] = (outcome.outcome, again, offset, len(line.rstrip(b"\r\n")))
        if outcome.usage is not None:
            found.answered_rows.add(row)
        if outcome.usage is not None or outcome.may_be_billed:
            found.add_cost(row, parse_usage(outcome.usage), rate, is_batched=is_batched)
    return found


def _replaces_result(path: Path, found: BatchResults, row: int, line: bytes, outcome: str) -> bool:
    """Return whether a further result of a row is the better one, and count it as repeated or contradicting."""
    before, _, *place = found.rows[row]
    is_same = _read_line(path, *place) == line.rstrip(b"\r\n")
    found.count_ignored_line("repeated" if is_same else "contradicting")
    return not is_same and before != "succeeded" and outcome == "succeeded"


def _read_line(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
