"""A spec file becomes a checked Spec, or every mistake in it with its place and a remedy."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InputError, Problem
from runner.spec.load import compute_fingerprint, find_project_root, load_spec, restore_with_edits
from runner.spec.schema_errors import schema_text, suggest_similar
from runner.spec.spec import Batch, Prompt, Retry, Sink, Source, Spec, Turn

TESTS = Path(__file__).parent
SHIPPED = sorted((TESTS.parent / "specs").glob("*.yaml"))
BAD = sorted((TESTS / "specs" / "bad").glob("*.yaml"))
SPEC_SCHEMA: dict[str, Any] = json.loads(schema_text())

MINIMAL_SPEC = """\
version: 1
name: good
source: {type: csv, path: data/in.csv}
prompt: {user: hi}
params: {model: m, max_tokens: 5}
sinks: [{type: jsonl, path: out.jsonl}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "specs").mkdir()
    return tmp_path.resolve()


def load_lines(project: Path, *lines: str, base: str = MINIMAL_SPEC, vars: dict[str, str] | None = None) -> Spec:
    path = project / "specs" / "s.yaml"
    path.write_text(base + "".join(f"{line}\n" for line in lines), "utf-8")
    return load_spec(path, vars=vars)


def load_problems(
    project: Path, *lines: str, base: str = MINIMAL_SPEC, vars: dict[str, str] | None = None
) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        load_lines(project, *lines, base=base, vars=vars)
    return list(caught.value.problems)


def subschemas(schema: Any, at: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        yield at, schema
    items = schema.items() if isinstance(schema, dict) else enumerate(schema) if isinstance(schema, list) else ()
    for name, value in items:
        yield from subschemas(value, f"{at}/{name}")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_spec_gives_exactly_the_expected_messages(
    path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(path, project)
    monkeypatch.chdir(project)
    with pytest.raises(InputError) as caught:
        load_spec(path.name)
    assert str(caught.value).replace(str(project), "ROOT") + "\n" == path.with_suffix(".txt").read_text("utf-8")


def test_every_bad_spec_has_a_message_file() -> None:
    messages = {path.stem for path in (TESTS / "specs" / "bad").glob("*.txt")}
    assert messages == {path.stem for path in BAD}
    assert len(messages) >= 20


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_expected_message_points_into_its_file(path: Path) -> None:
    text = path.read_text("utf-8").splitlines()
    for message in path.with_suffix(".txt").read_text("utf-8").splitlines():
        line, column = message.removeprefix(f"{path.name}:").split(":")[:2]
        assert int(column) <= len(text[int(line) - 1]) + 1


def test_all_mistakes_of_a_file_are_reported_in_order(project: Path) -> None:
    found = load_problems(
        project, "retry: {attempts: 0}", "bach: {}", base=MINIMAL_SPEC.replace("name: good", "name: Good")
    )
    assert [(p.line, p.column) for p in found] == [(2, 7), (7, 19), (8, 1)]
    assert {p.path for p in found} == {str(project / "specs" / "s.yaml")}


@pytest.mark.parametrize("key", ["version", "name", "source", "prompt", "params", "sinks"])
def test_missing_top_level_key_is_reported(project: Path, key: str) -> None:
    rest = "".join(line for line in MINIMAL_SPEC.splitlines(keepends=True) if not line.startswith(key))
    assert [p.message for p in load_problems(project, base=rest)] == [f"the spec needs the key {key!r}"]


@pytest.mark.parametrize("key", [key for key in SPEC_SCHEMA["properties"] if len(key) > 3])
def test_misspelled_top_level_key_is_not_also_missing(project: Path, key: str) -> None:
    lines = dict(line.split(": ", 1) for line in MINIMAL_SPEC.splitlines())
    text = "".join(f"{name}: {lines[name]}\n" for name in lines if name != key)
    [found] = load_problems(project, f"{key[0]}{key[2:]}: {lines.get(key, '{}')}", base=text)
    assert found.message == f"unknown key '{key[0]}{key[2:]}' in the spec: did you mean {key!r}?"


@pytest.mark.parametrize("name", ["a", "a1", "a-b_c", "a" * 32])
def test_valid_names_are_accepted(project: Path, name: str) -> None:
    assert load_lines(project, base=MINIMAL_SPEC.replace("good", name)).name == name


@pytest.mark.parametrize("name", ["A", "1a", "_a", "-a", "a b", "a.b", "a/b", "é", "a" * 33, "''"])
def test_invalid_names_are_rejected(project: Path, name: str) -> None:
    [found] = load_problems(project, base=MINIMAL_SPEC.replace("good", name))
    assert (found.line, found.column) == (2, 7)
    assert found.message.endswith("expected 1 to 32 characters of a-z, 0-9, _ and -, starting with a letter")


@pytest.mark.parametrize("name", ["b c", "3d", "''", "a-b", "a.b", "é"])
def test_the_name_of_a_variable_must_be_usable_in_a_template(project: Path, name: str) -> None:
    [found] = load_problems(project, "vars:", "  ok: 1", f"  {name}: 2")
    assert (found.line, found.column) == (9, 3)
    assert "expected letters, digits and _" in found.message


def test_the_smallest_spec_is_filled_with_defaults(project: Path) -> None:
    spec = load_lines(project)
    assert spec.source == Source("csv", None, {"path": "data/in.csv"})
    assert spec.prompt == Prompt(user="hi")
    assert spec.sinks == (Sink("jsonl", "all", None, {"path": "out.jsonl"}),)
    assert (spec.description, spec.vars, spec.output.schema) == ("", {}, None)
    assert (spec.batch, spec.retry) == (Batch(), Retry())


def test_spec_defaults_match_the_schema(project: Path) -> None:
    spec = load_lines(project, "retry: {}")
    stated = {name: p["default"] for name, p in SPEC_SCHEMA["properties"]["batch"]["properties"].items()}
    assert load_lines(project, f"batch: {json.dumps(stated)}").batch == spec.batch
    stated = {name: p["default"] for name, p in SPEC_SCHEMA["properties"]["retry"]["properties"].items()}
    assert json.loads(json.dumps(asdict(spec.retry))) == stated


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


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("1", 1),
        ("256000000", 256_000_000),
        ("1B", 1),
        ("64KB", 64_000),
        ("0.5KB", 500),
        ("1.5MB", 1_500_000),
        ("256MB", 256_000_000),
        ("256000KB", 256_000_000),
        ("'200MB'", 200_000_000),
        ("000.25MB", 250_000),
    ],
)
def test_a_size_is_bytes_or_a_decimal_multiple(project: Path, size: str, count: int) -> None:
    assert load_lines(project, f"batch: {{max_bytes: {size}}}").batch.max_bytes == count


