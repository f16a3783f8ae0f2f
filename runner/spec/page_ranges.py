"""Selections of pages, written as `3`, `1-20`, `5-` or `1,3-4`."""

import re
from itertools import pairwise

_RANGE = re.compile(r"([1-9][0-9]{0,8})(-([1-9][0-9]{0,8})?)?")


def select_pages(written: str, count: int) -> list[int]:
    """Return the indexes of the selected pages of `count`, in the order written. Raises ValueError."""
    found = list[int]()
    for first, last in parse_page_ranges(written):
        highest = max(first, last or 0)
        if highest > count:
            pages = "1 page" if count == 1 else f"{count:,} pages"
            remedy = f"; `{first}-` takes those there are from page {first}" if first <= count else ""
            raise ValueError(f"it has {pages}, and `pages: {written}` selects page {highest:,}{remedy}")
        found += range(first - 1, last or count)
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
