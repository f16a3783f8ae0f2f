"""Functions of other packages whose settings cannot be read are refused, with the way to write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

from runner.io_types.settings import check_parameters, read_settings
from tests.support.processes import PLUGIN_SPEC, install_module, run_with

SPEC = PLUGIN_SPEC.replace("type: lines", "type: csv").replace('separator: "|", ', "")
AT = "job.yaml:3:16: the settings of the entry point numbers = mine:entry in runner.sources of the package mine"


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ('"str |"', "cannot be read: SyntaxError: Forward reference must be an expression"),
        ('"typing.Nowhere"', "cannot be read: AttributeError: module 'typing' has no attribute 'Nowhere'"),
        ('"nowhere.Thing"', "cannot be read: NameError: name 'nowhere' is not defined"),
        ("complex", "cannot be read: count: <class 'complex'> is not the type of a setting: use str, int"),
        ('typing.Annotated[int, "text"]', "cannot be read: count: cannot use the metadata 'text' of Annotated: "),
        ('typing.Annotated[int, keywords(minimum="a")]', "cannot be read: not a valid JSON schema: at properties"),
        ('typing.Annotated[str, keywords(pattern="[")]', "cannot be read: not a valid JSON schema: at properties"),
    ],
)
def test_unusable_annotation_names_the_entry_point(tmp_path: Path, annotation: str, expected: str) -> None:
    code = f"import typing\nfrom runner.plugins import keywords\ndef entry(inputs, *, count: {annotation}): ...\n"
    target = install_module(tmp_path / "installed", "runner.sources", "numbers", code)
    done = run_with(target, tmp_path, SPEC, "validate", "job.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{AT} {expected}")


@pytest.mark.parametrize("annotation", ['"str |"', 'Annotated[str, keywords(pattern="[")]'])
def test_schema_for_editors_leaves_out_unusable_types(tmp_path: Path, annotation: str) -> None:
    imports = "from typing import Annotated\nfrom runner.plugins import keywords\n"
    code = f"{imports}def entry(inputs, *, a: {annotation}): ...\n"
    target = install_module(tmp_path / "installed", "runner.sources", "numbers", code)
    done = run_with(target, tmp_path, SPEC, "schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"numbers"' not in done.stdout


def test_default_that_json_cannot_express_is_refused() -> None:
    def read(inputs: Any, *, folder: str = Path("a")) -> None: ...  # type: ignore[assignment]

    with pytest.raises(ValueError, match=r"^folder: the default PosixPath\('a'\) is not a JSON value$"):
        read_settings(read)


@pytest.mark.parametrize("metadata", ["text", ("text",), 3, None])
def test_metadata_other_than_keywords_are_refused(metadata: Any) -> None:
    def read(inputs: Any, *, name: Any) -> None: ...

    read.__annotations__["name"] = Annotated[str, metadata]
    with pytest.raises(ValueError, match=r"^name: cannot use the metadata .*: write keywords\(\.\.\.\) instead$"):
        read_settings(read)


def _take_inputs(inputs: Any) -> None: ...


def _take_settings(inputs: Any, *, count: int) -> None: ...


def _forget_star(inputs: Any, count: int, size: int = 3, *, kind: str = "") -> None: ...


def _take_any(*inputs: Any, count: int) -> None: ...


def _take_nothing(*, count: int) -> None: ...


@pytest.mark.parametrize("function", [_take_inputs, _take_settings, _take_any])
def test_settings_are_keyword_only_parameters(function: Callable[..., Any]) -> None:
    check_parameters(function, "inputs")


def test_parameter_without_star_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`count` is not a setting, .*: .* \(inputs, \*, count, size, kind\)$"):
        check_parameters(_forget_star, "inputs")


def test_function_without_positional_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must take inputs by position: .* \(inputs, \*, count\)$"):
        check_parameters(_take_nothing, "inputs")


@pytest.mark.parametrize(
    ("section", "code", "expected"),
    [
        ("sources", "def entry(inputs, count): ...", "(inputs, *, count)"),
        ("sinks", "def entry(destination, columns, sep=' '): ...", "(destination, columns, *, sep)"),
    ],
)
def test_source_and_sink_without_star_are_refused(tmp_path: Path, section: str, code: str, expected: str) -> None:
    name = "numbers" if section == "sources" else "lines"
    target = install_module(tmp_path / "installed", f"runner.{section}", name, f"{code}\n")
    text = PLUGIN_SPEC if section == "sinks" else SPEC
    done = run_with(target, tmp_path, text, "validate", "job.yaml")
    assert done.returncode == 2
    assert f"is not a setting, because it is not keyword-only: write its parameters as {expected}" in done.stderr