@pytest.mark.parametrize(
    "size", ["200mb", "200 MB", "1GB", "1MiB", "MB", "1.MB", ".5MB", "-1MB", "1,5MB", "1e3KB"]
)
def test_invalid_size_is_explained(project: Path, size: str) -> None:
    [found] = load_problems(project, f'batch: {{max_bytes: "{size}"}}')
    assert (found.line, found.column) == (7, 20)
    assert found.message.endswith("expected a number of bytes, or a size such as 64KB or 200MB")


@pytest.mark.parametrize("size", ["0", "-1", "256000001", "256.001MB", "256001KB", "256000001B", "99999999MB"])
def test_size_beyond_the_api_limit_is_rejected(project: Path, size: str) -> None:
    [found] = load_problems(project, f"batch: {{max_bytes: {size}}}")
    assert (found.line, found.column) == (7, 20)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 256_000))
def test_a_size_in_whole_kilobytes_is_exact(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    project = tmp_path_factory.getbasetemp() / "sizes"
    (project / "specs").mkdir(parents=True, exist_ok=True)
    assert load_lines(project, f"batch: {{max_bytes: {size}KB}}").batch.max_bytes == size * 1000


@pytest.mark.parametrize("marker", ["prompts", ".runner"])
def test_project_root_is_the_nearest_marked_folder(tmp_path: Path, marker: str) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "a" / marker).mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    assert find_project_root(tmp_path / "a" / "b" / "c" / "s.yaml") == (tmp_path / "a").resolve()
    assert find_project_root(tmp_path / "s.yaml") == tmp_path.resolve()


