"""The loaded spec: its defaults, its settings, its snapshot, and its fingerprint."""

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from runner.spec.load import load_spec
from runner.spec.prompt import Prompt, Turn
from runner.spec.record import compute_fingerprint, make_record, restore_with_edits
from runner.spec.run_settings import Batch, Retry
from runner.spec.spec import Sink, Source
from tests.support import SHIPPED
from tests.support.projects import MINIMAL_SPEC, load_lines


def test_the_smallest_spec_is_filled_with_defaults(project: Path) -> None:
    spec = load_lines(project)
    assert spec.source == Source("csv", None, {"path": "data/in.csv"})
    assert spec.prompt == Prompt(user="hi", cache="auto")
    assert spec.sinks == (Sink("jsonl", "all", None, {"path": "out.jsonl"}),)
    assert (spec.description, spec.vars, spec.output.schema) == ("", {}, None)
    assert (spec.batch, spec.retry) == (Batch(), Retry())


def test_every_setting_of_a_full_spec_is_loaded(project: Path) -> None:
    spec = load_lines(
        project,
        "description: What it is for",
        "batch: {max_requests: 2, max_bytes: 64KB, poll_seconds: 0.5, grace_seconds: 0}",
        "retry: {attempts: 1, on: []}",
    )
    assert spec.batch == Batch(2, 64_000, 0.5, 0)
    assert spec.retry == Retry(1, ())
    assert spec.description == "What it is for"


def test_a_prompt_has_turns_in_order_with_their_places(project: Path) -> None:
    prompt = "prompt:\n  system: [{type: text, text: s}]\n  messages: [{role: user, content: q}]\n  user: u.j2\n"
    spec = load_lines(project, base=MINIMAL_SPEC.replace("prompt: {user: hi}\n", prompt))
    assert list(spec.prompt.turns()) == [
        ("prompt.messages.0.content", Turn("user", "q")),
        ("prompt.user", Turn("user", "u.j2")),
    ]
    texts = {"prompt.system.0.text": "s", "prompt.messages.0.content": "q", "prompt.user": "u.j2"}
    assert dict(spec.prompt.templates()) == texts
    assert [spec.positions[at][0] for at in texts] == [5, 6, 7]


def test_sink_settings_are_kept_apart_from_rows_and_columns(project: Path) -> None:
    sinks = "sinks: [{type: csv, path: a.csv, rows: failed, columns: {b: key, a: row.x}, delimiter: ;}]"
    [sink] = load_lines(project, base=MINIMAL_SPEC.replace("sinks: [{type: jsonl, path: out.jsonl}]", sinks)).sinks
    assert sink == Sink("csv", "failed", {"b": "key", "a": "row.x"}, {"path": "a.csv", "delimiter": ";"})
    assert list(sink.columns or ()) == ["b", "a"]


def test_params_are_not_renamed_checked_for_or_converted(project: Path) -> None:
    params = {"model": "m", "max_tokens": 5, "top_k": 3, "stop_sequences": ["on", "1"], "future": {"a": None}}
    spec = load_lines(project, base=MINIMAL_SPEC.replace("{model: m, max_tokens: 5}", json.dumps(params)))
    assert spec.params == params
    assert list(spec.params) == list(params)


def test_a_spec_is_frozen(project: Path) -> None:
    spec = load_lines(project)
    with pytest.raises(FrozenInstanceError):
        spec.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_spec_snapshot_round_trip(path: Path) -> None:
    spec = load_spec(path)
    again = restore_with_edits(json.loads(json.dumps(make_record(spec))), current=spec)
    assert make_record(again) == make_record(spec)
    assert (again.prompt, again.params, again.sinks, again.batch) == (
        replace(spec.prompt, cache=spec.prompt.mark_ttl),
        spec.params,
        spec.sinks,
        spec.batch,
    )


def test_settings_editable_during_a_run_are_not_in_the_snapshot(project: Path) -> None:
    before = make_record(load_lines(project))
    base = MINIMAL_SPEC.replace("out.jsonl", "other.jsonl")
    after = make_record(
        load_lines(project, "description: x", "batch: {max_requests: 5}", "retry: {attempts: 1}", base=base)
    )
    assert compute_fingerprint(before) == compute_fingerprint(after)


@pytest.mark.parametrize(
    ("old", "new"), [("hi", "ho"), ("model: m", "model: n"), ("tokens: 5", "tokens: 6"), ("in.csv", "in2.csv")]
)
def test_request_settings_change_the_fingerprint(project: Path, old: str, new: str) -> None:
    before = make_record(load_lines(project))
    assert compute_fingerprint(before) != compute_fingerprint(
        make_record(load_lines(project, base=MINIMAL_SPEC.replace(old, new)))
    )


def test_fingerprint_is_independent_of_key_order(project: Path) -> None:
    before = make_record(load_lines(project))
    swapped = MINIMAL_SPEC.replace("{model: m, max_tokens: 5}", "{max_tokens: 5, model: m}")
    assert compute_fingerprint(before) == compute_fingerprint(make_record(load_lines(project, base=swapped)))


def test_unset_block_settings_keep_the_fingerprint_of_0_1(project: Path) -> None:
    blocks = '[{type: document, path: "{{ path }}"}, {type: image, path: "{{ path }}"}]'
    [block, _] = make_record(load_lines(project, base=MINIMAL_SPEC.replace("hi", blocks)))["prompt"]["user"]
    assert list(block) == ["type", "given", "value", "title", "context", "citations", "cache", "folder", "upload"]
    selected = blocks.replace('path }}"}', 'path }}", pages: 3}', 1)
    [block, _] = make_record(load_lines(project, base=MINIMAL_SPEC.replace("hi", selected)))["prompt"]["user"]
    assert block["pages"] == "3"
