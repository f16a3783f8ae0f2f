"""A type of sink is one function: built in, or from another package."""

from pathlib import Path

import pytest

from runner.errors import InputError
from runner.io_types.settings import read_settings
from runner.reference.spec_schema import build_schema, format_schema
from runner.sinks.registry import SINKS, column_expressions, find_sink_type
from runner.spec.schema_errors import schema_text
from runner.spec.spec import Sink
from tests.support.processes import PLUGIN_SPEC, register, run_with


def test_committed_schema_is_the_generated_one() -> None:
    # `runner reference --update` writes it.
    assert schema_text() == format_schema(build_schema())


@pytest.mark.parametrize("name", SINKS)
def test_every_setting_of_a_sink_is_described(name: str) -> None:
    settings = read_settings(find_sink_type(name).function)
    assert settings.summary.endswith(".")
    assert [setting for setting, one in settings.properties.items() if one["description"] == setting] == []


def test_unknown_sink_is_an_input_error() -> None:
    with pytest.raises(InputError, match="'smoke' is not built in, and no installed package has it"):
        find_sink_type("smoke")


def test_columns_of_files_sink_are_name_and_content() -> None:
    sink = Sink("files", "all", None, {"path": "out", "name": "key"})
    assert column_expressions(sink) == {"name": "key", "content": "output"}


def test_source_type_is_no_sink(tmp_path: Path) -> None:
    target = register(tmp_path / "installed", "mixed", "runner.sinks", "lines", "runner.sources.registry:SOURCES")
    text = PLUGIN_SPEC.replace("{type: numbers, count: 5, parity: odd}", "{type: csv, path: rows.csv}")
    done = run_with(target, tmp_path, text, "validate", "job.yaml")
    assert done.returncode == 2
    assert "of the package mixed is neither a function nor a SinkType" in done.stderr
