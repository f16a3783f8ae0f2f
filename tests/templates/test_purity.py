"""The text of a row depends on the templates, the variables and the row, and on no other row."""

import re
from pathlib import Path

import pytest
from jinja2 import StrictUndefined

from runner.errors import InputError
from runner.templates.module_state import find_stateful_templates
from runner.templates.sandbox import make_sandbox
from tests.proofs import purity
from tests.support.prompts import render_user_prompt, write_templates
from tests.support.stateful_templates import MODULES


@pytest.mark.slow
def test_rows_in_any_order_give_the_texts_of_each_alone(tmp_path: Path) -> None:
    assert purity.prove(tmp_path, 100) > 0


@pytest.mark.parametrize("name", sorted(MODULES))
def test_module_keeps_nothing_from_row_to_row(tmp_path: Path, name: str) -> None:
    found = write_templates(
        tmp_path, "x.j2", {**MODULES, "x.j2": f"{{% import '{name}' as m %}}{{{{ m.add(a) }}}}"}
    )
    render = found.make_renderer("prompt.user", "x.j2")
    first = render(found.variables({"a": "one."}))
    render(found.variables({"a": "two!"}))
    assert render(found.variables({"a": "one."})) == first


def test_only_templates_that_can_change_are_run_again() -> None:
    parse = make_sandbox({}, StrictUndefined).parse
    stateful = find_stateful_templates({name: parse(text) for name, text in MODULES.items()})
    assert sorted(set(MODULES) - set(stateful)) == ["plain.j2"]


def test_error_inside_autoescape_does_not_escape_the_next_row(tmp_path: Path) -> None:
    found = write_templates(tmp_path, "{% autoescape true %}{{ 1 / a }}{% endautoescape %}{{ '<' ~ a }}")
    user = str(found.spec.prompt.user)
    render = found.make_renderer("prompt.user", user)
    with pytest.raises(InputError, match="division"):
        render(found.variables({"a": 0}))
    assert render(found.variables({"a": 1})) == "1.0<1"


@pytest.mark.parametrize(
    "text",
    [
        "{% set _ = dict.update(v, {'x': a}) %}{{ v|tojson }}",
        "{% set _ = dict.setdefault(row, 'x', a) %}{{ row|tojson }}",
        "{{ dict.pop(row, 'a') }}",
        "{{ row.tags.append(a) }}",
        "{{ v.clear() }}",
    ],
)
def test_template_cannot_change_rows_and_variables(tmp_path: Path, text: str) -> None:
    found, row = write_templates(tmp_path, text, v={"k": 1}), {"a": "A", "tags": [1]}
    with pytest.raises(InputError):
        render_user_prompt(found, **row)
    assert (row, found.spec.vars) == ({"a": "A", "tags": [1]}, {"v": {"k": 1}})


def test_keys_without_some_of_them_keep_their_order(tmp_path: Path) -> None:
    found = write_templates(tmp_path, "{{ (row.keys() - ['b', 'e'])|join(' ') }}")
    assert render_user_prompt(found, c=1, b=2, a=3, e=4, d=5) == "c a d"


@pytest.mark.parametrize(
    "expression",
    ["'' ~ g", "g|string", "'%s' % g", "'%s'|format(g)", "'{}'.format(g)", "[g]|join", "g|upper", "g|trim",
     "g|replace('a', 'b')", "[[g]]|string", "g|pprint", "g|escape", "g|urlencode"],
)  # fmt: skip
def test_address_in_memory_never_becomes_text(tmp_path: Path, expression: str) -> None:
    with pytest.raises(InputError, match=re.escape("which is not plain data: add |list")):
        render_user_prompt(
            write_templates(tmp_path, f"{{% set g = a|map('upper') %}}{{{{ {expression} }}}}"), a=["x"]
        )
