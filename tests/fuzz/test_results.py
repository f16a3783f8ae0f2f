"""Random and damaged results: no answer succeeds that is not complete."""

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.lifecycle.deliver.read_results import Rules, read_results
from runner.requests.custom_id import make_custom_id
from runner.results.outcome import Outcome, parse_result
from runner.results.outcome_names import OUTCOMES
from runner.results.output_format import OutputFormat
from runner.results.usage import Usage, parse_usage
from runner.results.validator import make_validator
from runner.simulator.batches import SimulatedBatches, parse_create
from tests.support.fuzzing import EDITS, JSON, edited, refuse_constant, tries
from tests.support.projects import SCHEMA

pytestmark = pytest.mark.slow

KINDS = ("succeeded", "errored", "overloaded", "invalid", "truncated", "refused", "canceled", "expired")
CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}
CHECK = OutputFormat(make_validator(SCHEMA))


@cache
def results() -> list[bytes]:
    """Lines as the simulator gives them, of each kind with a schema and without, and one with a call of a tool."""
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    params: dict[str, Any] = {
        "model": "claude-haiku-4-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "label this"}],
    }
    requests = [
        {"custom_id": make_custom_id("run", 1, 1, 2 * number + has_schema), "params": params | extra}
        for number in range(1, len(KINDS) + 1)
        for has_schema, extra in enumerate(({}, {"output_config": form}))
    ]
    with TemporaryDirectory() as folder:
        batches = SimulatedBatches(Path(folder), pick_outcome=lambda id: KINDS[int(id.split("-")[3]) // 2 - 1])
        batch = batches.create_batch(
            parse_create(json.dumps({"requests": requests}).encode()), version="2023-06-01"
        )
        lines = sorted(batches.results_path(batch).read_bytes().splitlines(keepends=True))
    called = json.loads(next(line for line in lines if b'"end_turn"' in line))
    called["custom_id"] = make_custom_id("run", 1, 1, 99)
    called["result"]["message"] |= {"stop_reason": "tool_use", "content": [CALL]}
    return [*lines, json.dumps(called).encode() + b"\n"]


def is_success(value: Any, *, has_schema: bool) -> bool:
    """Return whether a parsed line of results is a plain success, without the code under test."""
    match value:
        case {
            "custom_id": str(),
            "result": {
                "type": "succeeded",
                "message": {"model": str(), "usage": _, "stop_reason": str(reason), "content": list(blocks)},
            },
        }:
            pass
        case _:
            return False
    if not all(isinstance(block, dict) and isinstance(block.get("type"), str) for block in blocks):
        return False
    if reason == "tool_use":
        return not has_schema and any(block["type"] == "tool_use" for block in blocks)
    texts = [block.get("text") for block in blocks if block["type"] == "text"]
    if reason not in ("end_turn", "stop_sequence") or not all(isinstance(text, str) for text in texts):
        return False
    return not has_schema or is_valid("".join(map(str, texts)))


def is_valid(text: str) -> bool:
    try:
        answer = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return False
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(answer)


def outcome_of(line: bytes, *, has_schema: bool) -> Outcome | None:
    """The outcome of a line, checked for contradictions, or None if the line has no outcome."""
    try:
        found = parse_result(line, CHECK if has_schema else OutputFormat())
    except ValueError:
        return None
    assert found.outcome in OUTCOMES and isinstance(found.custom_id, str)
    assert (found.error is None) == (found.outcome == "succeeded")
    assert not (found.outcome == "succeeded" and found.is_retryable)
    msgspec.json.encode(found)
    if found.usage is not None:
        msgspec.json.decode(found.usage)
        total = Usage()
        total.add(parse_usage(found.usage))
        total.add(parse_usage(found.usage))
        msgspec.json.encode(total)
    return found


@tries(800)
@given(
    st.binary(max_size=40)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(JSON, JSON).map(lambda pair: json.dumps({"custom_id": pair[0], "result": pair[1]}).encode())
    | st.dictionaries(st.sampled_from(["type", "message", "error"]), JSON | st.sampled_from(KINDS)).map(
        lambda result: json.dumps({"custom_id": "run-1-1-1", "result": result}).encode()
    ),
    st.booleans(),
)
def test_random_json_is_never_a_success(line: bytes, has_schema: bool) -> None:
    found = outcome_of(line, has_schema=has_schema)
    assert found is None or found.outcome != "succeeded"


VALUES = JSON | st.sampled_from(
    ["succeeded", "errored", "expired", "canceled", "rejected", "end_turn", "tool_use", "max_tokens", "refusal",
     "text", "stop_sequence", "pause_turn", '{"label": "good", "score": 1}', '{"label": "good", "score": 1.0}',
     "\ud800", '{"label": "good", "score": NaN}', '{"label": "good"}', "[" * 2000, {}, [], CALL, {"type": "text"},
     {"type": "text", "text": None}, {"type": "text", "text": "x"}, {"type": "thinking", "text": 5}, 1e308,
     10**400]
)  # fmt: skip
TREE_EDITS = st.lists(
    st.tuples(
        st.sampled_from(["drop", "replace", "replace", "replace", "append"]),
        st.integers(0, 200),
        st.integers(0, 200),
        VALUES,
    ),
    min_size=1,
    max_size=3,
)


def branches(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list) and value:
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from branches(item)


def rewritten(line: bytes, edits: list[tuple[str, int, int, Any]]) -> bytes:
    """A line of JSON after each edit in turn; the numbers choose an object or list and one of its values."""
    value = json.loads(line)
    for kind, first, second, given_value in edits:
        new = deepcopy(given_value)
        every = [*branches(value)] or [value]
        branch = every[first % len(every)]
        key = (
            [*(branch if isinstance(branch, dict) else range(len(branch)))][second % len(branch)] if branch else ""
        )
        if kind == "append" and isinstance(branch, list):
            branch.append(new)
        elif kind == "drop" and branch:
            del branch[key]
        elif branch:
            branch[key] = new
    return json.dumps(value).encode()


@tries(1400)
@given(st.integers(0, 16), TREE_EDITS, st.booleans())
def test_changed_result_succeeds_only_if_still_complete(
    index: int, edits: list[tuple[str, int, int, Any]], has_schema: bool
) -> None:
    line = rewritten(results()[index], edits)
    found = outcome_of(line, has_schema=has_schema)
    value = json.loads(line)
    if found is not None and found.outcome == "succeeded":
        assert is_success(value, has_schema=has_schema)
    match value:
        case {"custom_id": str(), "result": dict()} if b"[" * 999 not in line:
            assert found is not None


@tries(900)
@given(st.integers(0, 16), EDITS, st.booleans())
def test_damaged_result_succeeds_only_if_still_complete(
    index: int, edits: list[tuple[str, int, int, bytes]], has_schema: bool
) -> None:
    line = edited(results()[index], edits)
    found = outcome_of(line, has_schema=has_schema)
    if found is not None and found.outcome == "succeeded":
        assert is_success(json.loads(line.decode("utf-8", "replace")), has_schema=has_schema)


FOREIGN = st.sampled_from(
    [b"run-1-1-100", b"run-1-2-2", b"other-1-1-2", b"run-1-1-02", b"run-1-1-+2", b"run-1-1- 2", b"run-1-1-", b"",
     b"run-1-1-2-2", b"run-1-1-\\u0662", b"run-1-1-" + b"2" * 30, b"run-1-1-0", b"run-1-1--2"]
)  # fmt: skip
LINE_EDITS = st.lists(
    st.tuples(
        st.sampled_from(["drop", "repeat", "swap", "blank", "foreign", "cut", "junk", "edit"]),
        st.integers(0, 99),
        st.integers(0, 99),
        FOREIGN,
        EDITS,
    ),
    max_size=5,
)


def with_lines_edited(lines: list[bytes], edits: list[Any]) -> list[bytes]:
    for kind, first, second, id, byte_edits in edits:
        one, other = first % len(lines), second % len(lines)
        if kind == "drop" and len(lines) > 1:
            del lines[one]
        elif kind == "repeat":
            lines.insert(other, lines[one])
        elif kind == "swap":
            lines[one], lines[other] = lines[other], lines[one]
        elif kind == "blank":
            lines.insert(one, [b"\n", b"\r\n", b" \n", b"\0\n"][second % 4])
        elif kind == "foreign":
            lines.insert(one, b'{"custom_id":"%b","result":{"type":"expired"}}\n' % id)
        elif kind == "cut":
            lines[one] = lines[one][: second * len(lines[one]) // 99]
        elif kind == "junk":
            lines[one] = lines[one].replace(b'"type"', b'"type\xff"', second % 3)
        else:
            lines[one] = edited(lines[one], byte_edits)
    return lines


@tries(700)
@given(LINE_EDITS, st.booleans())
def test_damaged_results_file_gives_each_row_its_own_line(
    project: Path, edits: list[Any], has_schema: bool
) -> None:
    good = results()
    data = b"".join(with_lines_edited(good.copy(), edits))
    path = project / "results.jsonl"
    path.write_bytes(data)
    expected = {int(json.loads(line)["custom_id"].split("-")[3]): line for line in good}
    found = read_results(
        path,
        Rules("run-1-1-", ("errored",)),
        CHECK if has_schema else OutputFormat(),
        expected=set(expected),
    )
    lines = data.removesuffix(b"\n").count(b"\n") + bool(data)
    assert len(found.rows) + sum(found.ignored_lines.values()) == lines
    for row, (name, _, offset, length) in found.rows.items():
        line = data[offset : offset + length]
        assert offset == 0 or data[offset - 1 : offset] == b"\n"
        assert data[offset + length :].lstrip(b"\r")[:1] in (b"\n", b"")
        outcome = outcome_of(line, has_schema=has_schema)
        assert outcome is not None and outcome.outcome == name
        assert outcome.custom_id == make_custom_id("run", 1, 1, row)
    whole = set(data.split(b"\n"))
    assert {row for row, line in expected.items() if line.removesuffix(b"\n") in whole} <= set(found.rows)
