"""Random inputs, and the checks that hold for all of them."""

import os
from pathlib import Path
from typing import Any, NoReturn

from hypothesis import settings
from hypothesis import strategies as st

from runner.errors import InputError
from runner.sources.input_files import Inputs
from runner.sources.read import Row, read_rows
from runner.spec.spec import Source


def tries(count: int) -> settings:
    """Settings of a test that draws `count` inputs, always the same ones; only a share of them by default."""
    share = float(os.environ.get("FUZZ_SHARE", "0.4"))
    return settings(max_examples=max(1, round(count * share)), deadline=None, derandomize=True)


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


def assert_clear(error: InputError, path: Path | None = None) -> None:
    """Each problem says where it is and what it is; one in the file `path` also says the line."""
    assert error.problems
    for problem in error.problems:
        assert problem.path and problem.message and "\n" not in problem.path
        assert problem.line >= 0 and problem.column >= 0
        if path is not None and problem.path == str(path):
            assert 1 <= problem.line <= count_lines(path.read_bytes())


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
        whole = (
            "no rows",
            "the file is empty",
            "add .",
            "unpack it",
            "use `type:",
            "byte order mark",
            "an empty zip",
        )
        assert problem.line > 0 or any(words in problem.message for words in whole)
        return found, problem.line
    return found, None


def count_lines(data: bytes) -> int:
    return len(data.decode("utf-8", "replace").splitlines()) + 1


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


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
NESTED: Any = 1
for _ in range(3000):
    NESTED = [NESTED]
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CELL_VALUES = st.none() | st.booleans() | st.integers() | TEXT | st.lists(st.integers(), max_size=3)
CELL_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
TABLES = st.lists(st.tuples(CELL_TEXTS, CELL_TEXTS), min_size=1, max_size=8)
ROW_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | CELL_TEXTS,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(CELL_TEXTS, v, max_size=3),
    max_leaves=6,
)
