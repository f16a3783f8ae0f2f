"""Bad and strange inputs by the thousand: each ends in the right value or in a clear error, never in a traceback.

Every test says with `tries` how many inputs it draws; the last one holds that they are 10,000 or more in all.
"""

import csv
import gzip
import io
import json
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.cli import main
from runner.errors import InputError
from runner.lifecycle.deliver.read_results import read_results
from runner.lifecycle.prepare.validate import validate_spec
from runner.requests.custom_id import make_custom_id
from runner.requests.encode import make_request_encoder
from runner.results.outcome import OUTCOMES, Outcome, parse_result
from runner.results.output_format import OutputFormat, make_validator
from runner.results.usage import Usage, parse_usage
from runner.simulator.batches import SimulatedBatches, parse_create
from runner.sinks.destination import Destination
from runner.sinks.registry import SINKS
from runner.sources.input_files import Inputs
from runner.sources.read import Row, read_rows
from runner.spec.load import load_spec
from runner.spec.schema_errors import schema_text
from runner.spec.spec import Prompt, Source, Spec
from runner.spec.yaml_document import parse_yaml
from runner.templates.expressions import RECORD_FIELDS, compile_expression
from runner.templates.templates import load_templates
from tests.jobs import SCHEMA, SPEC

INPUTS = 10_000
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - thousands of files, each synced
ROOT = Path(__file__).parents[1]
SHIPPED = sorted(path.name for path in (ROOT / "specs").glob("*.yaml"))
tried_counts: list[int] = []


def tries(count: int) -> settings:
    """Settings of a test that draws `count` inputs, always the same ones."""
    tried_counts.append(count)
    return settings(max_examples=count, deadline=None, derandomize=True)


SHORT_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "cut", "end", "flip", "repeat", "drop line", "repeat line", "swap"]),
        st.integers(0, 1 << 14),
        st.integers(0, 1 << 14),
        st.sampled_from(
            [b"\0", b"\r", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xe2\x80\xa8",
             b'"', b'""', b"'", b",", b";", b"\t", b" ", b"{", b"}", b"[", b"]", b":", b": ", b"\\", b"\\ud800",
             b"\\udc00", b"\\u0000", b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"[" * 2000, b'{"a":' * 70,
             b"null", b"true", b"- ", b"# ", b"&a ", b"*a", b"!!str ", b"<<: ", b"|", b"---\n", b"%", b"{{", b"}}",
             b"{%", b"%}", b"{#", b"\x85", b"\x1a", b"\x0c", b"0", b"-"]
        )
        | st.binary(max_size=3),
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


def edited(data: bytes, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    """Bytes after each edit in turn; the numbers of an edit are places, taken around the end."""
    for kind, first, second, junk in edits:
        at, size = first % (len(data) + 1), second % 24
        if kind == "insert":
            data = data[:at] + junk + data[at:]
        elif kind == "replace":
            data = data[:at] + junk + data[at + len(junk) :]
        elif kind == "cut":
            data = data[:at] + data[at + size :]
        elif kind == "end":
            data = data[:at]
        elif kind == "repeat":
            data = data[: at + size] + data[at:]
        elif kind == "flip":
            data = data[:at] + bytes(byte ^ 1 << second % 8 for byte in data[at : at + 1]) + data[at + 1 :]
        else:
            lines = data.splitlines(keepends=True) or [b""]
            one, other = first % len(lines), second % len(lines)
            if kind == "drop line":
                del lines[one]
            elif kind == "repeat line":
                lines.insert(other, lines[one])
            else:
                lines[one], lines[other] = lines[other], lines[one]
            data = b"".join(lines)
    return data


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the shipped jobs, of which it has the first rows, and with rows of its own."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("specs", "prompts"):
        shutil.copytree(ROOT / folder, root / folder)
    for path in (root / "specs" / "data").glob("*.csv"):
        first = [*csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))][:3]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(first)
    (root / "rows.csv").write_text("id,text\nr1,one\nr2,two\n")
    (root / "rows.jsonl").write_text('{"id": 1, "text": "one"}\n')
    return root


def assert_clear(error: InputError, path: Path | None = None) -> None:
    """Each problem says where it is and what it is; one in the file `path` also says the line."""
    assert error.problems
    for problem in error.problems:
        assert problem.path and problem.message and "\n" not in problem.path
        assert problem.line >= 0 and problem.column >= 0
        if path is not None and problem.path == str(path):
            assert 1 <= problem.line <= count_lines(path.read_bytes())


