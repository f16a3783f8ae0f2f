"""Requests are encoded with params unchanged and texts in their place."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from runner.errors import InputError
from runner.requests.encode import make_request_encoder
from runner.spec.load import load_spec
from runner.templates.load import load_templates
from tests.support.fuzzing import TEXT

PARAMS: dict[str, Any] = {"model": "m", "max_tokens": 9}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "title": 'é"\\'}}}


def encode_with(
    root: Path, prompt: Mapping[str, Any], params: Mapping[str, Any] = PARAMS, **spec: Any
) -> Callable[[dict[str, Any]], bytes]:
    """The encoder of a spec written into `root`; it takes the fields of one row."""
    written = {
        "version": 1,
        "name": "t",
        "source": {"type": "csv", "path": "in.csv"},
        "prompt": prompt,
        "params": params,
        "sinks": [{"type": "jsonl", "path": "out.jsonl"}],
        **spec,
    }
    (root / "t.yaml").write_text(json.dumps(written, indent=1, ensure_ascii=False))
    templates = load_templates(load_spec(root / "t.yaml"))
    encode = make_request_encoder(templates)
    return lambda row: encode(templates.variables(row)).params.sent


def test_params_are_sent_unchanged_and_in_order(tmp_path: Path) -> None:
    params = {
        "max_tokens": 9,
        "model": "m",
        "temperature": 1.0,
        "metadata": {"user_id": 'é " \\ { a }', "big": 10**30, "none": None, "off": False},
        "tools": [{"name": "t", "input_schema": {"type": "object"}}],
        "not_known_yet": [1, [2.5, {}]],
    }
    sent = json.loads(encode_with(tmp_path, {"user": "{{ a }}"}, params)({"a": "A"}))
    assert sent.pop("messages") == [{"role": "user", "content": "A"}]
    assert sent == params and list(sent) == list(params)


@pytest.mark.parametrize("value", ["\0000\0", "\0007\0", "slot-0", '"slot-0"', "{ a }"])
def test_params_like_a_placeholder_are_sent_unchanged(tmp_path: Path, value: str) -> None:
    params = {**PARAMS, "metadata": {"user_id": value}}
    sent = json.loads(encode_with(tmp_path, {"user": "{{ a }}"}, params)({"a": "A"}))
    assert sent == {**params, "messages": [{"role": "user", "content": "A"}]}


CLOSED = {**SCHEMA, "additionalProperties": False}


def test_output_schema_is_added_to_the_output_config(tmp_path: Path) -> None:
    params = {**PARAMS, "output_config": {"effort": "low"}}
    encode = encode_with(tmp_path, {"user": "{{ a }}"}, params, output={"schema": SCHEMA})
    config = json.loads(encode({"a": "A"}))["output_config"]
    assert config == {"effort": "low", "format": {"type": "json_schema", "schema": CLOSED}}


def test_null_output_config_counts_as_missing(tmp_path: Path) -> None:
    params = {**PARAMS, "output_config": None}
    encode = encode_with(tmp_path, {"user": "{{ a }}"}, params, output={"schema": SCHEMA})
    assert json.loads(encode({"a": "A"}))["output_config"] == {"format": {"type": "json_schema", "schema": CLOSED}}


@pytest.mark.parametrize("config", ["high", "", [], [1], 3, True])
@pytest.mark.parametrize("output", [{}, {"output": {"schema": SCHEMA}}], ids=["text", "schema"])
def test_output_config_that_is_not_a_mapping_is_an_error(
    tmp_path: Path, config: Any, output: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as caught:
        encode_with(tmp_path, {"user": "{{ a }}"}, {**PARAMS, "output_config": config}, **output)
    (problem,) = caught.value.problems
    written = (tmp_path / "t.yaml").read_text().splitlines()[problem.line - 1]
    assert '"output_config"' in written and "a mapping" in problem.message


def test_without_an_output_schema_there_is_no_output_config(tmp_path: Path) -> None:
    sent = json.loads(encode_with(tmp_path, {"user": "{{ a }}"})({"a": "A"}))
    assert set(sent) == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("be {{ a }}", [("be A", True)]),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "{{ a }}"}], [("one", False), ("A", True)]),
    ],
    ids=["text", "blocks"],
)
@pytest.mark.parametrize("ttl", ["5m", "1h"])
def test_cache_mark_is_on_the_last_system_block(
    tmp_path: Path, system: Any, expected: list[tuple[str, bool]], ttl: str
) -> None:
    encode = encode_with(tmp_path, {"system": system, "user": "{{ a }}", "cache": ttl})
    mark = {"cache_control": {"type": "ephemeral", "ttl": ttl}}
    blocks = [{"type": "text", "text": text, **(mark if marked else {})} for text, marked in expected]
    assert json.loads(encode({"a": "A"}))["system"] == blocks


def test_turns_come_in_order_with_the_user_last(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi {{ a }}"}, {"role": "assistant", "content": "yes"}]
    user = [{"type": "text", "text": "x"}, {"type": "text", "text": "{{ b }}"}]
    sent = json.loads(encode_with(tmp_path, {"messages": turns, "user": user})({"a": 1, "b": 2}))
    blocks = [{"type": "text", "text": "x"}, {"type": "text", "text": "2"}]
    assert [turn["content"] for turn in sent["messages"]] == ["hi 1", "yes", blocks]
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]


@pytest.fixture(scope="module")
def encode_two_texts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], bytes]:
    prompt = {
        "system": "S{{ v }}",
        "messages": [{"role": "assistant", "content": "{{ a }}{{ b }}."}],
        "user": [{"type": "text", "text": "<{{ b }}>"}, {"type": "text", "text": "{{ row.a }}!"}],
    }
    return encode_with(tmp_path_factory.mktemp("two"), prompt, vars={"v": 'é\0"\\\u2028😀'})


@settings(max_examples=300, deadline=None)
@given(first=TEXT, second=TEXT)
def test_encoder_equals_plain_json_rendering(
    encode_two_texts: Callable[[dict[str, Any]], bytes], first: str, second: str
) -> None:
    blocks = [{"type": "text", "text": f"<{second}>"}, {"type": "text", "text": f"{first}!"}]
    turns = [{"role": "assistant", "content": f"{first}{second}."}, {"role": "user", "content": blocks}]
    plain = {**PARAMS, "system": 'Sé\0"\\\u2028😀', "messages": turns}
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    assert encode_two_texts({"a": first, "b": second}) == text.encode()


@pytest.mark.parametrize(
    "value", ["\0000\0", '"\\u00000\\u0000"', "\0\x001\0", '","role":"system', "\\", "\x7f\x1f"]
)
def test_no_text_of_a_row_can_change_the_shape_of_a_request(tmp_path: Path, value: str) -> None:
    encode = encode_with(tmp_path, {"system": "s {{ a }}", "user": "{{ a }}"})
    sent = json.loads(encode({"a": value}))
    assert sent == {**PARAMS, "system": f"s {value}", "messages": [{"role": "user", "content": value}]}


@pytest.mark.parametrize("name", ["range", "dict", "namespace"])
def test_column_named_like_a_global_is_sent_for_each_row(tmp_path: Path, name: str) -> None:
    encode = encode_with(tmp_path, {"user": f"{{{{ {name} }}}}"})
    sent = [json.loads(encode({name: value}))["messages"][0]["content"] for value in ("X", "Y")]
    assert sent == ["X", "Y"]


@pytest.mark.parametrize("value", ["", "  ", "\n\t\u00a0"])
def test_an_empty_text_is_an_error_before_it_is_sent(tmp_path: Path, value: str) -> None:
    encode = encode_with(tmp_path, {"user": "{{ a }}"})
    with pytest.raises(InputError, match=r"t\.yaml:\d+:\d+: prompt\.user renders to empty text"):
        encode({"a": value})


def test_empty_constant_text_is_an_error_before_any_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t\.yaml:\d+:\d+: prompt\.system renders to empty text"):
        encode_with(tmp_path, {"system": "{% if false %}x{% endif %}", "user": "{{ a }}"})


def test_lone_surrogate_is_an_error(tmp_path: Path) -> None:
    encode = encode_with(tmp_path, {"user": "{{ a }}"})
    with pytest.raises(InputError, match=r"t\.yaml:\d+:\d+: prompt\.user contains half of a surrogate pair"):
        encode({"a": "x\ud83d"})
