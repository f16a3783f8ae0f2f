"""`output.enforce` decides how an answer is made to fit its schema; every output is validated here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec, plan
from runner.errors import InputError
from runner.lifecycle.plan.preview import render_requests
from runner.spec.record import make_record
from tests.support.outputs import records
from tests.support.projects import SPEC, write_job

STARS = {
    "type": "object",
    "properties": {"stars": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["stars"],
}
TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "parts": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}},
    "required": ["name"],
}
LIST = {
    "type": "array",
    "items": {"$ref": "#/$defs/n"},
    "$defs": {"n": {"type": ["array"], "items": {"$ref": "#"}}},
}
NODE = {"$ref": "#/$defs/node", "$defs": {"node": {**TREE, "properties": {"name": {"type": "string"}}}}}
PAIR = {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2}
SPAN = {
    **STARS,
    "properties": {"stars": {"$ref": "#/$defs/pair"}, "own": PAIR},
    "required": ["stars", "own"],
    "$defs": {"pair": PAIR},
}
MAPPING = {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1}


def first_request(root: Path, **changes: Any) -> dict[str, Any]:
    [line] = render_requests(load_spec(write_job(root, **changes)), limit=1)
    found: dict[str, Any] = json.loads(line)["params"]
    return found


@pytest.mark.parametrize(
    ("output", "way", "said"),
    [
        ({"schema": STARS}, "api", "only checked here, and stated in descriptions: minimum, maximum"),
        ({"schema": NODE}, "api", ""),
        ({"schema": SPAN}, "api", "only checked here, and stated in descriptions: prefixItems, items, minItems"),
        (
            {"schema": TREE},
            "tool",
            "do not support a part that refers to itself at #/properties/parts/items; only checked here",
        ),
        (
            {"schema": MAPPING},
            "tool",
            "because structured outputs do not support an object with properties of",
        ),
        ({"schema": LIST}, "here", "sent as part of the system prompt, because structured outputs do not support"),
        ({"schema": STARS, "enforce": "tool"}, "tool", "sent as the tool record_answer; only checked here"),
        ({"schema": STARS, "enforce": "tool", "tool": "rate"}, "tool", "sent as the tool rate; only checked here"),
        ({"schema": NODE, "enforce": "tool"}, "tool", "sent as the tool record_answer; only checked here"),
        ({"schema": STARS, "enforce": "here"}, "here", "sent as part of the system prompt; only checked here"),
    ],
)
def test_every_schema_runs_in_the_way_that_the_plan_says(
    tmp_path: Path, run_job: Callable[..., Summary], output: dict[str, Any], way: str, said: str
) -> None:
    params = first_request(tmp_path, output=output)
    asked = {
        "api": "output_config" in params,
        "tool": "tools" in params,
        "here": "JSON schema:" in str(params["system"]),
    }
    assert [name for name in asked if asked[name]] == [way]
    found = plan(load_spec(tmp_path / "job.yaml"), offline=True).schema
    assert (said in found) if said else found == ""
    assert run_job().outcomes == {"succeeded": 20}
    assert all(one["output"] is not None for one in records(tmp_path / "out/all.jsonl"))


def test_the_tool_of_a_reference_is_an_object(tmp_path: Path) -> None:
    [tool] = first_request(tmp_path, output={"schema": NODE, "enforce": "tool"})["tools"]
    assert tool["input_schema"]["type"] == "object"
    assert "$ref" not in tool["input_schema"]


def test_a_stated_schema_is_cached_with_the_system_prompt(tmp_path: Path) -> None:
    prompt = {"system": "Rate {{ what }}.", "user": "{{ text }}", "cache": "1h"}
    params = first_request(
        tmp_path, output={"schema": STARS, "enforce": "here"}, prompt=prompt, vars={"what": "it"}
    )
    first, last = params["system"]
    assert (first, last["cache_control"]) == (
        {"type": "text", "text": "Rate it."},
        {"type": "ephemeral", "ttl": "1h"},
    )
    assert json.loads(last["text"].rpartition("JSON schema:\n")[2]) == STARS


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"enforce": "api", "parse": "json"}, "there is no schema to enforce"),
        ({"schema": STARS, "enforce": "api", "parse": "json"}, "ask for the output in two ways"),
        ({"schema": STARS, "enforce": "here", "tool": "t"}, "ask for the output in two ways"),
        ({"schema": STARS, "enforce": "tool", "parse": "json"}, "ask for the output in two ways"),
        ({"schema": TREE, "enforce": "api"}, "structured outputs do not support a part that refers to itself"),
    ],
)
def test_a_way_that_cannot_be_gone_is_an_error(tmp_path: Path, output: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(render_requests(load_spec(write_job(tmp_path, output=output)), limit=1))


def test_an_answer_outside_a_moved_constraint_is_invalid(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    narrow = {**STARS, "properties": {"stars": {"type": "integer", "multipleOf": 7, "not": {"multipleOf": 7}}}}
    write_job(tmp_path, output={"schema": narrow}, retry={"attempts": 1, "brake": "off"})
    assert run_job().outcomes.get("succeeded") is None


def without_output(root: Path, **params: Any) -> Path:
    path = write_job(root, params={**SPEC["params"], **params}, allow=["client-tools"])
    spec = json.loads(path.read_text())
    del spec["output"]
    path.write_text(json.dumps({**spec, "sinks": spec["sinks"][:1]}))
    return path


def test_a_format_in_params_is_sent_and_checked_alike(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    form = {"type": "json_schema", "schema": STARS}
    path = without_output(tmp_path, output_config={"format": form, "effort": "low"})
    [line] = render_requests(load_spec(path), limit=1)
    config = json.loads(line)["params"]["output_config"]
    part = {"type": "integer", "description": '{"minimum": 1, "maximum": 5}'}
    assert config["format"]["schema"] == {**STARS, "properties": {"stars": part}, "additionalProperties": False}
    assert config["effort"] == "low"
    assert run_job().outcomes == {"succeeded": 20}
    assert all(1 <= one["output"]["stars"] <= 5 for one in records(tmp_path / "out/all.jsonl"))


@pytest.mark.parametrize(
    ("schema", "output", "place"),
    [
        (TREE, {"enforce": "auto"}, "tools"),
        (STARS, {"enforce": "tool"}, "tools"),
        (STARS, {"enforce": "here"}, "system"),
        (STARS, {"parse": "json"}, "output_config"),
    ],
)
def test_a_format_in_params_is_asked_for_in_one_way(
    tmp_path: Path, run_job: Callable[..., Summary], schema: Any, output: dict[str, Any], place: str
) -> None:
    path = without_output(tmp_path, output_config={"format": {"type": "json_schema", "schema": schema}})
    spec = json.loads(path.read_text())
    path.write_text(json.dumps({**spec, "output": output, "prompt": {"user": "{{ text }}"}}))
    [line] = render_requests(load_spec(path), limit=1)
    assert {"tools", "system", "output_config"} & json.loads(line)["params"].keys() == {place}
    assert run_job().outcomes == {"succeeded": 20}
    assert make_record(load_spec(path))["output_schema"] == (None if place != "tools" else schema)


def test_a_format_that_cannot_be_enforced_is_an_error(tmp_path: Path) -> None:
    path = without_output(tmp_path, output_config={"format": {"type": "json_schema", "schema": TREE}})
    path.write_text(json.dumps({**json.loads(path.read_text()), "output": {"parse": "json"}}))
    with pytest.raises(InputError, match="structured outputs do not support a part that refers to itself"):
        list(render_requests(load_spec(path), limit=1))


BROKEN = {"type": "object", "properties": ["a"]}
TOOL = {"name": "rate", "description": "Mine", "input_schema": BROKEN}


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"output_config": {"format": {"type": "json_schema", "schema": BROKEN}}}, "output_config.format.schema"),
        ({"tools": [{**TOOL, "strict": True}]}, "tools.0.input_schema"),
    ],
)
def test_a_broken_schema_in_params_is_named(tmp_path: Path, params: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError) as caught:
        load_spec(without_output(tmp_path, **params))
    [problem] = caught.value.problems
    assert problem.message.startswith(f"params.{place}: not a valid JSON schema: at properties: ")
    assert problem.line == 1


def test_other_tools_can_be_used_beside_a_stated_schema(tmp_path: Path) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    params = first_request(tmp_path, output={"schema": TREE}, params={**SPEC["params"], "tools": tools})
    assert (params["tools"], "tool_choice" in params) == (tools, False)
    assert "JSON schema:" in str(params["system"])


def test_a_strict_tool_is_sent_in_the_same_form(tmp_path: Path) -> None:
    tool = {"name": "rate", "description": "Mine", "strict": True, "input_schema": STARS}
    [line] = render_requests(load_spec(without_output(tmp_path, tools=[tool])), limit=1)
    [found] = json.loads(line)["params"]["tools"]
    assert found["input_schema"]["additionalProperties"] is False
    assert "minimum" not in found["input_schema"]["properties"]["stars"]


def test_the_input_of_an_own_tool_is_validated(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    impossible = {"type": "object", "properties": {"n": {"type": "integer", "not": {}}}, "required": ["n"]}
    tool = {"name": "rate", "description": "Mine", "input_schema": STARS}
    path = without_output(tmp_path, tools=[tool])
    spec = json.loads(path.read_text())
    path.write_text(json.dumps({**spec, "output": {"tool": "rate"}}))
    assert load_spec(path).output.schema == STARS
    assert run_job().outcomes == {"succeeded": 20}
    spec["params"]["tools"][0]["input_schema"] = impossible
    path.write_text(json.dumps({**spec, "output": {"tool": "rate"}}))
    assert load_spec(path).output.schema == impossible