def load_and_check(path: Path) -> Spec | None:
    """What `runner validate` does with a file."""
    try:
        spec = load_spec(path)
        validate_spec(spec)
    except InputError as error:
        assert_clear(error, path)
        return None
    spec.to_record()
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
    shipped = {name: parse_yaml((ROOT / "specs" / name).read_bytes(), path=name).value for name in SHIPPED}
    return {**shipped, "job.yaml": {**SPEC, "vars": {"tone": "calm"}}}


@tries(1300)
@given(st.sampled_from(["job.yaml", "job.yaml", *SHIPPED]), CHANGES)
def test_changed_spec_is_a_spec_or_errors_with_lines(
    project: Path, name: str, changes: list[tuple[str, int, int, str, str]]
) -> None:
    path = project / "changed.yaml"
    path.write_bytes(written(changed(tree(documents()[name]), changes)).encode())
    load_and_check(path)


@tries(900)
@given(st.sampled_from(SHIPPED), EDITS)
def test_damaged_spec_is_a_spec_or_errors_with_lines(
    project: Path, name: str, edits: list[tuple[str, int, int, bytes]]
) -> None:
    path = project / "damaged.yaml"
    path.write_bytes(edited((ROOT / "specs" / name).read_bytes(), edits))
    load_and_check(path)


CSV = (
    b'id,subject,body\r\nt1,Late,"Where is it?\r\nIt is late."\r\n'
    b't2,"a ""b""",\r\n\r\nt3,\xc3\xa9t\xc3\xa9,"x,y"\r\n'
    b't4,"","\n"\r\n'
)


def rows_before_mistake(root: Path, name: str, data: bytes, **options: Any) -> tuple[list[Row], int | None]:
    """The rows of a file up to its first mistake, and the line of the mistake; 0 if it is that there is no row."""
    (root / name).write_bytes(data)
    found: list[Row] = []
    try:
        for row in read_rows(Source(Path(name).suffix[1:], None, {"path": name, **options}), Inputs(root)):
            found.append(row)
    except InputError as error:
        [problem] = error.problems
        assert problem.path == name and problem.message
        assert problem.line > 0 or "no rows" in problem.message or "the file is empty" in problem.message
        return found, problem.line
    return found, None


def count_lines(data: bytes) -> int:
    return len(data.decode("utf-8", "replace").splitlines()) + 1


def assert_rows_are_the_records(data: bytes, rows: list[Row], mistake: int | None) -> None:
    """What was read is what the csv module alone reads, with nothing between two rows left out."""
    if mistake is not None:
        assert mistake <= count_lines(data)
    text = data.decode("utf-8-sig", "strict" if mistake is None else "replace")
    records = csv.reader(io.StringIO(text, newline=""), strict=mistake is None)
    header = next(records, [])
    expected = [dict(zip(header, cells, strict=False)) for cells in records if cells]
    if mistake is None:
        assert len(expected) == len(rows)
    assert [row.fields for row in rows] == expected[: len(rows)]
    assert all(len(row.fields) == len(header) for row in rows)


@tries(500)
@given(st.binary(max_size=60) | st.text('a,"\r\n\0\ufeff;é', max_size=30).map(str.encode))
@example(b"a\n\xff")
@example(b"a\rb\r\xff")
def test_any_bytes_are_csv_records_or_an_error_with_a_line(project: Path, data: bytes) -> None:
    assert_rows_are_the_records(data, *rows_before_mistake(project, "bytes.csv", data))


@tries(1000)
@given(EDITS)
def test_damaged_csv_gives_every_record_before_the_error(
    project: Path, edits: list[tuple[str, int, int, bytes]]
) -> None:
    data = edited(CSV, edits)
    assert_rows_are_the_records(data, *rows_before_mistake(project, "damaged.csv", data))


ENCODINGS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-be",
    "utf-32",
    "latin-1",
    "cp1252",
    "cp037",
    "shift_jis",
    "utf-7",
]


