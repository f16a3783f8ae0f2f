"""Rows source: those that a Python program gives to `runner.run` or `runner.plan`."""

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from runner.io_types.annotations import NOT_A_SETTING
from runner.sources.formats.text import raise_input_error
from runner.sources.given_rows import GIVEN_PATH
from runner.sources.input_files import InputFile, Inputs


def read_given_rows(
    inputs: Inputs, *, given: Annotated[Any, NOT_A_SETTING] = None
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read the rows of a Python program: `run(spec, rows=...)`.

    `line` is the number of the row. Dates, decimals and binary become text.
    """
    if given is None:
        raise_input_error(GIVEN_PATH, "this spec gets its rows from Python: run(load_spec(path), rows=...)")
    sha256, encode = hashlib.sha256(), msgspec.json.Encoder().encode
    inputs.current_path = GIVEN_PATH
    try:
        for number, row in enumerate(given, 1):
            sha256.update(encode(row))
            yield GIVEN_PATH, number, row
    except GeneratorExit:
        # A limit was reached: rows that were not read cannot be compared.
        inputs.files.append(InputFile(GIVEN_PATH, 0, 0, ""))
        raise
    inputs.files.append(InputFile(GIVEN_PATH, 0, 0, sha256.hexdigest()))
