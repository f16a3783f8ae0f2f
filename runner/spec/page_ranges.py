"""Selections of pages, written as `3`, `1-20`, `5-` or `1,3-4`."""

import re
from itertools import pairwise

from runner.text import pluralize

_RANGE = re.compile(r"([1-9][0-9]{0,8})(-([1-9][0-9]{0,8})?)?")


def select_pages(written: str, count: int) -> list[int]:
    """Return the indexes of the selected pages of `count`, in the order written.

    A range may end after the last page, so that `1-20` selects at most 20 pages, but not begin there: this raises
    ValueError.
    """
    found = list[int]()
    for first, last in parse_page_ranges(written):
        if first > count:
            raise ValueError(f"it has {pluralize(count, 'page')}, and `pages: {written}` selects page {first:,}")
        found += range(first - 1, min(last or count, count))
    return found


def parse_page_ranges(written: str) -> list[tuple[int, int | None]]:
    """Return each range as (first page, last page); the last is None for all that follow. Raises ValueError."""
    found = [_parse_range(part.strip(), written) for part in written.split(",")]
    for (_, before), (first, _) in pairwise(sorted(found, key=lambda pair: pair[0])):
        if before is None or first <= before:
            raise ValueError(f"`pages: {written}` selects page {first} twice: no ranges may overlap")
    return found


def _parse_range(part: str, written: str) -> tuple[int, int | None]:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise ValueError(f"`pages: {written}` selects no pages: write it as 3, 1-20, 5- or 1,3-4")
    first, dash, last = int(match[1]), match[2], match[3]
    end = first if dash is None else int(last) if last else None
    if end is not None and end < first:
        raise ValueError(f"`pages: {written}` ends before it begins: write {end}-{first}")
    return first, end
