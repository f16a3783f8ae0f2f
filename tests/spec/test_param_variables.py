"""`{{ name }}` in params is a value of `vars`, filled in when the spec is loaded."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner import load_spec
from runner.errors import InputError
from runner.spec.record import compute_fingerprint, make_record
from runner.spec.spec import Spec
from tests.support.projects import SPEC

PARAMS = {"model": "{{ model }}", "max_tokens": 100}


def loaded(root: Path, params: dict[str, Any], override: dict[str, str] | None = None, **vars: Any) -> Spec:
    """The spec with these params and variables."""
    path = root / "job.yaml"
    path.write_text(json.dumps({**SPEC, "params": params, "vars": vars}, indent=1))
    return load_spec(path, vars=override)


def test_variable_in_params_can_be_overridden(tmp_path: Path) -> None:
    assert loaded(tmp_path, PARAMS, model="claude-haiku-5-5").params["model"] == "claude-haiku-5-5"
    given = loaded(tmp_path, PARAMS, {"model": "claude-opus-5-5"}, model="claude-haiku-5-5")
    assert given.params == {"model": "claude-opus-5-5", "max_tokens": 100}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ n }}", 7),
        ("{{ on }}", True),
        ("{{ list }}", ["a"]),
        ("{{ deep.er }}", "x"),
        ("id-{{ n }}-{{ deep.er }}", "id-7-x"),
        ("{{n}}{{ on }}", "7true"),
        ("{{ '}}' }}", "}}"),
        ("{{ '{{' }} n }}", "{{ n }}"),
        ('{{ "{%" }}', "{%"),
        ("} {n} %}", "} {n} %}"),
    ],
)
def test_reference_in_params_has_the_value(tmp_path: Path, text: str, expected: Any) -> None:
    params = {**SPEC["params"], "metadata": {"user_id": [text]}}
    found = loaded(tmp_path, params, n=7, on=True, list=["a"], deep={"er": "x"})
    assert found.params["metadata"] == {"user_id": [expected]}


def test_number_from_the_command_line_stays_a_number(tmp_path: Path) -> None:
    params = {"model": "m", "max_tokens": "{{ n }}"}
    assert loaded(tmp_path, params, {"n": "300"}, n=100).params["max_tokens"] == 300
    with pytest.raises(
        InputError, match=r"job\.yaml:\d+:\d+: params.max_tokens must be a whole number, not the text 'many'"
    ):
        loaded(tmp_path, params, {"n": "many"}, n=100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{{ modl }}",
            "'modl' is not under `vars`, and params cannot use the fields of a row: did you mean 'model'?",
        ),
        ("{{ text }}", "'text' is not under `vars`, and params cannot use the fields of a row"),
        ("x {{ row.text }}", "'row' is not under `vars`, and params cannot use the fields of a row"),
        ("{{ model.x }}", "'x' is not under `vars`"),
        ("{{ model|upper }}", "{{ model|upper }} cannot be used in params: only {{ name }}"),
        ("{{ model", "{{ cannot be used in params"),
        ("{% if model %}x{% endif %}", "write {{ '{%' }}"),
        ("x{{ list }}", "{{ list }} is not a text or number"),
    ],
)
def test_invalid_reference_in_params_has_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, {**SPEC["params"], "metadata": {"user_id": text}}, model="m", list=[1])
    (problem,) = caught.value.problems
    lines = (tmp_path / "job.yaml").read_text().splitlines()
    assert "user_id" in lines[problem.line - 1] and problem.message.startswith("params.metadata.user_id: ")
    assert message in problem.message


@pytest.mark.parametrize("name", ["{{ model }}", "a {{ b }}", "{% if model %}"])
def test_name_in_params_with_a_reference_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, {**SPEC["params"], "tools": [{"input_schema": {name: {"type": "string"}}}]}, model="m")
    (problem,) = caught.value.problems
    assert problem.message == (
        f"params.tools.0.input_schema: the name {name!r} cannot have variables: only values can"
    )
    assert name in (tmp_path / "job.yaml").read_text().splitlines()[problem.line - 1]


def test_line_inside_a_block_text_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    body = "\n".join(f"{name}: {json.dumps(value)}" for name, value in SPEC.items() if name != "params")
    params = "params:\n  model: m\n  max_tokens: 9\n  note: |\n    one\n    {{ two }}\n"
    path.write_text(f"{params}{body}\n")
    with pytest.raises(InputError) as caught:
        load_spec(path)
    assert caught.value.problems[0].line == 6


def test_params_without_braces_give_the_same_snapshot(tmp_path: Path) -> None:
    plain = loaded(tmp_path, {"model": "m", "max_tokens": 9}, model="m")
    filled = loaded(tmp_path, {**PARAMS, "max_tokens": 9}, model="m")
    assert compute_fingerprint(make_record(plain)) == compute_fingerprint(make_record(filled))
