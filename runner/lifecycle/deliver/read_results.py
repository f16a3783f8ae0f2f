"""Read a results file: the outcome of each row, the lines of no use, tokens and cost."""

from array import array
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from runner.pricing.models import load_catalogue
from runner.pricing.rates import Rate
from runner.requests.custom_id import parse_row_number
from runner.results.outcome import LOST_ANSWER, PAUSE_TURN, parse_result
from runner.results.output_format import OutputFormat
from runner.results.usage import Usage, parse_usage
from runner.store.index.row_index import RETRY_ALWAYS


class Rules(NamedTuple):
    """The rules about the lines of a results file, besides the form of the answers.

    `prefix` is that of the custom_ids of the batch. A row is sent again for the outcomes in `retry_on`; with
    `resend_canceled` and `can_continue` also canceled and expired ones, and paused answers, however often.
    """

    prefix: str
    retry_on: tuple[str, ...] = ()
    rate: Rate | None = None
    is_batched: bool = True
    resend_canceled: bool = False
    can_continue: bool = False


@dataclass(slots=True)
class BatchResults:
    """Contents of one results file.

    `rows` holds by row: the outcome, whether to send the row again, and the offset and length of its line in
    bytes. `answered_rows` holds the rows with an answer, and `ignored_lines` the unusable lines by kind. `costs`
    are those of the answers in US dollars, `synchronous_costs` what they would have cost synchronously, and
    `cache_savings` what the prompt cache has saved of it, or cost if negative. They are summed up at the end, so
    that a file that was read in parts has the same sums.
    `lost_rows` holds the rows that may have been paid for without an answer. `unclear_costs` holds by row the
    part of its cost that could be read, for an answer whose usage could not be read in full. `unknown_rows` holds
    the rows that the custom_ids of the batch name, and that it does not have.
    """

    rows: dict[int, tuple[str, int, int, int]] = field(default_factory=dict)
    answered_rows: set[int] = field(default_factory=set)
    usage: Usage = field(default_factory=Usage)
    ignored_lines: dict[str, int] = field(default_factory=dict)
    costs: "array[float]" = field(default_factory=lambda: array("d"))
    synchronous_costs: "array[float]" = field(default_factory=lambda: array("d"))
    cache_savings: "array[float]" = field(default_factory=lambda: array("d"))
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
        self.synchronous_costs.append(synchronous)
        self.cache_savings.append(rate.cache_saving(usage) * (load_catalogue().batch if is_batched else 1.0))
        if usage.unreadable:
            self.unclear_costs[row] = cost
        else:
            self.costs.append(cost)

    def amounts(self) -> dict[str, float]:
        """Return the amounts by the names of their columns."""
        return {
            "cost": sum(self.costs),
            "synchronous_cost": sum(self.synchronous_costs),
            "cache_saving": sum(self.cache_savings),
        }

    def count_ignored_line(self, kind: str) -> None:
        """Count an unusable line."""
        self.ignored_lines[kind] = self.ignored_lines.get(kind, 0) + 1

    def count_foreign_line(self, row: int | None) -> None:
        """Count a line with another custom_id; `row` is the one that it names with the prefix of the batch."""
        self.count_ignored_line("foreign")
        if row is not None:
            self.unknown_rows.add(row)

    def add_part(self, part: "BatchResults") -> None:
        """Add the results of the next part of the file, which has none of these rows."""
        self.rows.update(part.rows)
        self.answered_rows |= part.answered_rows
        self.usage.add(part.usage)
        for kind, count in part.ignored_lines.items():
            self.ignored_lines[kind] = self.ignored_lines.get(kind, 0) + count
        self.costs += part.costs
        self.synchronous_costs += part.synchronous_costs
        self.cache_savings += part.cache_savings
        self.lost_rows |= part.lost_rows
        self.unclear_costs |= part.unclear_costs
        self.unknown_rows |= part.unknown_rows


def split_lines(data: Iterable[bytes], offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield each line of a file with its offset in bytes; `data` is the file, or a part of it in a BytesIO.

    Only a line feed ends a line, because JSON text may contain U+2028 and similar characters.
    """
    for line in data:
        yield offset, line
        offset += len(line)


def read_results(
    path: Path, rules: Rules, output_format: OutputFormat, *, expected: Container[int]
) -> BatchResults:
    """Read the results file of a batch, and sort its lines into outcomes, retries and ignored lines.

    `expected` are the rows of the batch.
    """

    def replaces(found: BatchResults, row: int, line: bytes, outcome: str) -> bool:
        return _replaces_result(path, found, row, line, outcome)

    with path.open("rb") as file:
        return sort_lines(split_lines(file), rules, output_format, expected, replaces)


def sort_lines(
    lines: Iterable[tuple[int, bytes]],
    rules: Rules,
    output_format: OutputFormat,
    expected: Container[int],
    replaces: Callable[[BatchResults, int, bytes, str], bool],
) -> BatchResults:
    """Sort lines, each with its offset, as `read_results` does; `replaces` judges a further result of a row."""
    found = BatchResults()
    for offset, line in lines:
        try:
            outcome = parse_result(line, output_format)
        except ValueError:
            found.count_ignored_line("malformed" if line.strip() else "blank")
            continue
        row = parse_row_number(outcome.custom_id, prefix=rules.prefix)
        if row is None or row not in expected:
            found.count_foreign_line(row)
            continue
        if row in found.rows:
            if not replaces(found, row, line, outcome.outcome):
                continue
            # The row has a good answer, and is not paid again; both lines count as billed.
            found.lost_rows.discard(row)
        is_paused = rules.can_continue and outcome.stop_reason == PAUSE_TURN
        is_always = is_paused or (rules.resend_canceled and outcome.outcome in ("canceled", "expired"))
        again = RETRY_ALWAYS if is_always else int(outcome.is_retryable and outcome.outcome in rules.retry_on)
        if outcome.error is not None and outcome.error["type"] == LOST_ANSWER:
            found.lost_rows.add(row)
        found.rows[row] = (outcome.outcome, again, offset, len(line.rstrip(b"\r\n")))
        if outcome.usage is not None:
            found.answered_rows.add(row)
        if outcome.usage is not None or outcome.may_be_billed:
            found.add_cost(row, parse_usage(outcome.usage), rules.rate, is_batched=rules.is_batched)
    return found


class _Row(msgspec.Struct):
    row: dict[str, object]


_decode_row = msgspec.json.Decoder(_Row).decode


def check_output(output_format: OutputFormat, row: bytes, line: bytes) -> str | None:
    """Return the outcome of a row after the checks of the spec; None if its line in `rows.jsonl` is damaged."""
    try:
        fields = _decode_row(row).row
    except msgspec.DecodeError:
        return None
    return parse_result(line, output_format, fields).outcome


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
