"""Names in templates: columns, vars, globals, and unknown names."""

from pathlib import Path

import pytest

from tests.support.prompts import is_constant, line_of, render_user_prompt, write_templates


@pytest.mark.parametrize("name", ["items", "values", "keys", "copy", "get", "update"])
def test_column_named_like_a_dict_method_is_reached_through_row(tmp_path: Path, name: str) -> None:
    found = write_templates(tmp_path, f"{{{{ row.{name} }}}} {{{{ row['{name}'] }}}} {{{{ {name} }}}}")
    assert render_user_prompt(found, **{name: "X"}) == "X X X"
    assert found.check_variables([name]) == []


@pytest.mark.parametrize("name", ["range", "dict", "namespace"])
def test_column_shadows_a_global_of_the_same_name(tmp_path: Path, name: str) -> None:
    found = write_templates(tmp_path, f"{{{{ {name} }}}}")
    assert render_user_prompt(found, **{name: "X"}) == "X"
    assert found.check_variables([name]) == [] and not is_constant(found)


def test_column_called_row_is_reached_through_row(tmp_path: Path) -> None:
    found = write_templates(tmp_path, "{{ row['row'] }} {{ row|tojson }}")
    assert render_user_prompt(found, row="X") == 'X {"row": "X"}'
    assert found.check_variables(["row"]) == []


def test_column_called_self_is_reached_only_through_row(tmp_path: Path) -> None:
    found = write_templates(tmp_path, "{{ row['self'] }} {{ row.self }}")
    assert render_user_prompt(found, self="X") == "X X"
    assert found.check_variables(["self"]) == []


def test_bare_self_is_reported_when_it_is_a_column(tmp_path: Path) -> None:
    (problem,) = write_templates(tmp_path, "{{ self }}").check_variables(["a", "self"])
    assert "write row['self']" in problem.message


@pytest.mark.parametrize(
    ("files", "place", "message"),
    [
        (
            {"x.j2": "{{ vendor }}\n\n{{ vender }}"},
            "prompts/x.j2:3",
            "'vender' is undefined: did you mean 'vendor'?",
        ),
        ({"x.j2": "\n{{ row.vender }}"}, "prompts/x.j2:2", "'vender' is undefined: did you mean 'vendor'?"),
        (
            {"x.j2": "{% include 'y.j2' %}", "y.j2": "\n{{ zzz }}"},
            "prompts/y.j2:2",
            "'zzz' is undefined: expected one",
        ),
        ({"x.j2": "{% include 'y.txt' %}", "y.txt": "\n{{ zzz }}"}, "prompts/y.txt:2", "'zzz' is undefined"),
        ({"x.j2": "{{ row.items }}"}, "prompts/x.j2:1", "'items' is undefined"),
        ({"x.j2": "{{ loop.index }}"}, "prompts/x.j2:1", "'loop' is undefined"),
        ({"x.j2": "{{ vendor|default(zzz) }}"}, "prompts/x.j2:1", "'zzz' is undefined"),
    ],
    ids=["name", "field", "include", "include of any name", "method of a dict", "loop", "default of default"],
)
def test_unknown_names_are_reported_with_file_and_line(
    tmp_path: Path, files: dict[str, str], place: str, message: str
) -> None:
    problems = write_templates(tmp_path, "x.j2", files).check_variables(["vendor"])
    assert len(problems) == 1
    assert str(problems[0]).startswith(f"{place}: {message}")


def test_unknown_name_in_a_block_is_reported_at_its_place(tmp_path: Path) -> None:
    blocks = [{"type": "text", "text": "{{ a }}"}, {"type": "text", "text": "{{ zzz }}"}]
    (problem,) = write_templates(tmp_path, {"user": blocks}).check_variables(["a"])
    assert problem.line == line_of("zzz", tmp_path)
    assert problem.message.startswith("prompt.user.1.text: 'zzz' is undefined")


@pytest.mark.parametrize(
    "text",
    [
        "{% if b is defined %}{{ b }}{% endif %}",
        "{% if b is not defined %}none{% else %}{{ b }}{% endif %}",
        "{{ b|default('none') }}",
        "{{ b|d('none') }}",
        "{{ row.b|default('none') }}",
        "{% if row.b is defined %}{{ row.b }}{% endif %}",
        "{% set b = a %}{{ b }}",
        "{% for b in a %}{{ b }}{{ loop.index }}{% endfor %}",
        "{% macro f(b) %}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(a) }}",
        "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{{ a }}{% endcall %}",
        "{% with b = a %}{{ b }}{% endwith %}",
        "{{ range(2)|list }}{{ dict(x=1) }}{{ namespace(x=1).x }}",
        "{{ v }}{{ row.get('b') }}",
        "{% if 'b' in row %}{{ row.b }}{% endif %}{{ a }}",
    ],
)
def test_guarded_or_local_names_are_not_missing(tmp_path: Path, text: str) -> None:
    found = write_templates(tmp_path, text, v="V")
    assert found.check_variables(["a"]) == []
    assert isinstance(render_user_prompt(found, a="A"), str)


@pytest.mark.parametrize(
    "text",
    [
        "{% for row in a %}{{ row.x }}{% endfor %}",
        "{% macro f(row) %}{{ row.x }}{% endmacro %}{{ f(a[0]) }}",
        "{% set row = a[0] %}{{ row.x }}",
    ],
)
def test_template_can_rebind_the_name_row(tmp_path: Path, text: str) -> None:
    found = write_templates(tmp_path, text)
    assert found.check_variables(["a"]) == []
    assert render_user_prompt(found, a=[{"x": 1}]) == "1"


def test_guard_around_an_include_applies_inside_it(tmp_path: Path) -> None:
    guard = "{% if b is defined %}{% include 'y.j2' %}{% endif %}{{ a }}"
    found = write_templates(tmp_path, "x.j2", {"x.j2": guard, "y.j2": "{{ b }}"})
    assert found.check_variables(["a"]) == []
    assert render_user_prompt(found, a="A") == "A"


def test_var_with_a_column_name_is_reported(tmp_path: Path) -> None:
    (problem,) = write_templates(tmp_path, "{{ a }}", a="V").check_variables(["a"])
    assert "vars.a has the same name as a column" in problem.message
    assert problem.line == line_of('"a": "V"', tmp_path)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("row", "{{ row }}"),
        ("row", "{{ row|upper }}"),
        ("loop", "{% for one in [1] %}{{ loop }}{% endfor %}"),
        ("self", "{{ self }}"),
    ],
)
def test_column_that_means_something_else_is_an_error(tmp_path: Path, column: str, text: str) -> None:
    found = write_templates(tmp_path, f"\n{text}").check_variables([column])
    assert [str(one) for one in found] != [] and f"write row['{column}'] for the column" in found[0].message


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("row", "{{ row['row'] }}{{ row.row }}{{ row|tojson }}"),
        ("loop", "{{ loop }}{% for one in [1] %}{{ one }}{% endfor %}"),
        ("other", "{{ row }}{% for one in [1] %}{{ loop.index }}{% endfor %}"),
    ],
)
def test_names_that_mean_the_column_are_no_error(tmp_path: Path, column: str, text: str) -> None:
    assert write_templates(tmp_path, text).check_variables([column]) == []