def test_a_file_called_prompts_does_not_mark_a_project(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "prompts").touch()
    assert find_project_root(tmp_path / "a" / "s.yaml") == tmp_path.resolve()


def test_the_project_root_does_not_depend_on_the_current_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_lines(project)
    monkeypatch.chdir(project / "specs")
    spec = load_spec("s.yaml")
    assert (spec.root, spec.path) == (project, Path("s.yaml"))


@pytest.mark.parametrize("path", ["../x.csv", "..", "a/../../x", "a/b/../../../x", "./../x", "*/../../x*.csv"])
def test_a_path_that_leaves_the_project_is_refused(project: Path, path: str) -> None:
    [found] = load_problems(project, base=MINIMAL_SPEC.replace("data/in.csv", f"'{path}'"))
    assert found.message.startswith(f"{path} is outside the project folder {project}")
    assert (found.line, found.column) == (3, 27)


@pytest.mark.parametrize(
    "path", ["/elsewhere/x.csv", "a/..", "a/../x.csv", "./x.csv", "..x.csv", "...", "a..b/x", "-"]
)
def test_absolute_path_and_path_inside_the_project_are_allowed(project: Path, path: str) -> None:
    assert load_lines(project, base=MINIMAL_SPEC.replace("data/in.csv", path)).source.options["path"] == path


def test_sibling_folder_with_a_longer_name_is_outside(project: Path) -> None:
    found = load_problems(project, base=MINIMAL_SPEC.replace("out.jsonl", f"../{project.name}2/x"))
    assert "is outside the project folder" in found[0].message


def test_inline_output_schema_is_kept_unchanged(project: Path) -> None:
    schema = {"type": "object", "properties": {"on": {"type": "string"}}, "required": ["on"]}
    assert load_lines(project, f"output: {{schema: {json.dumps(schema)}}}").output.schema == schema


def test_an_output_schema_file_is_found_from_the_project_root(project: Path) -> None:
    (project / "schemas").mkdir()
    (project / "schemas" / "a.json").write_text('{"type": "string", "title": "é"}', "utf-8")
    assert load_lines(project, "output: {schema: schemas/a.json}").output.schema == {
        "type": "string",
        "title": "é",
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1,\n}', "a.json:2:1: not JSON"),
        (b"", "a.json:1:1: not JSON"),
        (b'{"title": "\xff"}', "a.json: not usable as JSON: "),
        (b"[1]", "a.json: a JSON schema must be an object, not a list"),
        (b"true", "a.json: a JSON schema must be an object, not true"),
        (
            b'{"properties": {"a": {"type": "strng"}}}',
            "a.json: not a valid JSON schema: at properties.a.type: 'strng'",
        ),
        (b'{"type": "string", "pattern": "("}', "a.json: not a valid JSON schema: at pattern"),
        (b'{"required": "a"}', "a.json: not a valid JSON schema: at required"),
    ],
)
def test_bad_output_schema_file_is_reported_with_its_place(project: Path, data: bytes, message: str) -> None:
    (project / "a.json").write_bytes(data)
    [found] = load_problems(project, "output: {schema: a.json}")
    assert str(found).startswith(message)


@pytest.mark.parametrize("path", ["nope.json", "specs", "nope/a.json"])
def test_unreadable_output_schema_is_reported(project: Path, path: str) -> None:
    [found] = load_problems(project, f"output: {{schema: {path}}}")
    assert found.path == str(project / "specs" / "s.yaml")
    assert f"{path}: cannot read: " in found.message
    assert found.line > 0


def test_bad_inline_output_schema_is_reported(project: Path) -> None:
    [found] = load_problems(project, "output: {schema: {type: objct}}")
    assert str(found).startswith(str(project / "specs" / "s.yaml"))
    assert "output.schema" in str(found)
    assert "'objct'" in str(found)


def test_a_var_override_is_text(project: Path) -> None:
    with pytest.raises(InputError, match=r"^--var: the value of a is not UTF-8 text$"):
        load_lines(project, "vars: {a: 1}", vars={"a": "x\udcff"})


def test_a_var_override_replaces_only_that_variable(project: Path) -> None:
    spec = load_lines(project, "vars: {a: 1, b: [2]}", vars={"a": "x"})
    assert spec.vars == {"a": "x", "b": [2]}
    assert load_lines(project, "vars: {a: 1, b: [2]}").vars == {"a": 1, "b": [2]}


