"""The reference is complete, short and true."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner

from runner import errors
from runner.cli import main
from runner.reference.examples import load_examples, parse_example
from runner.reference.spec_schema import build_schema
from runner.reference.tables import MAX_WORDS, split_description
from runner.results.outcome_names import OUTCOMES
from runner.rules.run import RULES
from runner.simulator.fault_list import FAULTS
from runner.spec.schema_errors import check_document
from runner.spec.yaml.document import parse_yaml

PATH = Path(__file__).parent.parent.parent / "specs" / "REFERENCE.md"
REFERENCE = PATH.read_text("utf-8")
EXAMPLES = load_examples()
MINIMAL: dict[str, Any] = {
    "version": 1,
    "name": "job",
    "source": {"type": "csv", "path": "rows.csv"},
    "prompt": {"user": "hi"},
    "params": {"model": "claude-haiku-5-5", "max_tokens": 5},
    "sinks": [{"type": "jsonl", "path": "out.jsonl"}],
}


def section(title: str) -> str:
    """The text of one chapter of the reference."""
    return REFERENCE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_committed_reference_is_the_printed_one() -> None:
    # `runner reference --update` writes it.
    printed = CliRunner().invoke(main, ["reference"])
    assert printed.exit_code == 0
    assert printed.stdout == REFERENCE


def test_update_writes_reference_and_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runner/spec", "specs"):
        (tmp_path / name).mkdir(parents=True)
    assert CliRunner().invoke(main, ["reference", "--update"]).exit_code == 0
    assert (tmp_path / "specs" / "REFERENCE.md").read_text("utf-8") == REFERENCE
    assert msgspec.json.decode((tmp_path / "runner" / "spec" / "schema.json").read_bytes()) == build_schema()


def test_no_cell_has_too_many_words() -> None:
    rows = [line for line in REFERENCE.splitlines() if line.startswith("| ")]
    cells = [cell for row in rows for cell in re.split(r"(?<!\\)\|", row)]
    assert [cell for cell in cells if len(cell.split()) > MAX_WORDS] == []


def test_every_key_has_a_section_and_an_example() -> None:
    keys = list(build_schema()["properties"])
    assert re.findall(r"### `(\w+)`", section("Spec")) == keys
    assert set(EXAMPLES) == set(keys)


def test_settings_of_the_items_of_a_list_are_listed() -> None:
    for name in ("name", "expected", "actual", "match", "within", "min_accuracy"):
        assert f"| `evaluate[].{name}` |" in section("Spec")


@pytest.mark.parametrize("key", EXAMPLES)
def test_example_is_valid_and_short(key: str) -> None:
    example = parse_example(EXAMPLES[key])
    document = parse_yaml(msgspec.json.encode({**MINIMAL, **example}), path="example")
    check_document(document, path="example")
    assert key in example
    assert 5 <= EXAMPLES[key].count("\n") <= 10


def test_examples_and_defaults_in_the_schema_are_valid() -> None:
    def check(schema: Any) -> int:
        parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
        found = sum(map(check, parts))
        if isinstance(schema, dict) and isinstance(schema.get("examples"), list):
            own = {**schema, "$defs": build["$defs"]}
            for value in (*schema["examples"], *((schema["default"],) if "default" in schema else ())):
                jsonschema.Draft202012Validator(own).validate(value)
                found += 1
        return found

    build = build_schema()
    assert check(build) > 40


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Commands", [f"runner {name} " for name in main.commands]),
        ("Outcomes", OUTCOMES),
        ("Rules", RULES),
        ("Faults of the simulator", FAULTS),
    ],
)
def test_chapter_lists_every_name(title: str, names: Any) -> None:
    assert [name for name in names if f"`{name.rstrip()}" not in section(title)] == []


def test_every_exit_code_of_an_error_is_listed() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    rows = [
        f"| `{kind.exit_code}` | `{kind.__name__}` |" for kind in kinds if issubclass(kind, errors.RunnerError)
    ]
    assert len(rows) > 10
    assert [row for row in rows if row not in section("Exit codes")] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two. Default: three.", ("One. Two.", "three", "")),
        ("Mode. batch: cheap. sync: fast. Default: batch.", ("Mode.", "batch", "batch: cheap. sync: fast.")),
        (f"{'word ' * 19}end. More.", (f"{'word ' * 19}end.", "", "More.")),
    ],
)
def test_description_is_split_at_sentences(text: str, expected: tuple[str, str, str]) -> None:
    assert split_description(text) == expected
