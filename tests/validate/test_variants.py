"""Variants of a spec: settings that replace others, outputs beside each other, and mistakes in them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InputError
from runner.lifecycle.plan.preview import render_requests
from runner.lifecycle.validate.checks import load_spec_or_report, validate_file
from runner.spec.load import load_spec, read_spec
from runner.spec.record import make_record
from runner.spec.schema_errors import schema_text
from runner.spec.variants import SETTING
from tests.support.projects import SPEC, write_job

TWO = {"small": {"params.model": "claude-haiku-5-5"}, "large": {"params.model": "claude-opus-5-5"}}


def write(root: Path, variants: Any, **changes: Any) -> Path:
    return write_job(root, variants=variants, **changes)


def problem(root: Path, variants: Any, *, variant: str | None = None, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_spec(write(root, variants, **changes), variant=variant)
    return caught.value.problems[0].message


def test_variant_replaces_settings_by_their_paths(tmp_path: Path) -> None:
    path = write(tmp_path, {"plain": None, "new": {"prompt.user": "New: {{ text }}", "params.max_tokens": 50}})
    plain, new = load_spec(path), load_spec(path, variant="new")
    assert (plain.name, plain.job, plain.variant, plain.variants) == (
        "job@plain",
        "job",
        "plain",
        ("plain", "new"),
    )
    assert (plain.prompt.user, new.prompt.user) == ("{{ text }}", "New: {{ text }}")
    assert (plain.params["max_tokens"], new.params["max_tokens"]) == (100, 50)
    assert new.prompt.system == plain.prompt.system


def test_variant_makes_and_removes_settings(tmp_path: Path) -> None:
    made = {"params.thinking.type": "disabled", "params.temperature": None, "prompt.system": None}
    path = write(tmp_path, {"one": made}, params={**SPEC["params"], "temperature": 0.5})
    spec = load_spec(path)
    assert spec.params == {**SPEC["params"], "thinking": {"type": "disabled"}}
    assert spec.prompt.system is None


def test_variant_replaces_an_item_of_a_list(tmp_path: Path) -> None:
    prompt = {"messages": [{"role": "user", "content": "{{ text }}"}]}
    path = write(tmp_path, {"one": {"prompt.messages.0.content": "Other: {{ text }}"}}, prompt=prompt)
    assert load_spec(path).prompt.messages[0].content == "Other: {{ text }}"


def test_outputs_of_variants_are_beside_each_other(tmp_path: Path) -> None:
    sinks = [
        {"type": "jsonl", "path": "out/all.jsonl.gz"},
        {"type": "files", "path": "out/texts", "name": "key", "content": "output.label"},
        {"type": "sql", "path": "out/labels.db", "table": "labels", "key": "key"},
    ]
    spec = load_spec(write(tmp_path, TWO, sinks=sinks), variant="large")
    assert [sink.options.get("path") for sink in spec.sinks] == [
        "out/all.large.jsonl.gz",
        "out/texts.large",
        "out/labels.db",
    ]
    assert spec.sinks[2].options["table"] == "labels_large"


def test_requests_of_a_variant_equal_those_of_its_own_spec(tmp_path: Path) -> None:
    rest = {name: value for name, value in SPEC["params"].items() if name != "model"}
    (tmp_path / "plain").mkdir()
    one = render_requests(load_spec(write(tmp_path / "one", TWO, params=rest), variant="large"))
    plain = render_requests(load_spec(write_job(tmp_path / "plain", params={"model": "claude-opus-5-5", **rest})))
    assert [json.loads(line) for line in one] == [json.loads(line) for line in plain]


def test_names_of_other_variants_do_not_change_the_record(tmp_path: Path) -> None:
    before = make_record(load_spec(write(tmp_path, TWO), variant="large"))
    after = make_record(load_spec(write(tmp_path, {"third": None, **TWO}), variant="large"))
    assert before == after


def test_mistake_of_a_variant_is_where_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    write_job(tmp_path)
    lines = [f"{name}: {json.dumps(value)}" for name, value in SPEC.items()]
    path.write_text("\n".join([*lines, "variants:", "  one:", "    params.max_tokens: many", ""]))
    with pytest.raises(InputError) as caught:
        load_spec(path)
    [found] = caught.value.problems
    assert (found.line, found.message) == (
        len(lines) + 3,
        "params.max_tokens must be a whole number, not the text 'many'",
    )


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (
            {"one": {"source.path": "x.csv"}},
            "variants.one: the key 'source.path': expected the dotted path of a setting",
        ),
        ({"one": {"params": {}}}, "variants.one: the key 'params': expected the dotted path of a setting"),
        ({"Big One": None}, "variants: the key 'Big One': expected 1 to 32 characters of a-z, 0-9 and _"),
        (
            {"one": {"prompt.messages.3.content": "x"}},
            "variants.one: there is nothing at prompt.messages.3.content",
        ),
        ({"one": {"params.model.name": "x"}}, "variants.one: there is nothing at params.model.name"),
        (["one"], "variants must be a mapping, not a list"),
        ({"one": None, "two": {}}, "variants.two: it is the same as one: change a setting, or remove it"),
    ],
)
def test_mistakes_of_variants_are_named(tmp_path: Path, variants: Any, message: str) -> None:
    assert problem(tmp_path, variants).startswith(message)


def test_unknown_variant_is_an_input_error(tmp_path: Path) -> None:
    message = "variants: there is no variant 'big': expected one of: small, large"
    assert problem(tmp_path, TWO, variant="big") == message


def test_spec_that_reads_variants_must_name_one(tmp_path: Path) -> None:
    write(tmp_path, TWO, name="first").rename(tmp_path / "first.yaml")
    source = {"type": "run", "spec": "first.yaml", "key": "key"}
    prompt = {"user": "{{ output.label }}"}
    message = "source.spec: first.yaml has variants: name one of them as `variant: small`"
    with pytest.raises(InputError, match=message):
        load_spec(write_job(tmp_path, name="second", source=source, prompt=prompt))
    second = load_spec(write_job(tmp_path, name="second", source={**source, "variant": "large"}, prompt=prompt))
    assert second.source.output == "out/all.large.jsonl"
    with pytest.raises(InputError, match="there is no variant 'huge'"):
        load_spec(write_job(tmp_path, name="second", source={**source, "variant": "huge"}, prompt=prompt))


def test_variants_of_an_empty_spec_have_problems_with_places(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text('{"variants": {"type": null, "path": null}}')
    spec, found = read_spec(path)
    assert spec is not None and len(found) > 3
    assert all(one.line == 1 and one.column >= 1 for one in found)


def test_setting_that_no_variant_has_is_one_problem(tmp_path: Path) -> None:
    for setting in ("model", "promt.user", "output.schema"):
        _, found = read_spec(write(tmp_path, {"one": {setting: "x"}}))
        assert [one.message.partition(": expected")[0] for one in found] == [f"variants.one: the key '{setting}'"]


def test_settings_of_variants_are_those_of_the_schema() -> None:
    variants = json.loads(schema_text())["properties"]["variants"]
    assert variants["additionalProperties"]["propertyNames"]["pattern"] == SETTING


STEPS = st.sampled_from(
    [*"01x", "", "params", "prompt", "user", "system", "messages", "content", "text", "model", "thinking"]
)
VALUES = st.sampled_from(
    [None, 1, "x", [], {}, {"type": "text", "text": "a"}, [{"type": "text", "text": "{{ text }}"}]]
)
BLOCKS = [{"type": "text", "text": "a"}]
TURNS = {"system": BLOCKS, "messages": [{"role": "user", "content": BLOCKS}]}


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([SPEC["prompt"], TURNS, [1]]),
    st.sampled_from([SPEC["params"], 5]),
    st.dictionaries(st.lists(STEPS, min_size=1, max_size=5).map(".".join), VALUES, max_size=3),
)
def test_any_variant_loads_or_gives_problems_with_places(
    prompt: Any, params: Any, replaced: dict[str, Any]
) -> None:
    spec = {**SPEC, "prompt": prompt, "params": params, "variants": {"one": replaced, "two": None}}
    for variant in ("one", "two"):
        _, found = read_spec("job.yaml", data=json.dumps(spec).encode(), variant=variant)
        assert all(one.line == 1 for one in found)


def test_mistake_of_some_variants_names_them(tmp_path: Path) -> None:
    two = {"first": {"params.max_tokens": 5}, "second": {"params.model": "claude-haiku-5-5"}}
    path = write(tmp_path, two, params={"max_tokens": 10}, source={**SPEC["source"], "path": "none.csv"})
    with pytest.raises(InputError) as caught:
        load_spec_or_report(path)
    found = [one.message for one in caught.value.problems]
    assert "variant first: params needs the key 'model'" in found
    assert [one.startswith("variant") for one in found if "none.csv" in one] == [False]


def test_pilot_by_an_unknown_column_is_found(tmp_path: Path) -> None:
    path = write_job(tmp_path, pilot={"rows": 5, "by": "txt"})
    [found] = validate_file(path).errors
    assert found.message == "pilot.by: no column 'txt': did you mean 'text'?"
