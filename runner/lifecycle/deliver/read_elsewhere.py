"""Read a large results file elsewhere, in parts. What comes out is what one process would read.

Parts that cannot be judged alone, as those with several results of a row, are left to this process.
"""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from runner.lifecycle.deliver.read_results import BatchResults, Rules, check_output, sort_lines, split_lines
from runner.results.output_format import OutputFormat, build_output_format
from runner.spec.spec import Output
from runner.workers.run_tasks import WorkerPool, run_tasks, split_work

_PART_BYTES = 1 << 20

WORTH_BYTES = 4 * _PART_BYTES
"""Smaller files are read here: that takes about as long as starting a process."""

_ANY_ROW = range(1 << 63)


class _RepeatedRowError(Exception):
    """A row has a second result."""


def _refuse_repeated(*_: object) -> bool:
    """Raise _RepeatedRowError: the first result may be in another part."""
    raise _RepeatedRowError


def pickle_rules(rules: Rules, output: Output) -> bytes:
    """Return what decides about a results file, for `read_part` and `check_outputs`."""
    return pickle.dumps((rules, output))


@lru_cache(maxsize=2)
def _load_rules(job: bytes) -> tuple[Rules, OutputFormat]:
    rules, output = pickle.loads(job)  # noqa: S301 - made by `pickle_rules` of the command
    return rules, build_output_format(output)


def read_part(job: bytes, part: tuple[int, bytes]) -> BatchResults | None:
    """Read whole lines, which begin at an offset of the file; None if they cannot be judged alone."""
    (rules, output_format), (offset, data) = _load_rules(job), part
    try:
        return sort_lines(split_lines(BytesIO(data), offset), rules, output_format, _ANY_ROW, _refuse_repeated)
    except _RepeatedRowError:
        return None


def read_results_elsewhere(path: Path, job: bytes, pool: WorkerPool, *, expected: set[int]) -> BatchResults | None:
    """Read the results file of a batch in parts; None if they do not make a whole.

    Raises what `run_tasks` raises.
    """
    whole = BatchResults()
    with closing(run_tasks(pool.open(), read_part, job, _read_parts(path), pool.stop)) as parts:
        for _, (part, _) in parts:
            if part is None or not part.rows.keys() <= expected or not part.rows.keys().isdisjoint(whole.rows):
                return None
            whole.add_part(part)
    return whole


def _read_parts(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield a file in parts of whole lines, each with its offset."""
    offset = 0
    with path.open("rb") as file:
        while data := file.read(_PART_BYTES) + file.readline():
            yield offset, data
            offset += len(data)


def check_outputs(job: bytes, rows: Sequence[tuple[bytes, bytes]]) -> list[str | None]:
    """Return what `check_output` does of each row: its line in `rows.jsonl`, and its line in the results."""
    _, output_format = _load_rules(job)
    return [check_output(output_format, row, line) for row, line in rows]


def check_elsewhere(
    rows: Iterator[tuple[int, bytes, bytes]], job: bytes, pool: WorkerPool
) -> Iterator[tuple[int, bytes, str | None]]:
    """Yield each row with its outcome after the checks; rows are (number, line in `rows.jsonl`, result).

    It comes with its line in `rows.jsonl`; the outcome is None if that cannot be read. Raises what `run_tasks`
    raises.
    """
    chunks = split_work(rows, lambda one: len(one[1]) + len(one[2]))
    with closing(run_tasks(pool.open(), check_outputs, job, chunks, pool.stop, pick=_without_numbers)) as found:
        for chunk, (outcomes, _) in found:
            for (number, row, _), outcome in zip(chunk, outcomes, strict=True):
                yield number, row, outcome


def _without_numbers(rows: Sequence[tuple[int, bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(row, line) for _, row, line in rows]
