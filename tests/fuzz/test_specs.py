"""Random and damaged specs: a checked spec, or errors with lines."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from runner.cli import main
from runner.errors import InputError
from runner.lifecycle.validate.checks import validate_spec
from runner.spec.load import load_spec
from runner.spec.record import make_record
from runner.spec.schema_errors import schema_text
from runner.spec.spec import Spec
from runner.spec.yaml.document import parse_yaml
from tests.support import ROOT, SHIPPED
from tests.support.fuzzing import EDITS, SHORT_TEXT, assert_clear, edited, tries
from tests.support.projects import SPEC

pytestmark = pytest.mark.slow

SHIPPED_NAMES = [path.name for path in SHIPPED]


def load_and_check(path: Path) -> Spec | None:
    """Run `runner validate` on a file."""
    try:
        spec = load_spec(path)
        validate_spec(spec)
    except InputError as error:
        assert_clear(error, path)
        return None
    make_record(spec)
    return spec


@tries(300)
@given(st.binary(max_size=60))
@example(b"")
@example(b"\xff\xfe")
def test_any_bytes_are_a_spec_or_an_error_with_a_line(project: Path, data: bytes) -> None:
    path = project / "bytes.yaml"
    path.write_bytes(data)
    assert load_and_check(path) is None


@tries(500)
@given(
    st.lists(
        st.sampled_from(
            ["version", "1", ": ", "\n", " ", "  ", "- ", "{", "}", "[", "]", ",", "&a ", "*a", "!!x ", "|", ">",
             "'", '"', "#", "? ", "---", "...", "%YAML 1.2", "<<", "~", "source", "prompt", "@", "`", "\t", "\\",
             "=", "${env:X}", "${env:HOME}", "${env:A_TOKEN}", "{{ x }}", "\u2028", "\x85", "\ufeff", "\x1b",
             "\U0001f600"]
        )
        | SHORT_TEXT,
        max_size=14,
    ).map("".join)
)  # fmt: skip
def test_any_text_is_a_spec_or_an_error_with_a_line(project: Path, text: str) -> None:
    path = project / "text.yaml"
    path.write_bytes(text.encode())
    assert load_and_check(path) is None


Node = tuple[str, list[Any]] | str
"""YAML to be written: a mapping of [key, node] pairs, a list of [None, node] pairs, or a scalar as it stands."""


def tree(value: Any) -> Node:
    if isinstance(value, dict):
        return "{}", [[json.dumps(name), tree(item)] for name, item in value.items()]
    if isinstance(value, list):
        return "[]", [[None, tree(item)] for item in value]
    return json.dumps(value)


def containers(node: Node) -> Iterator[tuple[str, list[Any]]]:
    if not isinstance(node, str):
        yield node
        for _, item in node[1]:
            yield from containers(item)


def written(node: Node) -> str:
    if isinstance(node, str):
        return node
    brackets, pairs = node
    inside = [written(item) if key is None else f"{key}: {written(item)}" for key, item in pairs]
    return brackets[0] + "\n" + "\n, ".join(inside) + "\n " + brackets[1]


def names_in(schema: Any) -> set[str]:
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    own = set(schema.get("properties", ())) if isinstance(schema, dict) else set()
    return own.union(*map(names_in, parts))


NAMES = sorted(names_in(json.loads(schema_text())))
SNIPPETS = [
    "~", "", "null", "true", "FALSE", "yes", "0", "1", "-1", "1.5", "1e3", "1e400", "0x1F", "010", "1_0", ".inf",
    ".nan", "2024-01-01", "9" * 299, "9" * 400, "''", "' '", "x", "csv", "jsonl", "text", "5m", "200MB", "0B",
    "999999999999MB", "0.000001KB", "1.5KB", "'-'", "'*'", "'[!'", "'**/*.csv'", ".", "..", "../x", "/",
    "rows.csv", "rows.jsonl", "rows.csv/x", "specs", "'a\\0'", '"a\\0b"', '"\\n"', "x.j2", "invoices/system.j2",
    "../x.j2", "invoices", "utf-16", "hex", "undefined", "unicode_escape", "idna", "latin-1", "utf-32", "cp037",
    "id", "topic", "[]", "{}", "[[]]", "[x, x]", "{a: b}", "{type: text}", "[{type: text, text: x}]",
    "[{role: user, content: x}]", "{type: csv, path: rows.csv}", "{type: jsonl, path: rows.jsonl, key: id}",
    "&a x", "&a [*a]", "*a", "&a {b: *b}", "!!str x", "!!python/object:os.system x", "!x {}", "! x", "${env:NO}",
    "'${env:HOME}'", "${env:X_API_KEY}", '"{{ text }}"', '"{{ x }}"', '"{{"', '"{% if %}"',
    '"{% include \'no.j2\' %}"', '"{{ 1 / 0 }}"', '"{{ row }}"', "{$ref: '#'}", "{$ref: '#/x'}",
    "{$ref: 'http://x'}", "{type: x}", "{type: object, required: x}", "{pattern: '('}", "{enum: []}",
    "{$schema: x}", "{$id: '::'}", "{multipleOf: 0}", "{minimum: a}", "{const: .nan}", "{items: [1]}",
    "{format: json_schema}", "{format: {type: json_schema}}", "specs/schemas/invoice.json",
    "specs/data/invoices.csv", "out/all.jsonl", "key", "output.label", "no.name", "key +", "key | no",
    "f(a=1, a=2)", "'" + "a" * 300 + "'", "'*" + "a" * 300 + "'", "[" * 70 + "]" * 70, '"\\ud800"', '"\\u2028"',
    "é", "'٣'", "key | truncate(-1)",
]  # fmt: skip
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["drop", "rename", "replace", "replace", "replace", "add", "repeat", "move", "wrap"]),
        st.integers(0, 400),
        st.integers(0, 400),
        st.sampled_from(NAMES) | SHORT_TEXT.map(json.dumps),
        st.sampled_from(SNIPPETS)
        | SHORT_TEXT.map(json.dumps)
        | st.integers().map(str)
        | st.floats(allow_nan=False, allow_infinity=False).map(str),
    ),
    min_size=1,
    max_size=3,
)


def changed(root: Node, changes: list[tuple[str, int, int, str, str]]) -> Node:
    """A tree after each change in turn; the numbers choose a container and one of its children."""
    for kind, first, second, name, snippet in changes:
        every = [*containers(root)]
        brackets, pairs = every[first % len(every)] if every else ("{}", [])
        key = name if brackets == "{}" else None
        if kind == "add" or not pairs:
            pairs.append([key, snippet])
            continue
        at = second % len(pairs)
        if kind == "drop":
            del pairs[at]
        elif kind == "rename":
            pairs[at] = [key, pairs[at][1]]
        elif kind == "replace":
            pairs[at] = [pairs[at][0], snippet]
        elif kind == "repeat":
            pairs.append([pairs[at][0], snippet])
        elif kind == "move":
            _, others = every[second % len(every)]
            others.append([name if others and others[0][0] is not None else None, written(pairs[at][1])])
        else:
            pairs[at] = [pairs[at][0], ("[]", [[None, pairs[at][1]]])]
    return root


@cache
def documents() -> dict[str, Any]:
    """The specs to start from, as plain values."""
    shipped = {name: parse_yaml((ROOT / "specs" / name).read_bytes(), path=name).value for name in SHIPPED_NAMES}
    return {**shipped, "job.yaml": {**SPEC, "vars": {"tone": "calm"}}}


@tries(1300)
@given(st.sampled_from(["job.yaml", "job.yaml", *SHIPPED_NAMES]), CHANGES)
def test_changed_spec_is_a_spec_or_errors_with_lines(
    project: Path, name: str, changes: list[tuple[str, int, int, str, str]]
) -> None:
    path = project / "changed.yaml"
    path.write_bytes(written(changed(tree(documents()[name]), changes)).encode())
    load_and_check(path)


@tries(900)
@given(st.sampled_from(SHIPPED_NAMES), EDITS)
def test_damaged_spec_is_a_spec_or_errors_with_lines(
    project: Path, name: str, edits: list[tuple[str, int, int, bytes]]
) -> None:
    path = project / "damaged.yaml"
    path.write_bytes(edited((ROOT / "specs" / name).read_bytes(), edits))
    load_and_check(path)


@tries(250)
@given(
    st.dictionaries(st.sampled_from(["tone", "x", ""]) | st.text(max_size=3), st.text(max_size=6), max_size=2),
    st.sampled_from(["{{ tone }}", "{{ text }}", "{{ tone }}{{ x }}"]),
)
@example({"tone": "\udcff"}, "{{ text }}")
def test_any_vars_are_accepted_or_rejected_with_an_error(project: Path, vars: dict[str, str], user: str) -> None:
    path = project / "vars.yaml"
    path.write_text(json.dumps({**SPEC, "vars": {"tone": "calm"}, "prompt": {"user": user}}))
    try:
        spec = load_spec(path, vars=vars)
        validate_spec(spec)
    except InputError as error:
        assert_clear(error, path)
    else:
        assert spec.vars == {"tone": "calm", **vars}
        msgspec.json.encode(make_record(spec))


@tries(250)
@given(st.lists(st.text(max_size=5) | st.text("tone=\udcff-", max_size=8), min_size=1, max_size=2))
def test_any_var_argument_is_accepted_or_rejected(project: Path, words: list[str]) -> None:
    path = project / "words.yaml"
    path.write_text(json.dumps({**SPEC, "vars": {"tone": "calm"}}))
    arguments = ["validate", str(path), *(f"--var={word}" for word in words)]
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code in (0, 2), ended.exception
    assert isinstance(ended.exception, SystemExit | None)
