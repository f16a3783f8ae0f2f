"""Validate outputs against a JSON schema."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.errors import InputError, Problem

if TYPE_CHECKING:
    import jsonschema_rs

_MAX_MESSAGE_CHARS = 500


class AnswerProblem(NamedTuple):
    """The problem of an invalid answer: a message, and its cause without the values and indexes of this answer."""

    message: str
    cause: str


def _explain(error: str) -> str:
    """Return the first line of an error about a schema; one about a reference gets its remedy."""
    line = error.splitlines()[0]
    found = re.match(r"Resource ('.*') is not present in a registry", line)
    if found is not None:
        return (
            f"the `$ref` {found[1]} is outside this schema: copy what it names into `$defs` of this schema, and "
            'write `{"$ref": "#/$defs/NAME"}`'
        )
    if re.match(r"(Pointer|Anchor) '.*' does not exist", line):
        return f"{line} in this schema: add that part, or correct the `$ref`"
    return line


Validator = Callable[[Any], AnswerProblem | None]
"""A function that returns the problem of an output, or None."""


def make_validator(schema: dict[str, Any]) -> Validator:
    """Return the function that validates outputs against a JSON schema and its `format`s.

    Raises InputError if the schema cannot be used.
    """
    import jsonschema_rs

    try:
        compiled, masked = (
            jsonschema_rs.validator_for(schema, validate_formats=True, offline=True, mask=mask)
            for mask in (None, "it")
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise InputError([Problem("output.schema", f"cannot be used: {_explain(str(error))}")]) from error

    def validate(answer: Any) -> AnswerProblem | None:
        if compiled.is_valid(answer):
            return None
        message = _locate(next(iter(compiled.iter_errors(answer))))
        # The first error again, with "it" instead of the value.
        return AnswerProblem(message, _locate(next(iter(masked.iter_errors(answer))), is_cause=True))

    return validate


_NAMES_KEYWORDS = ("additionalProperties", "unevaluatedProperties")


def _locate(error: "jsonschema_rs.ValidationError", *, is_cause: bool = False) -> str:
    """Return the message of an error after its place in the answer; a cause has no indexes or foreign names."""
    steps = error.instance_path
    path = "".join(f"[{'' if is_cause else step}]" if isinstance(step, int) else f".{step}" for step in steps)
    has_names = is_cause and error.schema_path[-1:] and error.schema_path[-1] in _NAMES_KEYWORDS
    text = "it has properties that are not allowed" if has_names else error.message
    message = f"{path.lstrip('.') or 'the answer'}: {text}"
    return message if len(message) <= _MAX_MESSAGE_CHARS else f"{message[:_MAX_MESSAGE_CHARS]}…"