def test_unknown_var_overrides_are_reported_with_other_mistakes(project: Path) -> None:
    found = load_problems(
        project, "vars: {a: 1}", base=MINIMAL_SPEC.replace("data/in.csv", "../x"), vars={"z": "", "a": "", "y": ""}
    )
    assert found[2].line == 3
    assert [p.path for p in found[:2]] == ["--var", "--var"]
    assert ["'y'" in found[0].message, "'z'" in found[1].message] == [True, True]


@pytest.mark.parametrize("name", ["nope.yaml", "specs", "nope/s.yaml"])
def test_a_spec_that_cannot_be_read_is_an_input_error(project: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot read the spec") as caught:
        load_spec(project / name)
    assert caught.value.problems[0].path == str(project / name)


def test_a_spec_is_frozen(project: Path) -> None:
    spec = load_lines(project)
    with pytest.raises(FrozenInstanceError):
        spec.name = "other"  # type: ignore[misc]


def test_a_problem_in_a_block_text_points_at_its_line(project: Path) -> None:
    spec = load_lines(project, base=MINIMAL_SPEC.replace("{user: hi}", "\n  user: |\n    one\n    two"))
    assert str(spec.problem("prompt.user", "wrong", line=2)) == f"{spec.path}:7: wrong"
    assert str(spec.problem("prompt.user", "wrong")) == f"{spec.path}:6: wrong"
    assert str(spec.problem("nowhere", "wrong")) == f"{spec.path}: wrong"


def test_a_problem_in_a_quoted_text_points_at_its_beginning(project: Path) -> None:
    spec = load_lines(project, base=MINIMAL_SPEC.replace("hi}", '"a\\n\\n{{ b"}'))
    line, column = spec.positions["prompt.user"]
    assert str(spec.problem("prompt.user", "wrong", line=3)) == f"{spec.path}:{line}:{column}: wrong"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_spec_loads(path: Path) -> None:
    spec = load_spec(path)
    assert (spec.name, spec.root) == (path.stem, TESTS.parent)
    assert spec.output.schema is not None


def test_there_are_four_shipped_specs() -> None:
    assert [p.stem for p in SHIPPED] == ["contracts", "invoices", "question_bank", "retrospectives"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_spec_snapshot_round_trip(path: Path) -> None:
    spec = load_spec(path)
    again = restore_with_edits(json.loads(json.dumps(spec.to_record())), current=spec)
    assert again.to_record() == spec.to_record()
    assert (again.prompt, again.params, again.sinks, again.batch) == (
        spec.prompt,
        spec.params,
        spec.sinks,
        spec.batch,
    )


def test_settings_editable_during_a_run_are_not_in_the_snapshot(project: Path) -> None:
    before = load_lines(project).to_record()
    base = MINIMAL_SPEC.replace("out.jsonl", "other.jsonl")
    after = load_lines(
        project, "description: x", "batch: {max_requests: 5}", "retry: {attempts: 1}", base=base
    ).to_record()
    assert compute_fingerprint(before) == compute_fingerprint(after)


@pytest.mark.parametrize(
    ("old", "new"), [("hi", "ho"), ("model: m", "model: n"), ("tokens: 5", "tokens: 6"), ("in.csv", "in2.csv")]
)
def test_request_settings_change_the_fingerprint(project: Path, old: str, new: str) -> None:
    before = load_lines(project).to_record()
    assert compute_fingerprint(before) != compute_fingerprint(
        load_lines(project, base=MINIMAL_SPEC.replace(old, new)).to_record()
    )


def test_fingerprint_is_independent_of_key_order(project: Path) -> None:
    before = load_lines(project).to_record()
    swapped = MINIMAL_SPEC.replace("{model: m, max_tokens: 5}", "{max_tokens: 5, model: m}")
    assert compute_fingerprint(before) == compute_fingerprint(load_lines(project, base=swapped).to_record())


def test_the_spec_schema_is_a_valid_schema_of_draft_2020_12() -> None:
    assert SPEC_SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SPEC_SCHEMA)


def test_spec_schema_does_not_use_one_of() -> None:
    assert [at for at, schema in subschemas(SPEC_SCHEMA) if "oneOf" in schema] == []


def test_every_property_of_the_spec_schema_has_a_description() -> None:
    found = {
        f"{at}/{name}": value
        for at, schema in subschemas(SPEC_SCHEMA)
        if not at.endswith(("/properties", "/if"))
        for name, value in schema.get("properties", {}).items()
    }
    bare = [at for at, value in found.items() if value is not True and not value.get("description")]
    assert len(found) > 40
    assert bare == []


def test_every_stated_default_satisfies_its_own_schema() -> None:
    defaults = [(at, schema) for at, schema in subschemas(SPEC_SCHEMA) if "default" in schema]
    wrong = [
        at for at, schema in defaults if not jsonschema.Draft202012Validator(schema).is_valid(schema["default"])
    ]
    assert len(defaults) >= 6
    assert wrong == []


@pytest.mark.parametrize(
    ("word", "known", "end"),
    [("cvs", ["csv", "text"], "did you mean 'csv'?"), ("zzz", ["csv", "text"], "expected one of: csv, text")],
)
def test_unknown_word_gets_the_nearest_or_all_suggestions(word: str, known: list[str], end: str) -> None:
    assert suggest_similar(word, known) == end


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(list(SPEC_SCHEMA["properties"])) | st.text("abk.", max_size=3),
        st.recursive(
            st.none() | st.booleans() | st.sampled_from([0, 1, -1, 2.5, "", "csv", "jsonl", "x"]),
            lambda v: (
                st.lists(v, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["type", "path", "user", "role", "content", "on", "?"]), v, max_size=3
                )
            ),
            max_leaves=6,
        ),
        max_size=5,
    )
)
def test_any_mapping_loads_or_gives_problems_with_places(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]
) -> None:
    project = tmp_path_factory.getbasetemp() / "mappings"
    (project / "specs").mkdir(parents=True, exist_ok=True)
    found = load_problems(project, base=json.dumps(value))
    assert all(p.line == 1 and p.column >= 1 and p.message for p in found)


