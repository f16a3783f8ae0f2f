"""Run source: the outputs that another job wrote."""

import glob
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from runner.io_types.annotations import NOT_A_SETTING, NonEmpty
from runner.sources.formats.text import raise_input_error
from runner.sources.input_files import Inputs

_SUCCESS_BY_ROWS = {"succeeded": True, "failed": False}


def read_run(
    inputs: Inputs,
    *,
    spec: NonEmpty,
    rows: Literal["succeeded", "failed", "all"] = "succeeded",
    variant: NonEmpty | None = None,  # noqa: ARG001 - `path` is already that of the variant
    path: Annotated[str, NOT_A_SETTING],
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read the outputs of another spec.

    `path` is the JSONL file that the job of `spec` writes, or a glob of its parts.

    Settings:
        spec: Spec whose outputs are the rows, relative to the project root. It needs a jsonl sink without columns.
            A row has the fields key, input (its input row), outcome, output and error, and citations if that
            spec asks for them.
        rows: Rows of that run to read.
        variant: Variant of that spec, if it has `variants`.
    """
    if not (inputs.root / path).exists() and not glob.glob(path, root_dir=inputs.root):  # noqa: PTH207 - as there
        raise_input_error(path, f"not found: {spec} writes this file, so run that spec first")
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for name, stream in inputs.open_files(path):
        for number, line in enumerate(stream, 1):
            try:
                record = decode(line)
                is_kept = rows == "all" or _SUCCESS_BY_ROWS[rows] == (record["outcome"] == "succeeded")
                names = {"key": "key", "input": "row", "outcome": "outcome", "output": "output", "error": "error"}
                fields = {field: record[column] for field, column in names.items()}
                if "citations" in record:
                    fields["citations"] = record["citations"]
            except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
                raise_input_error(name, f"is not a valid output of {spec}: {error}", number)
            if is_kept:
                yield name, number, fields
