"""A source and a sink, each of them one function: its keyword parameters are its settings."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from runner.plugins import Destination, Inputs, keywords


def read_numbers(
    inputs: Inputs, *, count: Annotated[int, keywords(minimum=1)], parity: Literal["odd", "even", "all"] = "all"
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Count from 1, with the fields number and text.

    Settings:
        count: Last number.
        parity: Numbers to read.
    """
    inputs.current_path = "numbers"
    for number in range(1, count + 1):
        if parity == "all" or (parity == "odd") == (number % 2 == 1):
            yield "numbers", number, {"number": number, "text": f"number {number}"}


@contextmanager
def write_lines(
    destination: Destination, columns: Iterable[str], *, separator: str = " "
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Write one line of text per row.

    Settings:
        separator: Text between two values.
    """
    with destination.open_file() as file:
        file.write(f"# {separator.join(columns)}\n".encode())

        def write(values: Sequence[Any]) -> None:
            file.write(f"{separator.join(map(str, values))}\n".encode())

        yield write
