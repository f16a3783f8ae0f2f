"""Build the params of a request, with placeholders for what is rendered per row."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from runner.pricing.models import find_model
from runner.spec.prompt import Block, Content, Prompt, block_setting
from runner.spec.spec import Spec
from runner.spec.structured.sent_schema import make_sent_schema, make_tool_schema

_TOOL_DESCRIPTION = "Records the result. Call it exactly once, with the whole result as its input."


_SCHEMA_STATEMENT = (
    "Answer with one JSON value and nothing else: no words around it, no Markdown. It must be valid against this "
    "JSON schema:\n"
)


Placeholder = tuple[str, str, Block | None]
"""The dotted path of a template, its text, and the block whose source it renders, or None.

If the block converts images, the source stands for all of its blocks.
"""


def build_params(spec: Spec, add_placeholder: Callable[[Placeholder], str]) -> dict[str, Any]:
    """Return the params of a request, in which what `add_placeholder` returns stands for each template."""

    def content(at: str, written: Content) -> Any:
        if isinstance(written, str):
            return add_placeholder((at, written, None))
        return [_build_block(at, index, part, add_placeholder) for index, part in enumerate(written)]

    params = dict(spec.params)
    if spec.is_schema_sent and spec.output.schema is not None:
        form = {"type": "json_schema", "schema": make_sent_schema(spec.output.schema).schema}
        params["output_config"] = {**(params.get("output_config") or {}), "format": form}
    else:
        params = _build_own_format(spec, params)
    if isinstance(params.get("tools"), list):
        params["tools"] = [_build_tool(tool) for tool in params["tools"]]
    if spec.output.tool is not None:
        params = _add_output_tool(spec, params)
    system = None if spec.prompt.system is None else content("prompt.system", spec.prompt.system)
    if spec.output.enforce == "here":
        system = _state_schema(system, spec.output.schema)
    if system is not None:
        params["system"] = _add_cache_control(system, spec.prompt.mark_ttl)
    turns = spec.prompt.turns()
    params["messages"] = [{"role": turn.role, "content": content(at, turn.content)} for at, turn in turns]
    return params


def build_params_without_prompt(spec: Spec) -> dict[str, Any]:
    """Return the params that all requests of a spec share, without its prompt."""
    return build_params(replace(spec, prompt=Prompt()), lambda _: "")


def _build_block(
    setting: str, index: int, part: str | Block, add_placeholder: Callable[[Placeholder], str]
) -> dict[str, Any] | str:
    """Return one content block in the form of the API, or the placeholder for the blocks of a converted image."""
    if isinstance(part, str):
        return {"type": "text", "text": add_placeholder((block_setting(setting, index), part, None))}
    given = (block_setting(setting, index, part.given), part.value)
    if part.convert:
        return add_placeholder((*given, part))
    block: dict[str, Any] = {"type": part.type}
    if part.type == "text":
        block["text"] = add_placeholder((*given, None))
    else:
        block["source"] = add_placeholder((*given, part))
    for name in ("title", "context"):
        if (written := getattr(part, name)) is not None:
            block[name] = add_placeholder((block_setting(setting, index, name), written, None))
    if part.citations:
        block["citations"] = {"enabled": True}
    if part.cache is not None:
        block["cache_control"] = {"type": "ephemeral", "ttl": part.cache}
    return block


def is_thinking_on(params: Mapping[str, Any]) -> bool:
    """Return whether the model thinks before its answer: always, or because `thinking` asks for it.

    The API then rejects a forced tool call: "Thinking may not be enabled when tool_choice forces tool use".
    """
    given, model = params.get("thinking"), find_model(str(params["model"]))
    if isinstance(given, dict):
        return given.get("type") != "disabled"
    return model is not None and model.always_thinks


def _build_own_format(spec: Spec, params: dict[str, Any]) -> dict[str, Any]:
    """Return params with the format that they define as it is sent, or without it if another way is chosen."""
    config = params.get("output_config")
    form = config.get("format") if isinstance(config, dict) else None
    schema = form.get("schema") if isinstance(form, dict) else None
    if not isinstance(config, dict) or not isinstance(form, dict) or not isinstance(schema, dict):
        return params
    if schema != spec.output.schema or (spec.output.tool is None and spec.output.enforce != "here"):
        return {**params, "output_config": {**config, "format": {**form, "schema": _enforce(schema)}}}
    rest = {name: value for name, value in config.items() if name != "format"}
    others = {name: value for name, value in params.items() if name != "output_config"}
    return {**others, "output_config": rest} if rest else others


def _enforce(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema as it is sent, or as it is written if the API cannot enforce it."""
    sent = make_sent_schema(schema)
    return schema if sent.obstacles else sent.schema


def _build_tool(tool: Any) -> Any:
    """Return a tool as it is sent: the schema of a strict one is enforced as that of an output is."""
    schema = tool.get("input_schema") if isinstance(tool, dict) and tool.get("strict") is True else None
    return {**tool, "input_schema": _enforce(schema)} if isinstance(schema, dict) else tool


def _state_schema(system: Any, schema: Any) -> Any:
    """Return a system prompt that ends with the schema of the answer."""
    text = f"{_SCHEMA_STATEMENT}{json.dumps(schema, ensure_ascii=False)}"
    if system is None:
        return text
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    return [*blocks, {"type": "text", "text": text}]


def _add_output_tool(spec: Spec, params: dict[str, Any]) -> dict[str, Any]:
    """Add the tool whose input is the output, and force its use if the model and its thinking allow that."""
    tools, name = list(params.get("tools") or ()), spec.output.tool
    if not any(isinstance(tool, dict) and tool.get("name") == name for tool in tools):
        schema = make_tool_schema(spec.output.schema or {})
        tools.append({"name": name, "description": _TOOL_DESCRIPTION, "input_schema": schema})
    model = find_model(str(params["model"]))
    is_refused = model is not None and "forced_tool_choice" in model.refuses
    is_forced = "tool_choice" not in params and not is_refused and not is_thinking_on(params)
    choice = {"tool_choice": {"type": "tool", "name": name}} if is_forced else {}
    return {**params, "tools": tools, **choice}


def _add_cache_control(system: Any, ttl: str | None) -> Any:
    if ttl is None:
        return system
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    return [*blocks[:-1], {**blocks[-1], "cache_control": {"type": "ephemeral", "ttl": ttl}}]
