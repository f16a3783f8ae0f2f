"""The blocks of bytes of a results file, while they are read."""

from collections.abc import Iterator

from runner.api.limits import Watch, watch_call
from runner.errors import Unavailable


def watch_blocks(blocks: Iterator[bytes], watch: Watch) -> Iterator[bytes]:
    """Yield blocks, each of which is read within the limits of a call."""
    # Only while a block is read: between blocks, the thread may make other calls.
    while True:
        with watch_call(watch):
            block = next(blocks, None)
        if block is None:
            return
        yield block


def limit_lines(blocks: Iterator[bytes], max_line: int | None) -> Iterator[bytes]:
    """Yield blocks, and raise Unavailable for a line that is longer than `max_line` bytes."""
    length = 0
    for block in blocks:
        first, last = block.find(b"\n"), block.rfind(b"\n")
        length += len(block) if first < 0 else first
        if max_line is not None and length > max_line:
            raise Unavailable(f"a line of the results has more than the {max_line:,} bytes that it can need")
        length = length if first < 0 else len(block) - last - 1
        yield block
