"""Choose the way in which an answer is made to fit the output schema."""

from collections.abc import Mapping
from typing import Any

from runner.spec.spec import Output
from runner.spec.structured.sent_schema import make_sent_schema, make_tool_schema
from runner.spec.structured.supported import is_tool_input

_MAX_NAMES = 5

TOOL_NAME = "record_answer"
"""The name of the tool of `enforce: tool`, unless `output.tool` gives another."""


def find_schema_in_params(params: Mapping[str, Any], tool: str | None, parse: str | None) -> dict[str, Any] | None:
    """Return the schema that `params` give to the output: of the tool that is the output, or of the format.

    An output that is parsed from text in another way than as JSON has none.
    """
    tools, config = params.get("tools"), params.get("output_config")
    found: Any = None
    if tool is not None:
        named = [one for one in tools if isinstance(one, dict)] if isinstance(tools, list) else []
        found = next((one.get("input_schema") for one in named if one.get("name") == tool), None)
    elif parse in (None, "json") and isinstance(config, dict) and isinstance(config.get("format"), dict):
        found = config["format"].get("schema")
    return found if isinstance(found, dict) else None


def choose_enforcement(
    schema: dict[str, Any], output: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, str]:
    """Return `enforce` (api, tool or here) for the written settings of an output, and what it sets besides."""
    way = output.get("enforce", "auto")
    if way == "auto":
        if "parse" in output and "schema" not in output:  # it is that of `params.output_config.format`
            return {"enforce": "api"}
        if output.keys() & {"tool", "parse"}:
            return {}
        way = _choose_way(schema, has_tools=bool(params.get("tools")))
    if way == "tool":
        return {"enforce": way, "tool": output.get("tool", TOOL_NAME)}
    return {"enforce": way, **({"parse": "json"} if way == "here" else {})}


def _choose_way(schema: dict[str, Any], *, has_tools: bool) -> str:
    if not make_sent_schema(schema).obstacles:
        return "api"
    # The call of the tool is forced: the model would never use the other ones.
    return "tool" if not has_tools and is_tool_input(make_tool_schema(schema)) else "here"


def describe_enforcement(output: Output) -> str:
    """Return how a schema is sent and what is only checked here; empty if the API enforces all of it."""
    if output.schema is None or output.enforce is None:
        return ""
    sent = make_sent_schema(output.schema)
    if output.enforce == "api":
        names = list(dict.fromkeys(keyword for _, keyword in sent.moved))
        more = f" and {len(names) - _MAX_NAMES} more" if names[_MAX_NAMES:] else ""
        shown = ", ".join(names[:_MAX_NAMES]) + more
        return f"only checked here, and stated in descriptions: {shown}" if names else ""
    place = f"as the tool {output.tool}" if output.enforce == "tool" else "as part of the system prompt"
    because = f", because structured outputs do not support {sent.obstacles[0]}" if sent.obstacles else ""
    return f"sent {place}{because.rstrip(',')}; only checked here"