@pytest.mark.parametrize(
    "line", ["batch: {max_requests: 1e4}", "batch: {max_bytes: 1e6}", "retry: {attempts: 3.0}"]
)
def test_count_must_be_a_whole_number(project: Path, line: str) -> None:
    [found] = load_problems(project, line)
    assert "must be a whole number" in found.message


def test_trailing_line_feed_does_not_match_a_pattern(project: Path) -> None:
    assert (
        "expected 1 to 32 characters"
        in load_problems(project, base=MINIMAL_SPEC.replace("name: good", 'name: "s\\n"'))[0].message
    )


@pytest.mark.parametrize("text", ['{"minimum": NaN}', '{"a": 1, "a": 2}', '{"title": "\\ud800"}'])
def test_schema_file_that_is_not_strict_json_is_rejected(project: Path, text: str) -> None:
    (project / "a.json").write_text(text)
    assert "not usable as JSON" in load_problems(project, "output: {schema: a.json}")[0].message


@pytest.mark.parametrize("at", ["source", "sink", "schema"])
def test_link_out_of_the_project_is_not_followed(tmp_path: Path, at: str) -> None:
    root, outside = tmp_path / "project", tmp_path / "outside"
    (root / "prompts").mkdir(parents=True)
    outside.mkdir()
    (outside / "x.json").write_text("{}")
    (root / "link").symlink_to(outside)
    paths = {"source": "in.csv", "sink": "out.jsonl", "schema": "s.json"}
    (root / "s.json").write_text("{}")

    def load() -> Spec:
        (root / "job.yaml").write_text(
            f"version: 1\nname: job\nsource: {{type: csv, path: {paths['source']}}}\nprompt: {{user: hi}}\n"
            f"params: {{model: m, max_tokens: 5}}\noutput: {{schema: {paths['schema']}}}\n"
            f"sinks: [{{type: jsonl, path: {paths['sink']}}}]\n"
        )
        return load_spec(root / "job.yaml")

    assert load().name == "job"
    paths[at] = "link/x.json"
    with pytest.raises(InputError, match="is outside the project folder"):
        load()
    paths[at] = str(outside / "x.json")
    assert load().name == "job"
