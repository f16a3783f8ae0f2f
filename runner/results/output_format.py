"""Extract the output from an answer (text, JSON in text, or tool input), and validate it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.errors import InputError, Problem
from runner.results.json_answer import decode_fenced_json, decode_json
from runner.results.validator import AnswerProblem, Validator, make_validator
from runner.spec.spec import Output
from runner.tabular.column_types import resolve_refs

CITATIONS_SCHEMA = {"type": "array"}
"""The JSON schema of an answer's citations; their fields differ by the kind of source."""


OutputCheck = tuple[Callable[[Mapping[str, Any]], Any], str]
"""A compiled check, and the message for an output that fails it."""


class AnswerBlock(msgspec.Struct):
    """A content block of an answer; block types that this version does not know may have any shape."""

    type: str
    text: Any = None
    id: Any = None
    name: Any = None
    input: Any = None
    citations: Any = None


def extract_text(content: Sequence[AnswerBlock]) -> Any:
    """Return the text of an answer, or its parts if they are not all text."""
    if len(content) == 1 and content[0].type == "text" and isinstance(content[0].text, str):
        return content[0].text  # as most answers are
    texts = [block.text for block in content if block.type == "text"]
    try:
        return "".join(texts)
    except TypeError:
        return texts


def extract_citations(content: Sequence[AnswerBlock]) -> list[Any]:
    """Return the citations of an answer in order, as the API gives them, each with the `text` that it supports."""
    found = []
    for block in content:
        if block.type == "text" and block.citations is not None:
            given = block.citations if isinstance(block.citations, list) else [block.citations]
            found += [{"text": block.text, **one} if isinstance(one, dict) else one for one in given]
    return found


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The rules that extract the output from an answer and validate it.

    With `tool`, the output is the input of that tool. Otherwise it is the text, parsed by `parse` (json, regex
    with `pattern`, or lines). Without `parse` it is JSON if there is a schema to `validate`, else plain text.
    The `checks` must be true for it. An answer without text is invalid unless `allow_empty`.
    """

    validate: Validator | None = None
    tool: str | None = None
    parse: str | None = None
    pattern: re.Pattern[str] | None = None
    checks: tuple[OutputCheck, ...] = ()
    allow_empty: bool = False

    def parse_answer(
        self, content: Sequence[AnswerBlock], stop_reason: str | None, row: Mapping[str, Any] | None
    ) -> tuple[Any, AnswerProblem | None]:
        """Return the output of a finished answer and its problem; `checks` need the row."""
        output, wrong = self._extract_output(content, stop_reason)
        if wrong is None and row is not None:
            wrong = self._find_failed_check(output, row, content)
        return output, wrong

    def _find_failed_check(
        self, output: Any, row: Mapping[str, Any], content: Sequence[AnswerBlock]
    ) -> AnswerProblem | None:
        """Return the problem of the first check that an output fails, or None."""
        fields = output if isinstance(output, dict) else {}
        citations = extract_citations(content) if self.checks else []
        names = {"citations": citations, **fields, "output": output, "row": row}
        for test, message in self.checks:
            try:
                if not test(names):
                    return AnswerProblem(message, message)
            except ValueError as error:
                return AnswerProblem(f"{message} ({error})", message)
        return None

    def _extract_output(
        self, content: Sequence[AnswerBlock], stop_reason: str | None
    ) -> tuple[Any, AnswerProblem | None]:
        calls = [block for block in content if block.type == "tool_use"]
        if self.tool is not None:
            return self._extract_tool_input(calls, content)
        if calls or stop_reason == "tool_use":
            is_meant = calls and self.validate is None and self.parse is None
            wrong = None if is_meant else _same("the model called a tool instead of answering")
            return [{"id": call.id, "name": call.name, "input": call.input} for call in calls], wrong
        text = extract_text(content)
        if not isinstance(text, str):
            return text, _same("a text block holds no text")
        return self._parse_text(text)

    def _extract_tool_input(
        self, calls: Sequence[AnswerBlock], content: Sequence[AnswerBlock]
    ) -> tuple[Any, AnswerProblem | None]:
        inputs = [call.input for call in calls if call.name == self.tool]
        if len(inputs) != 1:
            how = "several times, and once is meant" if inputs else "0 times, and once is meant"
            message = f"the model called {self.tool} {len(inputs)} times, and once is meant"
            return extract_text(content), AnswerProblem(message, f"the model called {self.tool} {how}")
        return inputs[0], self.validate(inputs[0]) if self.validate is not None else None

    def _parse_text(self, text: str) -> tuple[Any, AnswerProblem | None]:
        is_json = self.parse == "json" or (self.parse is None and self.validate is not None)
        if not (is_json or self.allow_empty or text.strip()):
            return text, _same("the answer is empty")
        if self.parse == "lines":
            output: Any = [line.strip() for line in text.split("\n") if line.strip()]
        elif self.pattern is not None:
            found = self.pattern.search(text)
            if found is None:
                return text, _same(f"nothing in the answer matches {self.pattern.pattern}")
            output = found.groupdict() or list(found.groups()) or found[0]
        elif is_json:
            try:
                output = decode_fenced_json(text) if self.parse == "json" else decode_json(text)
            except (msgspec.DecodeError, RecursionError) as error:
                return text, AnswerProblem(f"not JSON: {error}", "not JSON")
        else:
            return text, None
        return output, self.validate(output) if self.validate is not None else None


def _same(message: str) -> AnswerProblem:
    """Return a problem whose message holds nothing of the answer."""
    return AnswerProblem(message, message)


TEXT_FORMAT = OutputFormat(allow_empty=True)
"""Accepts any answer; its text is the output."""


def build_output_format(output: Output, row_schema: Mapping[str, Any] | None = None) -> OutputFormat:
    """Return the form of a spec's answers. Raises InputError if its schema, pattern or checks are invalid.

    With `row_schema`, the known fields of a row, its checks cannot use others.
    """
    pattern, checks, problems = None, [], []
    try:
        pattern = re.compile(output.pattern) if output.pattern is not None else None
    except re.error as error:
        problems.append(Problem("output.pattern", f"is not a valid regular expression: {error}"))
    for index, one in enumerate(output.checks):
        try:
            checks.append((_compile_check(output, index, row_schema or {}), one.message))
        except InputError as error:
            problems += error.problems
    try:
        validate = None if output.schema is None else make_validator(output.schema)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return OutputFormat(validate, output.tool, output.parse, pattern, tuple(checks), output.allow_empty)


def describe_output(output: Output) -> dict[str, Any]:
    """Return what is known of an output as a JSON schema, without references; it is empty if nothing is known."""
    if output.schema is not None:
        return resolve_refs(output.schema, output.schema)
    if output.parse == "lines":
        return {"type": "array", "items": {"type": "string"}}
    try:
        groups = re.compile(output.pattern or "").groupindex
    except re.error:
        return {}  # Reported by `build_output_format`.
    from runner.templates.known_fields import make_closed_schema

    return make_closed_schema({name: {"type": ["string", "null"]} for name in groups}) if groups else {}


def _compile_check(
    output: Output, index: int, row_schema: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], Any]:
    """Compile a check. Raises InputError if its syntax is invalid, or a name or field is not in the schema."""
    # Only checks need Jinja, whose import takes longer than all else that `status` and `show` do.
    from runner.templates.expressions import ExpressionError, compile_expression

    schema = output.schema or {}
    # A composed schema has names in all of its parts, so they cannot be listed.
    known = None if schema.keys() & {"allOf", "anyOf", "oneOf", "$ref"} else schema.get("properties")
    names = ("output", "row", "citations", *known) if isinstance(known, dict) else None
    found = describe_output(output)
    schemas = {
        "citations": CITATIONS_SCHEMA,
        **(found.get("properties") or {}),
        "output": found,
        "row": row_schema,
    }
    try:
        return compile_expression(output.checks[index].check, names=names, schemas=schemas)
    except ExpressionError as error:
        raise InputError([Problem(f"output.checks.{index}.check", str(error), error.line)]) from error