@tries(400)
@given(
    st.sampled_from(ENCODINGS),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.text(st.characters(codec="ascii", exclude_characters='"\0\r\n,'), max_size=9), max_size=6),
    st.binary(max_size=20),
)
@example("utf-16-be", "\n", ["ab", "c"], b"\x0a\x05\xdc\x00")
@example("utf-8", "\r", ["ab", "c"], b"\xff")
def test_csv_in_another_encoding_gives_rows_before_a_bad_byte(
    project: Path, encoding: str, end: str, cells: list[str], tail: bytes
) -> None:
    lines = ["column", "x", *(f"x{cell}" for cell in cells)]
    data = "".join(line + end for line in lines).encode(encoding) + tail
    rows, mistake = rows_before_mistake(project, "encoded.csv", data, encoding=encoding)
    read = ["column", *(row.fields["column"] for row in rows)]
    if mistake is None:
        assert read[: len(lines) - 1] == lines[:-1]
    else:
        assert mistake >= len(lines)
        assert read == lines[: len(read)]


CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@tries(500)
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.tuples(
            st.lists(CELL.filter(str.strip), min_size=width, max_size=width, unique=True),
            st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=6),
        )
    ),
    st.sampled_from([",", ";", "\t", "|", " ", "é", "\U0001f600", "x"]),
    st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be", "utf-7"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.booleans(),
)
def test_output_of_the_csv_module_is_read_back(
    project: Path,
    table: tuple[list[str], list[list[str]]],
    delimiter: str,
    end: str,
    encoding: str,
    quoting: Any,
    is_packed: bool,
) -> None:
    header, records = table
    text = io.StringIO(newline="")
    # Told CR LF, the csv module quotes both in a field; the end of a record is put in its place afterwards.
    for record in (header, *records):
        line = io.StringIO(newline="")
        csv.writer(line, delimiter=delimiter, quoting=quoting).writerow(record)
        text.write(line.getvalue().removesuffix("\r\n") + end)
    data = text.getvalue().encode(encoding)
    name = "table.csv.gz" if is_packed else "table.csv"
    (project / name).write_bytes(gzip.compress(data, 1) if is_packed else data)
    source = Source("csv", None, {"path": name, "delimiter": delimiter, "encoding": encoding})
    found = list(read_rows(source, Inputs(project)))
    assert [list(row.fields.items()) for row in found] == [
        list(zip(header, record, strict=True)) for record in records
    ]


