"""Rules about output schemas: what structured outputs cannot enforce, and keywords that demand nothing."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from runner.rules.finding import RuleContext, Violation
from runner.spec.structured.enforcement import find_schema_in_params
from runner.spec.structured.merge import ANNOTATIONS
from runner.spec.structured.references import list_all_parts
from runner.spec.structured.sent_schema import SentSchema, make_sent_schema
from runner.spec.structured.supported import (
    CONSTRAINTS,
    IGNORED,
    MAX_OPTIONAL,
    MAX_UNIONS,
    count_optional,
    count_unions,
)

_SOURCE_PAGE = "platform.claude.com, structured outputs; SDK 2.14"

_KEYWORDS = (
    *CONSTRAINTS, *ANNOTATIONS, *IGNORED, "$ref", "$dynamicRef", "$dynamicAnchor", "type", "properties", "items",
    "additionalProperties", "required", "enum", "const", "anyOf", "oneOf", "allOf", "minItems", "format",
    "pattern", "contentEncoding", "contentMediaType", "contentSchema",
)  # fmt: skip


def _list_sent_schemas(case: RuleContext) -> Iterator[tuple[str, SentSchema, str]]:
    """Yield each schema that the API enforces: its dotted path, its sent form, and how to do without."""
    if case.spec.is_schema_sent and case.spec.output.schema is not None:
        remedy = "or set `output.enforce: auto`, which asks for it in another way"
        is_own = "output.schema" in case.spec.positions or case.spec.schema_path is not None
        setting = "output.schema" if is_own else "params.output_config.format.schema"
        yield setting, make_sent_schema(case.spec.output.schema), remedy
    elif (form := find_schema_in_params(case.params, None, None)) is not None and not _is_replaced(case, form):
        remedy = "or remove the format: with a schema in `output.schema`, `output.enforce` decides how it is sent"
        yield "params.output_config.format.schema", make_sent_schema(form), remedy
    tools = case.params.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict) and tool.get("strict") is True and isinstance(tool.get("input_schema"), dict):
            sent = make_sent_schema(tool["input_schema"])
            yield f"params.tools.{index}.input_schema", sent, "or remove `strict` from the tool"


def _is_replaced(case: RuleContext, form: dict[str, Any]) -> bool:
    """Return whether the schema of a format is asked for in another way, so that the format is not sent."""
    output = case.spec.output
    return form == output.schema and (output.tool is not None or output.enforce == "here")


def output_schema(case: RuleContext) -> Iterator[Violation]:
    """Report parts of sent schemas that make the API reject every request."""
    optional, unions, found, last = 0, 0, False, ""
    for setting, sent, remedy in _list_sent_schemas(case):
        for obstacle in sent.obstacles:
            certain = "probably do not" if obstacle.is_doubtful else "do not"
            message = (
                f"structured outputs {certain} support {obstacle} ({_SOURCE_PAGE}): change the schema, {remedy}"
            )
            yield _violate(case, setting, obstacle.path, message, "warning" if obstacle.is_doubtful else None)
        optional, unions = optional + count_optional(sent.schema), unions + count_unions(sent.schema)
        found, last = found or bool(sent.obstacles), setting
    for count, most, what in ((optional, MAX_OPTIONAL, "optional properties"), (unions, MAX_UNIONS, "unions")):
        if count > most and not found:
            message = (
                f"structured outputs accept at most {most} {what} in one request, and this one has {count} in all "
                f"its schemas ({_SOURCE_PAGE}): remove `strict` from a tool, or set `output.enforce: tool`"
            )
            yield Violation(last, message)


def _violate(
    case: RuleContext, setting: str, path: tuple[str, ...], message: str, severity: str | None = None
) -> Violation:
    """Return a violation at the place of a part of a schema, or else of the schema."""
    at = ".".join((setting, *path))
    is_known = at in case.spec.positions or at in case.spec.schema_positions
    return Violation(at if is_known else setting, message, severity)


def open_schema(case: RuleContext) -> Iterator[Violation]:
    """Report objects of the output schema to which `additionalProperties: false` is added when it is sent."""
    schema = case.spec.output.schema
    if schema is None or not case.spec.is_schema_sent:
        return
    if closed := make_sent_schema(schema).closed:
        more = f" and {len(closed) - 1} more" if len(closed) > 1 else ""
        where = "/".join(("#", *closed[0])) if closed[0] else "the top level"
        remedy = (
            'add `model_config = ConfigDict(extra="forbid")` to each model' if _is_model(case) else "add it there"
        )
        message = (
            f"`additionalProperties: false` is added to {where}{more} when the schema is sent, because structured "
            f"outputs require it ({_SOURCE_PAGE}): {remedy}, or `allow: [open-schema]` to the spec"
        )
        yield _violate(case, "output.schema", closed[0], message)


def _is_model(case: RuleContext) -> bool:
    """Return whether the schema is that of a Python type: it is written as one word, and is no file."""
    positions = case.spec.positions
    is_word = "output.schema" in positions and not any(at.startswith("output.schema.") for at in positions)
    return is_word and case.spec.schema_path is None


def schema_keyword(case: RuleContext) -> Iterator[Violation]:
    """Report keywords of the output schema that demand nothing: misspelled ones, and `nullable`."""
    if case.spec.output.schema is not None:
        for at, part in list_all_parts(case.spec.output.schema):
            yield from _find_idle_keywords(case, part, at)


def _find_idle_keywords(case: RuleContext, schema: dict[str, Any], at: tuple[str, ...]) -> Iterator[Violation]:
    for keyword in schema:
        pointer = "/".join(("#", *at))
        if keyword == "nullable":
            kind = schema.get("type")
            form = f"type: [{kind}, 'null']" if isinstance(kind, str) else "anyOf: [<this schema>, {type: 'null'}]"
            message = (
                f"`nullable` at {pointer} means nothing in JSON schema, so null is invalid there: write `{form}`"
            )
            yield _violate(case, "output.schema", (*at, keyword), message)
        elif keyword not in _KEYWORDS and (near := get_close_matches(keyword, _KEYWORDS, n=1, cutoff=0.8)):
            message = (
                f"`{keyword}` at {pointer} is no keyword of JSON schema, so it demands nothing: did you mean "
                f"`{near[0]}`?"
            )
            yield _violate(case, "output.schema", (*at, keyword), message)
