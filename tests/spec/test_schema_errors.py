"""Every mistake in a spec file is reported with its place and a remedy."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InputError
from runner.spec.load import load_spec
from runner.spec.schema_errors import suggest_similar
from tests.support import DATA
from tests.support.projects import MINIMAL_SPEC, SPEC_SCHEMA, load_lines, load_problems

BAD = sorted((DATA / "specs").glob("*.yaml"))


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
    messages = {path.stem for path in (DATA / "specs").glob("*.txt")}
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
    found, *others = load_problems(project, f"{key[0]}{key[2:]}: {lines.get(key, '{}')}", base=text)
    assert not any("the spec needs the key" in other.message for other in others)
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


@pytest.mark.parametrize(
    "line", ["sinks: out/x.csv", "source: rows.csv", "prompt: Label it", "output: {checks: x}"]
)
def test_a_part_given_as_text_is_shown_in_its_right_form(project: Path, line: str) -> None:
    key = line.partition(":")[0]
    others = [one for one in MINIMAL_SPEC.splitlines(keepends=True) if not one.startswith(f"{key}:")]
    found = load_problems(project, line, base="".join(others))
    name = "checks" if key == "output" else key
    [message] = [one.message for one in found if "write it like" in one.message]
    assert f": write it like `{name}: " in message
