"""A type of source is one function: built in, or from another package."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
import yaml

from runner.io_types.annotations import keywords
from runner.io_types.settings import read_settings
from runner.io_types.types import SourceType
from runner.sources.registry import SOURCES, find_source_type
from tests.support.processes import PLUGIN_SPEC, install_example, register, run_with


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_example(tmp_path_factory.mktemp("installed"))


def read_example(
    inputs: Any,
    *,
    kind: Literal["a", "b"],
    size: Annotated[int, keywords(minimum=1)] = 3,
    names: list[str] | None = None,
    ratio: float = 0.5,
    given: dict[str, bool] | None = None,
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read examples.

    Settings:
        kind: Kind of example, with a description that continues
            on the next line.
        names: Names. Default: all.
    """
    yield str(inputs), size, {"kind": kind, "names": names, "ratio": ratio, "given": given}


def test_settings_follow_from_signature_and_docstring() -> None:
    settings = read_settings(read_example)
    assert (settings.summary, settings.required) == ("Read examples.", ("kind",))
    assert settings.properties == {
        "kind": {
            "description": "Kind of example, with a description that continues on the next line.",
            "enum": ["a", "b"],
        },
        "size": {"description": "size", "type": "integer", "minimum": 1, "default": 3},
        "names": {"description": "Names. Default: all.", "type": "array", "items": {"type": "string"}},
        "ratio": {"description": "ratio", "type": "number", "default": 0.5},
        "given": {"description": "given", "type": "object", "additionalProperties": {"type": "boolean"}},
    }


@pytest.mark.parametrize("name", SOURCES)
def test_every_setting_of_a_source_is_described(name: str) -> None:
    settings = read_settings(find_source_type(name).function)
    assert settings.summary.endswith(".")
    assert [setting for setting, one in settings.properties.items() if one["description"] == setting] == []


def test_path_of_run_source_is_no_setting() -> None:
    assert list(read_settings(SOURCES["run"].function).properties) == ["spec", "rows", "variant"]


def test_setting_of_unsupported_type_is_rejected() -> None:
    def read(inputs: Any, *, when: complex) -> Iterator[Any]:
        yield inputs, when

    with pytest.raises(ValueError, match="complex'> is not the type of a setting"):
        read_settings(SourceType(read).function)


def test_job_with_types_of_installed_package_runs(installed: Path, tmp_path: Path) -> None:
    done = run_with(installed, tmp_path, PLUGIN_SPEC, "run", "job.yaml", "--simulate")
    assert done.returncode == 0, done.stderr
    assert (
        tmp_path / "simulated" / "out.txt"
    ).read_text() == "# n|outcome\n1|succeeded\n3|succeeded\n5|succeeded\n"


def test_settings_of_installed_type_are_checked(installed: Path, tmp_path: Path) -> None:
    text = PLUGIN_SPEC.replace("count: 5, parity: odd", "count: 0, party: odd")
    done = run_with(installed, tmp_path, text, "validate", "job.yaml")
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("job")] == [
        "job.yaml:3:32: source.count must be at least 1",
        "job.yaml:3:35: unknown key 'party' in source: did you mean 'parity'?",
    ]


def test_schema_for_editors_knows_installed_types(installed: Path, tmp_path: Path) -> None:
    done = run_with(installed, tmp_path, PLUGIN_SPEC, "schema")
    schema = json.loads(done.stdout)
    [numbers] = [one["then"] for one in schema["properties"]["source"]["allOf"] if "numbers" in str(one["if"])]
    assert (done.returncode, list(numbers["properties"])[:1], numbers["required"]) == (0, ["type"], ["count"])
    jsonschema.validate(yaml.safe_load(PLUGIN_SPEC), schema)


def test_misspelled_type_of_installed_package_is_suggested(installed: Path, tmp_path: Path) -> None:
    done = run_with(installed, tmp_path, PLUGIN_SPEC.replace("numbers", "numberz"), "validate", "job.yaml")
    assert (
        done.stderr.splitlines()[0] == "job.yaml:3:16: source.type is the text 'numberz': did you mean 'numbers'?"
    )


def test_type_of_removed_package_is_unknown(installed: Path, tmp_path: Path) -> None:
    assert run_with(installed, tmp_path, PLUGIN_SPEC, "run", "job.yaml", "--simulate").returncode == 0
    done = run_with(tmp_path, tmp_path, PLUGIN_SPEC, "run", "job.yaml", "--simulate")
    assert done.returncode == 2
    assert "source.type is the text 'numbers': expected one of: csv, files" in done.stderr


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("no_such_module:read", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:no_such_name", "cannot be imported: AttributeError: module 'json' has no attribute 'no_such_name'"),
        ("json:__doc__", "is neither a function nor a SourceType"),
    ],
)
def test_unusable_entry_point_is_named(tmp_path: Path, value: str, expected: str) -> None:
    target = register(tmp_path / "installed", "broken", "runner.sources", "numbers", value)
    text = PLUGIN_SPEC.replace("type: lines", "type: csv").replace('separator: "|", ', "")
    done = run_with(target, tmp_path, text, "validate", "job.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"job.yaml:3:16: the entry point numbers = {value} in runner.sources of the package broken {expected}"
    )


def test_name_of_built_in_type_is_refused(tmp_path: Path) -> None:
    target = register(tmp_path / "installed", "greedy", "runner.sources", "csv", "greedy:read")
    done = run_with(target, tmp_path, PLUGIN_SPEC, "validate", "job.yaml")
    assert (
        "the entry point csv = greedy:read in runner.sources of the package greedy has the name of a built-in type"
    ) in done.stderr


def test_installed_packages_are_not_searched_for_built_in_types(tmp_path: Path) -> None:
    target = register(tmp_path / "installed", "greedy", "runner.sources", "csv", "greedy:read")
    (tmp_path / "rows.csv").write_text("text\na\n")
    text = PLUGIN_SPEC.replace("{type: numbers, count: 5, parity: odd}", "{type: csv, path: rows.csv}")
    text = text.replace('type: lines, path: out.txt, separator: "|"', "type: csv, path: out.csv")
    done = run_with(target, tmp_path, text.replace("row.number", "key"), "validate", "job.yaml")
    assert (done.returncode, done.stdout) == (0, "job.yaml: valid\n")


def test_two_packages_with_one_name_are_refused(tmp_path: Path) -> None:
    target = register(tmp_path / "installed", "first", "runner.sources", "numbers", "first:read")
    register(target, "second", "runner.sources", "numbers", "second:read")
    done = run_with(target, tmp_path, PLUGIN_SPEC, "validate", "job.yaml")
    assert "have the same name: uninstall" in done.stderr
