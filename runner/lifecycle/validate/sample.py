"""The first rows of a source, and the keys of all its rows if the source is small."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain
from typing import Any

from runner.errors import InputError, Problem
from runner.files.nearest import find_nearest_file
from runner.files.remote import is_url
from runner.sources.input_files import Inputs
from runner.sources.read import Row, read_rows
from runner.spec.spec import Source, Spec

_SAMPLE_ROWS = 100
_SMALL_BYTES = 8_000_000
_MAX_SHOWN = 5


@dataclass
class Sample:
    """The first rows of a source, as far as they can be read now, and the known `types` of its columns.

    `count` is the number of rows in all, or None if it is not known. It `is_cut_short` if a row could not be read.
    """

    rows: list[Row] = field(default_factory=list)
    types: Mapping[str, Any] = field(default_factory=dict)
    count: int | None = None
    is_cut_short: bool = False
    problems: list[Problem] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The columns of the rows."""
        return list(dict.fromkeys(name for row in self.rows for name in row.fields))


def read_sample(spec: Spec, *, is_thorough: bool = False) -> Sample:
    """Read the first rows of a source, or all if it `is_thorough` and the source is small; note their problems.

    If its file or its key column does not exist, those with the nearest names are used, and a wrong `where` is
    left out, to find more problems.
    """
    sample = _read(spec, is_thorough=is_thorough)
    for correct in (_correct_path, _correct_selection, _correct_key):
        if sample.problems and (source := correct(spec, sample)) is not None:
            spec = replace(spec, source=source)
            other = _read(spec, is_thorough=is_thorough)
            other.problems[:0] = sample.problems
            sample = other
    return sample


def _correct_path(spec: Spec, sample: Sample) -> Source | None:
    """Return the source with the file that its path most probably means, or None."""
    path = spec.source.options.get("path")
    if sample.rows or not isinstance(path, str) or is_url(path) or (spec.root / path).exists():
        return None
    near = find_nearest_file(spec.root, path)
    return None if near is None else replace(spec.source, options={**spec.source.options, "path": near})


def _correct_selection(spec: Spec, sample: Sample) -> Source | None:
    """Return the source without a `where` that is wrong, or None."""
    is_wrong = any(problem.path == "source.where" for problem in sample.problems)
    return replace(spec.source, where=None) if is_wrong else None


def _correct_key(spec: Spec, sample: Sample) -> Source | None:
    """Return the source with the column that its key most probably means, or None."""
    if spec.source.key is None or spec.source.key in sample.columns:
        return None
    near = get_close_matches(spec.source.key, sample.columns, n=1, cutoff=0.6)
    return replace(spec.source, key=near[0]) if near else None


def _read(spec: Spec, *, is_thorough: bool) -> Sample:
    sample, inputs = Sample(), Inputs(spec.root)
    keys = _KeyProblems(spec)
    try:
        limit = _find_limit(spec, inputs, is_thorough=is_thorough)
        if limit == 0:
            return sample
        for row in read_rows(spec.source, inputs, limit=limit, on_bad_key=keys.note):
            keys.check_unique(row)
            if len(sample.rows) < _SAMPLE_ROWS:
                sample.rows.append(row)
            sample.count = row.number
    except InputError as error:
        sample.problems += error.problems
        sample.count, sample.is_cut_short = None, True
    else:
        sample.count = None if sample.count == limit else sample.count
    sample.types = inputs.types
    sample.problems += keys.problems()
    return sample


def _find_limit(spec: Spec, inputs: Inputs, *, is_thorough: bool) -> int | None:
    """Return how many rows can be read now: None for all, and 0 for a source that can be read only once."""
    pattern = spec.source.path
    if spec.source.output is not None and not (spec.root / pattern).exists():
        return 0  # the spec that writes it has not run yet
    if spec.source.is_given and spec.source.given is None:
        return 0  # a run that was started before has its rows in the state
    if spec.source.is_given or spec.source.is_query or is_url(pattern):
        return _SAMPLE_ROWS
    paths = [spec.root / path for path in inputs.find_files(pattern)]
    # Standard input and pipes can be read only once: leave them to the run.
    if pattern == "-" or any(path.is_fifo() or path.is_char_device() for path in paths):
        return 0
    is_small = sum(path.stat().st_size for path in paths if path.is_file()) <= _SMALL_BYTES
    return None if is_thorough and is_small else _SAMPLE_ROWS


class _KeyProblems:
    """The keys that are missing, blank or repeated: the first few of each kind, and how many there are."""

    def __init__(self, spec: Spec) -> None:
        self._column = spec.source.key
        self._seen: dict[str, tuple[int, str, int]] = {}
        self._found = defaultdict[str, list[Problem]](list)
        self._bad_rows = set[tuple[str, int]]()

    def note(self, problem: Problem) -> None:
        """Note the problem of a key that cannot be used."""
        self._bad_rows.add((problem.path, problem.line))
        self._found["repeated for all rows" if not problem.line else problem.message].append(problem)

    def check_unique(self, row: Row) -> None:
        """Note a problem if an earlier row has the same key."""
        if self._column is None or (row.path, row.line) in self._bad_rows:
            return
        number, path, line = self._seen.setdefault(str(row.key), (row.number, row.path, row.line))
        if number != row.number:
            remedy = "keys must be unique, so give one of the two another key"
            message = f"duplicate key: {self._column} {row.key!r} is already used by {path}:{line}"
            self._found["duplicate"].append(Problem(row.path, f"{message}; {remedy}", row.line, remedy=remedy))

    def problems(self) -> Iterator[Problem]:
        """Yield the first problems of each kind, and the number of the others."""
        return chain.from_iterable(map(self._shorten, self._found.values()))

    def _shorten(self, found: list[Problem]) -> list[Problem]:
        distinct = list(dict.fromkeys(found))
        if len(distinct) <= _MAX_SHOWN:
            return distinct
        last = distinct[_MAX_SHOWN - 1]
        more = f"{last.message} (and {len(distinct) - _MAX_SHOWN:,} more rows)"
        return [*distinct[: _MAX_SHOWN - 1], Problem(last.path, more, last.line, last.column, last.remedy)]