JSONL = (
    b'\xef\xbb\xbf{"id": 1, "text": "caf\xc3\xa9 \\ud83d\\ude00", "n": [1.5, -2e3, null, true]}\n\n'
    b'{"id": "b", "big": 123456789012345678901234567890, "of": {"a": {"b": []}}}\r\n   \n'
    b'{"id": "c", "text": "\xe2\x80\xa8 \\u2028"}\n{}'
)


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def is_object(line: bytes) -> bool:
    try:
        value = json.loads(line.decode(), parse_constant=refuse_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def assert_rows_are_the_lines(data: bytes, rows: list[Row], mistake: int | None) -> None:
    """Each line that is not blank is a row, up to the one that is named as a mistake."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    wanted = {number: line for number, line in enumerate(lines, 1) if line.strip()}
    last = len(lines) + 1 if mistake in (None, 0) else mistake
    assert [row.line for row in rows] == [number for number in wanted if number < last]
    for row in rows:
        assert repr(json.loads(wanted[row.line].decode())) == repr(row.fields)
    if mistake:
        assert not is_object(wanted[mistake])


@tries(500)
@given(
    st.binary(max_size=40)
    | st.lists(
        st.sampled_from(
            ["{", "}", "[", "]", '"a"', ":", ",", "1", "-", "1.", "1e999", "NaN", "Infinity", "null", "\n", "\r\n",
             " ", '"\\ud800"', '"\\udc00\\ud800"', '"\\', "\t", "\ufeff", "[" * 3000, '{"a":' * 3000, "9" * 5000,
             '{"a":1}', '{"":{}}', '{"a":"\\u0000"}', "\x0b", "\x0c", "\u2028", "true", '{"a": 1e-400}',
             '{"a": 0.1e1}', "{}"]
        ),
        max_size=8,
    ).map(lambda parts: "".join(parts).encode())
)  # fmt: skip
@example(b'{"a":1}\n{"a":' + b"[" * 100_000)
@example(b'{"a": ' + b"9" * 5000 + b"}")
def test_any_bytes_are_json_rows_or_an_error_with_a_line(project: Path, data: bytes) -> None:
    assert_rows_are_the_lines(data, *rows_before_mistake(project, "bytes.jsonl", data))


@tries(1000)
@given(EDITS)
def test_damaged_jsonl_gives_every_line_before_the_error(
    project: Path, edits: list[tuple[str, int, int, bytes]]
) -> None:
    data = edited(JSONL, edits)
    assert_rows_are_the_lines(data, *rows_before_mistake(project, "damaged.jsonl", data))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**60), 10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | SHORT_TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(SHORT_TEXT, values, max_size=3),
    max_leaves=8,
)


@tries(400)
@given(
    st.lists(st.dictionaries(SHORT_TEXT, JSON, max_size=4), min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \t\r\n"]),
    st.booleans(),
)
def test_json_lines_are_read_back(
    project: Path, values: list[dict[str, Any]], ascii: bool, end: bytes, is_marked: bool
) -> None:
    data = end.join(json.dumps(value, ensure_ascii=ascii).encode() for value in values)
    rows, mistake = rows_before_mistake(project, "values.jsonl", b"\xef\xbb\xbf" * is_marked + data)
    assert mistake is None
    assert [repr(row.fields) for row in rows] == [repr(value) for value in values]


KINDS = ("succeeded", "errored", "overloaded", "invalid", "truncated", "refused", "canceled", "expired")
CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}
CHECK = OutputFormat(make_validator(SCHEMA))


@cache
def results() -> list[bytes]:
    """Lines as the simulator gives them, of each kind with a schema and without, and one with a call of a tool."""
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    params: dict[str, Any] = {
        "model": "m",
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
    """Whether a line of results, parsed, is a plain success: said once more, without the code under test."""
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
    """The outcome of a line, or None if it is none at all; what it says holds together."""
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
        prefix="run-1-1-",
        expected=set(expected),
        retry_on=("errored",),
        output_format=CHECK if has_schema else OutputFormat(),
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


PIECES = st.lists(
    st.sampled_from(
        ["{{ ", " }}", "{% ", " %}", "{# ", " #}", "{{ text }}", "{{ row.id }}", "{% if text %}", "{% else %}",
         "{% endif %}", "{% for c in text %}", "{% endfor %}", "{{ c }}", "{% set x = text %}",
         "{% macro m(a, b=1) %}", "{% endmacro %}", "{{ m(1) }}", "{% block b %}", "{% endblock %}", "{% raw %}",
         "{% endraw %}", "{% with %}", "{% endwith %}", "{% include 'shared/absent_values.j2' %}",
         "{% extends 'shared/macros.j2' %}", "{% from 'shared/macros.j2' import block %}",
         "{% import 'shared/macros.j2' as s %}", "{{ s.block }}", "{{ block('a', text) }}", "{% call m() %}",
         "{% endcall %}", "{% filter upper %}", "{% endfilter %}", "{% autoescape true %}", "{% endautoescape %}",
         "{{ super() }}", "{{ self.b() }}", "{{ loop.index }}", "{{ caller() }}", "{% include x %}",
         "{% include 'no.j2' %}", "{% include '../x' %}", "\n", "\r", "-", "+"]
    )
    | st.sampled_from(
        ["text", "row", "id", "x", " | upper", " | tojson", " | truncate(-1)", " | join(',')", " | list",
         " | map('int')", " | sort", " | sum", " | first", " | default('')", " | batch(0)", " | slice(0)",
         " | round(1, 'up')", " | safe", " | wordwrap(0)", " | items", " | attr('x')", " | format(1, a=1)",
         " | int(base=1)", " | dictsort(true)", "(", ")", "[", "]", "{", "}", ".", ",", ":", "~", "/", "//", "%",
         "==", "<", " is defined", " is in ", " in ", " if ", " else ", " and ", " not ", "1", "0", "1.5", "'a'",
         '"', "'", "\\", "none", "true", "[1, 'a']", "{'a': 1}", "f(a=1, a=2)", "dict(a=1)", "range(3)",
         "namespace(a=1)", "=", "x = 1", "٣", "٣.٣", "ª", "__class__", ".a.b", "[0]", "[-1]", "[::0]", "(x, y)",
         "'%d'", "'{}'.format", "[" * 150, "not " * 250, "_", "self", "loop", "\ud800"]
    )
    | SHORT_TEXT,
    max_size=7,
).map(lambda parts: "".join(parts).replace("*", ""))  # fmt: skip


@cache
def job(root: Path) -> Spec:
    (root / "job.yaml").write_text(json.dumps({**SPEC, "vars": {"tone": "calm"}}))
    return load_spec(root / "job.yaml")


def render(spec: Spec) -> bytes | None:
    """The params of one row, or None if something is wrong with the templates."""
    try:
        templates = load_templates(spec)
        if problems := templates.check_variables(["id", "text"]):
            raise InputError(problems)
        encode = make_request_encoder(templates)
        names = templates.variables({"id": "r1", "text": "one"})
        first = encode(names).params
        assert encode(names).params == first
    except InputError as error:
        assert_clear(error, spec.path)
        assert all(str(problem.path) == str(spec.path) or problem.line for problem in error.problems)
        return None
    return first


@tries(900)
@given(PIECES)
def test_any_template_renders_or_gives_an_error_with_a_line(project: Path, text: str) -> None:
    params = render(replace(job(project), prompt=Prompt(user=text or " ")))
    if params is not None:
        assert msgspec.json.decode(params)["messages"][0]["content"].strip()


@cache
def shipped(root: Path, name: str) -> Spec:
    return load_spec(root / "specs" / f"{name}.yaml")


@tries(300)
@given(
    st.sampled_from(sorted(str(path.relative_to(ROOT / "prompts")) for path in (ROOT / "prompts").rglob("*.j2"))),
    EDITS,
)
def test_damaged_template_renders_or_gives_an_error(
    project: Path, name: str, edits: list[tuple[str, int, int, bytes]]
) -> None:
    data = (ROOT / "prompts" / name).read_bytes()
    try:
        (project / "prompts" / name).write_bytes(edited(data, edits))
        folder = name.partition("/")[0]
        validate_spec(shipped(project, "invoices" if folder == "shared" else folder))
    except InputError as error:
        assert_clear(error, project / "prompts" / name)
    finally:
        (project / "prompts" / name).write_bytes(data)


RECORDS: list[dict[str, Any]] = [
    {
        "key": "r1",
        "row": {"id": "r1", "text": "one"},
        "outcome": "succeeded",
        "output": {"label": "good", "score": 1, "lines": [{"n": 1}, {"n": 2.5}], "items": None},
        "error": None,
        "usage": {"input_tokens": 3},
        "stop_reason": "end_turn",
        "model": "m",
        "custom_id": "run-1-1-1",
        "batch_id": "msgbatch_1",
    },
    dict.fromkeys(RECORD_FIELDS),
]
EXPRESSIONS = st.lists(
    st.sampled_from(
        [*RECORD_FIELDS, "output.lines", "output.lines[0].n", "row.text", "output.items", "['score']", "['a', 1]"]
    )
    | PIECES,
    min_size=1,
    max_size=3,
).map("".join)


@tries(1000)
@given(EXPRESSIONS)
@example("key(a=1, a=2)")
@example("key | truncate(-1)")
@example("1٣.5")
def test_any_text_evaluates_or_is_not_an_expression(text: str) -> None:
    try:
        evaluate = compile_expression(text)
    except ValueError as error:
        assert str(error)
        return
    for record in RECORDS:
        for write in (SINKS["csv"], SINKS["jsonl"]):
            assert_written_or_refused(partial(evaluate, record), write)


def assert_written_or_refused(value: Callable[[], Any], write: Callable[..., Any]) -> None:
    """A value goes into a file, or is refused as a sink expects it."""
    try:
        with TemporaryDirectory(dir=MEMORY) as folder, write(Destination(Path(folder) / "out"), ["a"]) as put:
            put([value()])
    except (ValueError, TypeError, RecursionError) as error:
        assert str(error)


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
        msgspec.json.encode(spec.to_record())


@tries(250)
@given(st.lists(st.text(max_size=5) | st.text("tone=\udcff-", max_size=8), min_size=1, max_size=2))
def test_any_var_argument_is_accepted_or_rejected(project: Path, words: list[str]) -> None:
    path = project / "words.yaml"
    path.write_text(json.dumps({**SPEC, "vars": {"tone": "calm"}}))
    arguments = ["validate", str(path), *(f"--var={word}" for word in words)]
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code in (0, 2), ended.exception
    assert isinstance(ended.exception, SystemExit | None)


def test_at_least_ten_thousand_inputs_are_tried() -> None:
    assert sum(tried_counts) >= INPUTS
