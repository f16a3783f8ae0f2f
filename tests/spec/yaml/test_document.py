"""Strict YAML: plain values with their places, and every refusal with a line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InputError, Problem
from runner.spec.yaml.document import MAX_BYTES, MAX_NODES, Document, parse_yaml
from runner.spec.yaml.nodes import MAX_DEPTH
from tests.support import ROOT, SHIPPED

BMP = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | BMP
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(BMP, v, max_size=4))
MARKUP = st.text(st.sampled_from("ab01.-:,?{}[]|>&*!#%@'\"\\\n\r\t ~<\u2028\x85é😀$"), max_size=40)


def read(text: str | bytes, **environ: str) -> Document:
    data = text.encode() if isinstance(text, str) else text
    return parse_yaml(data, path="s.yaml", environ=environ)


def problem(text: str | bytes, **environ: str) -> Problem:
    with pytest.raises(InputError) as caught:
        read(text, **environ)
    [found] = caught.value.problems
    assert found.path == "s.yaml"
    return found


@pytest.mark.parametrize(
    "text",
    [
        "on",
        "off",
        "yes",
        "no",
        "y",
        "On",
        "1_0",
        "010",
        "-007",
        "2026-01-01",
        "12:30:00",
        "1.2.3",
        "0b1",
        "1e",
        "e3",
        "12a",
        "tRue",
        "nUll",
        "None",
        "<<",
        "=",
        ".",
        "-.",
        "+",
        "+.",
        "1e400",
        "-1e400",
        "1__2",
        "1,5",
        "${env}",
    ],
)
def test_plain_scalar_that_is_not_json_stays_text(text: str) -> None:
    assert read(f"a: {text}\n").value == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        ("-12", -12),
        ("9" * 300, int("9" * 300)),
        ("1.0", 1.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("+1.5", 1.5),
        ("1e3", 1e3),
        ("2.5E-3", 0.0025),
    ],
)
def test_plain_scalar_of_the_core_schema_has_its_type(text: str, value: object) -> None:
    found = read(f"a: {text}\n").value["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["true", "1", "1.5", "null", "~", ""])
def test_quoted_scalar_is_always_text(text: str) -> None:
    assert read(f"a: '{text}'\nb: \"{text}\"\n").value == {"a": text, "b": text}


def test_a_block_scalar_is_text_even_if_it_holds_one_number() -> None:
    assert read("a: |-\n  12\nb: >-\n  true\n").value == {"a": "12", "b": "true"}


@pytest.mark.parametrize("key", ["on", "1", "1.5", "true", "~", "null"])
def test_keys_are_always_text(key: str) -> None:
    assert read(f"{key}: x\n").value == {key: "x"}


def test_places_count_lines_and_columns_from_one() -> None:
    document = read("# first\na: 1\nb:\n  - x\n  - {c: y}\n")
    assert document.positions == {
        (): (2, 1),
        ("a",): (2, 4),
        ("b",): (4, 3),
        ("b", 0): (4, 5),
        ("b", 1): (5, 5),
        ("b", 1, "c"): (5, 9),
    }
    assert document.keys == {("a",): (2, 1), ("b",): (3, 1), ("b", 1, "c"): (5, 6)}


@pytest.mark.parametrize("style", ["|", ">", "|-", ">+", "|2"])
def test_the_place_of_a_block_scalar_is_its_first_line(style: str) -> None:
    document = read(f"a: {style}\n  one\n  two\nb: 1\n")
    assert document.positions["a",] == (2, 0)
    assert document.positions["b",] == (4, 4)


def test_columns_count_characters_not_bytes() -> None:
    assert read("{é😀: 1, b: 2}\n").positions["b",] == (1, 12)


@pytest.mark.parametrize("text", ["a: 1\r\nb: |\r\n  x\r\n  y\r\n", "\ufeffa: 1\nb: |\n  x\n  y\n"])
def test_windows_line_ends_and_byte_order_mark_are_ignored(text: str) -> None:
    document = read(text)
    assert document.value == {"a": 1, "b": "x\ny\n"}
    assert document.positions == {(): (1, 1), ("a",): (1, 4), ("b",): (3, 0)}


def test_an_alias_repeats_the_value_of_its_anchor() -> None:
    document = read("a: &x {n: 1}\nb: [*x, *x]\n")
    assert document.value == {"a": {"n": 1}, "b": [{"n": 1}, {"n": 1}]}
    assert document.positions["b", 1, "n"] == (1, 11)


def test_an_exclamation_mark_alone_makes_text() -> None:
    assert read("a: ! 12\nb: [! true, '?x', &x y, *x]\nc: {? d : e}\n?f: ?g\n").value == {
        "a": "12",
        "b": ["true", "?x", "y", "y"],
        "c": {"d": "e"},
        "?f": "?g",
    }


def test_redefined_anchor_applies_from_there_on() -> None:
    assert read("a: &x 1\nb: *x\nc: &x 2\nd: *x\n").value == {"a": 1, "b": 1, "c": 2, "d": 2}


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "duplicate key 'a': already on line 1"),
        ("a: 1\n'a': 3\n", 2, 1, "duplicate key 'a': already on line 1"),
        ("a: 1\r\nb: |\r\n  x\r\na: 2\r\n", 4, 1, "already on line 1"),
        ("😀: {x: 1,\n  y: [{q: 1, q: 2}]}\n", 2, 14, "duplicate key 'q': already on line 2"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, 4, "python/object:os.system is not allowed"),
        ("a: !!str 1\n", 1, 4, "tag:yaml.org,2002:str is not allowed"),
        ("a: !!binary eA==\n", 1, 4, "is not allowed"),
        ("a: !mine {b: 1}\n", 1, 4, "the tag !mine is not allowed"),
        ("a: !!set {x}\n", 1, 4, "is not allowed"),
        ("---\na: 1\n---\nb: 2\n", 3, 1, "remove the second `---`"),
        ("a: 1\n...\n---\n", 3, 1, "remove the second `---`"),
        ("a: *x\n", 1, 4, "the alias *x has no anchor above it"),
        ("a: &x:y z\n", 1, 4, "the name of an anchor has only letters, digits"),
        ("[?x]\n", 1, 2, "text that begins with ? must be quoted here"),
        ("[é, ?x: 1]\n", 1, 5, "text that begins with ? must be quoted here"),
        ("{ ?foo: bar }\n", 1, 4, "text that begins with ? must be quoted here"),
        ("a: &x [1, *x]\n", 1, 11, "the alias *x has no anchor above it"),
        ("? [a]\n: b\n", 1, 3, "a key must be plain text"),
        ("? {a: 1}\n: b\n", 1, 1, "must be quoted"),
        ("a: &x b\n*x : c\n", 2, 1, "a key must be plain text"),
        ("", 1, 1, "the file is empty"),
        ("  \n# only this\n", 1, 1, "the file is empty"),
        ("a:\n\tb: 1\n", 2, 1, "indent with spaces, not tabs"),
        ("a: @x\n", 1, 4, "quote text that begins with @ or `"),
        ("a: `x`\n", 1, 4, "quote text that begins with @ or `"),
        ("a: b: c\n", 1, 4, 'write `a: "b: c"`'),
        ("a: [1\nb: 1\n", 2, 2, "not valid YAML"),
        ("a: 'x\nb: 1\n", 1, 4, "the quote that opens here is not closed"),
        ('a:\n  b: "{{ x }}: y\nc: 1\n', 2, 6, "the quote that opens here is not closed"),
        ('a: 1\nb: "x y\nc: "foo"\nd: 2\n', 2, 4, "the quote that opens here is not closed"),
        ('a: 1\nb: "x\n  y" z\n', 3, 6, "did not find expected key"),
        ("a: 1\n b: 2\n", 2, 3, "not valid YAML"),
        ('a: "\\ud800"\n', 1, 7, "invalid Unicode character"),
        ("%YAML 3.0\n---\na: 1\n", 1, 1, "not valid YAML"),
    ],
)
def test_unsupported_yaml_is_reported_with_its_place(text: str, line: int, column: int, words: str) -> None:
    found = problem(text)
    assert (found.line, found.column) == (line, column)
    assert words in found.message


@pytest.mark.parametrize(
    "value", ["{{ x }}", "{{ x }} y", "{{ x | f('a') }}", "[{{ x }}]", "{{x.y}}: z", "{{ a, b }}"]
)
def test_an_unquoted_template_is_explained(value: str) -> None:
    found = problem(f"a: 1\nb: {value}\n")
    assert "must be quoted, because { opens a YAML mapping: write `b: " in found.message
    assert (found.line, found.column) == (2, 5 if value.startswith("[") else 4)


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"a: 1\nb: \xff\n", 2), (b"\xff\xfea\0:\0", 1), (b"a: |\n  x\n  caf\xe9\n", 3), (b"a: \xed\xa0\x80", 1)],
)
def test_bytes_that_are_not_utf_8_are_reported_with_their_line(data: bytes, line: int) -> None:
    assert problem(data) == Problem("s.yaml", "not UTF-8 text", line)


@pytest.mark.parametrize("char", ["\0", "\x01", "\x1b", "\x7f"])
def test_control_characters_are_refused(char: str) -> None:
    assert "a control character" in problem(f"a: {char}\n").message


def test_file_size_limit_is_exact() -> None:
    data = b"a: 1\n#".ljust(MAX_BYTES, b"x")
    assert read(data).value == {"a": 1}
    assert "larger than 1,048,576 bytes" in problem(data + b"x").message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "[{a: "])
def test_nesting_stops_at_the_limit_without_exhausting_the_stack(opening: str) -> None:
    found = problem(opening * 50_000)
    assert found.message == f"nested deeper than {MAX_DEPTH} levels"
    assert found.line == 1


def test_the_deepest_allowed_nesting_is_read() -> None:
    value = read("[" * MAX_DEPTH + "]" * MAX_DEPTH).value
    assert json.dumps(value) == "[" * MAX_DEPTH + "]" * MAX_DEPTH


def test_alias_bomb_is_rejected() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]\n" for n in range(1, 30))
    assert f"more than {MAX_NODES:,} values" in problem(bomb).message


def test_aliases_cannot_nest_deeper_than_the_limit() -> None:
    half = MAX_DEPTH // 2 + 1
    deep = f"a: &a {'[' * half}x{']' * half}\nb: {'[' * half}*a{']' * half}\n"
    assert problem(deep).line in (1, 2)
    assert read(deep.replace("*a", "x")).value["a"] == read(deep.replace("*a", "x")).value["b"]


def test_value_limit_is_exact() -> None:
    found = problem("- 1\n" * MAX_NODES)
    assert (found.line, found.column) == (MAX_NODES, 3)
    assert len(read("- 1\n" * (MAX_NODES - 1)).value) == MAX_NODES - 1


def test_an_environment_variable_replaces_its_name() -> None:
    document = read("a: ${env:N}\nb: '${env:N}'\nc: x-${env:N}-${env:T}\nd: |\n  ${env:T}\n", N="5", T="t")
    assert document.value == {"a": 5, "b": "5", "c": "x-5-t", "d": "t\n"}


def test_environment_value_is_text_not_yaml() -> None:
    nasty = "x\nb: [${env:V}]"
    assert read("a: ${env:V}\n", V=nasty).value == {"a": nasty}
    assert read("a: ${env:V}\n", V="{{ x }}").value == {"a": "{{ x }}"}


@pytest.mark.parametrize("text", ["${env:A", "$env:A", "${A}", "$${ env:A}", "${ENV:A}"])
def test_text_like_an_environment_variable_is_kept(text: str) -> None:
    assert read(f"a: '{text}'\n", A="x").value == {"a": text}


def test_keys_and_comments_keep_environment_variables() -> None:
    assert read("'${env:A}': 1 # ${env:B}\n").value == {"${env:A}": 1}


def test_unset_environment_variable_is_reported_with_its_place() -> None:
    found = problem("a: 1\nb: x ${env:NOPE}\n", OTHER="1")
    assert found == Problem("s.yaml", "${env:NOPE}: the environment variable NOPE is not set", 2, 4)


@pytest.mark.parametrize(
    "name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "X_SECRET", "DB_PASSWORD", "MYAPIKEY"]
)
def test_secret_name_is_rejected_before_its_value_is_read(name: str) -> None:
    found = problem(f"a: ${{env:{name}}}\n", **{name: "hunter2"})
    assert found.message.startswith(f"${{env:{name}}} looks like a secret")
    assert "hunter2" not in found.message


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_TEST_REGION", "north")
    assert parse_yaml(b"a: ${env:RUNNER_TEST_REGION}", path="s.yaml").value == {"a": "north"}


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_every_json_text_reads_as_its_json_value(value: object) -> None:
    text = json.dumps({"v": value})
    assert json.dumps(read(text).value) == text


@settings(max_examples=400, deadline=None)
@given(MARKUP)
def test_any_text_is_a_document_or_problems_with_a_place(text: str) -> None:
    try:
        document = read(text)
    except InputError as error:
        assert error.problems
        assert all(1 <= found.line <= len(text.splitlines()) + 1 for found in error.problems)
    else:
        assert document.positions[()] >= (1, 1)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_problems(data: bytes) -> None:
    try:
        assert isinstance(read(data), Document)
    except InputError as error:
        assert error.problems


@pytest.mark.parametrize("name", [path.name for path in SHIPPED])
def test_every_place_in_a_shipped_spec_is_inside_its_text(name: str) -> None:
    text = (ROOT / "specs" / name).read_text("utf-8")
    document, lines = read(text), text.splitlines()
    for path, (line, column) in document.keys.items():
        assert lines[line - 1][column - 1 :].startswith(str(path[-1]))


def test_a_long_text_repeated_by_aliases_is_refused() -> None:
    bomb = f"a: &a {'x' * 900_000}\nb: [{'*a, ' * 1000}]\n"
    assert f"more than {MAX_NODES:,} values" in problem(bomb).message


def test_merge_key_is_rejected_with_an_alternative() -> None:
    found = problem("a: &a {x: 1}\nb:\n  <<: *a\n")
    assert (found.line, found.message) == (3, "YAML 1.2 has no merge key: write the values out")


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "anthropic_api_key", "DB_PASSWD", "GITHUB_TOKEN"])
def test_secret_is_never_read_from_the_environment(name: str) -> None:
    assert "looks like a secret" in problem(f"a: ${{env:{name}}}\n", **{name: "x"}).message


def test_an_environment_value_that_is_not_text_is_refused() -> None:
    assert "not UTF-8 text" in problem("a: ${env:N}\n", N="\udcff").message
