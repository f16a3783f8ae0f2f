"""The text of a row depends on the templates, the variables and the row, and on no other row."""

import re
from pathlib import Path

import pytest

from runner.errors import InputError
from tests.support.prompts import render_user_prompt, write_templates


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


@pytest.mark.parametrize(
    "expression", ["row.keys() - ['b', 'e']", "['c', 'b', 'a', 'e', 'd'] - {'b': 1, 'e': 2}.keys()"]
)
def test_keys_without_some_of_them_keep_their_order(tmp_path: Path, expression: str) -> None:
    found = write_templates(tmp_path, f"{{{{ ({expression})|join(' ') }}}}")
    assert render_user_prompt(found, c=1, b=2, a=3, e=4, d=5) == "c a d"


@pytest.mark.parametrize(
    "expression",
    ["'' ~ g", "g|string", "'%s' % g", "'%s'|format(g)", "'{}'.format(g)", "[g]|join", "g|upper", "g|trim",
     "g|replace('a', 'b')", "'a'|replace('a', g)", "[[g]]|string", "g|pprint", "g|escape", "g|urlencode",
     "g|center", "{'a': g}.values()|string", "{'a': g}.items()|string"],
)  # fmt: skip
def test_address_in_memory_never_becomes_text(tmp_path: Path, expression: str) -> None:
    with pytest.raises(InputError, match=re.escape("which is not plain data: add |list")):
        render_user_prompt(
            write_templates(tmp_path, f"{{% set g = a|map('upper') %}}{{{{ {expression} }}}}"), a=["x"]
        )


def test_namespace_never_becomes_text(tmp_path: Path) -> None:
    template = "{% set found = namespace(values=a|map('upper')) %}{{ found ~ '' }}"
    with pytest.raises(InputError, match="cannot print a Namespace, which is not plain data"):
        render_user_prompt(write_templates(tmp_path, template), a=["x"])
