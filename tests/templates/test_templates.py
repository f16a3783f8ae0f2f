"""Templates are rendered with a row, and every error has its file and line."""

from pathlib import Path
from typing import Any

import pytest

from runner.errors import InputError
from tests.support.fuzzing import NESTED
from tests.support.prompts import is_constant, line_of, render_user_prompt, write_templates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pay {{ vendor }}", "Pay Acme"),
        ("Pay {{ row.vendor }}", "Pay Acme"),
        ("Pay {{ row['vendor'] }}", "Pay Acme"),
        ("{{ row['due date'] }}", "soon"),
        ("{{ {'é': '<&>'}|tojson }}", '{"é": "<&>"}'),
        ("{% for n in range(3) %}{{ n }}{% endfor %}", "012"),
        ("{{ vendor|lower|replace('a', 'o') }}", "ocme"),
        ("a\nlast.j2", "a\nlast.j2"),
        ("{% raw %}{{ vendor }}{% endraw %}", "{{ vendor }}"),
    ],
)
def test_inline_templates_see_the_row(tmp_path: Path, text: str, expected: str) -> None:
    row = {"vendor": "Acme", "due date": "soon"}
    assert render_user_prompt(write_templates(tmp_path, text), **row) == expected


@pytest.mark.parametrize("value", ["{{ 7 * 7 }}", "{% include 'unused.j2' %}", "{# gone #}", "{% raw %}", "}}"])
def test_row_data_and_vars_are_never_templates(tmp_path: Path, value: str) -> None:
    found = write_templates(tmp_path, "{{ a }}|{{ v }}|{{ row.a }}", v=value)
    assert render_user_prompt(found, a=value) == f"{value}|{value}|{value}"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"x.j2": "{{ a }}!"}, "A!"),
        ({"x.j2": "{% include 'deep/y.j2' %}!", "deep/y.j2": "<{{ a }}>"}, "<A>!"),
        (
            {"x.j2": "{% from 'm.j2' import f %}{{ f(a) }}", "m.j2": "{% macro f(x) %}[{{ x }}]{% endmacro %}"},
            "[A]",
        ),
        (
            {"x.j2": "{% import 'm.j2' as m %}{{ m.f(a) }}", "m.j2": "{% macro f(x) %}[{{ x }}]{% endmacro %}"},
            "[A]",
        ),
        (
            {
                "x.j2": "{% from 'm.j2' import f with context %}{{ f() }}",
                "m.j2": "{% macro f() %}[{{ a }}]{% endmacro %}",
            },
            "[A]",
        ),
        (
            {
                "x.j2": "{% extends 'b.j2' %}{% block c %}{{ a }}{{ super() }}{% endblock %}",
                "b.j2": "<{% block c %}base{% endblock %}>",
            },
            "<Abase>",
        ),
        ({"x.j2": "  {% if a %}\nyes {{ a }}\n  {% endif %}\n"}, "yes A\n"),
        ({"x.j2": "{% include 'y.txt' %}!", "y.txt": "<{{ a }}>"}, "<A>!"),
    ],
    ids=["file", "include", "from import", "import", "with context", "extends", "blocks leave no blank", "txt"],
)
def test_files_in_prompts_include_and_import_each_other(
    tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    found = write_templates(tmp_path, "x.j2", files)
    assert render_user_prompt(found, a="A") == expected
    assert found.file_texts() == files


def test_extended_template_fails_alike_on_every_row(tmp_path: Path) -> None:
    files = {
        "b.j2": "{% block c %}{% if a %}{{ super() }}{% endif %}{% endblock %}",
        "x.j2": "{% extends 'b.j2' %}",
    }
    found = write_templates(tmp_path, "x.j2", files)
    render = found.make_renderer("prompt.user", "x.j2")
    for _ in range(3):
        assert render(found.variables({"a": ""})) == ""
        with pytest.raises(InputError, match="no parent block"):
            render(found.variables({"a": "A"}))


def test_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    found = write_templates(tmp_path, "x.j2", {"x.j2": "\ufeff{% include 'y.j2' %}", "y.j2": "\ufeff{{ a }}"})
    assert render_user_prompt(found, a="\ufeffA") == "\ufeffA"
    assert found.file_texts()["y.j2"] == "{{ a }}"


def test_included_file_sees_surrounding_names(tmp_path: Path) -> None:
    files = {"x.j2": "{% for line in a %}{% include 'y.j2' %}{% endfor %}", "y.j2": "[{{ line }}]"}
    found = write_templates(tmp_path, "x.j2", files)
    assert render_user_prompt(found, a=[1, 2]) == "[1][2]"
    assert found.check_variables(["a"]) == []


@pytest.mark.parametrize(
    "text", ["{{ b }}", "{{ row.b }}", "{{ row['b'] }}", "{{ a.b }}", "{% if b %}{% endif %}"]
)
def test_missing_name_stops_the_rendering(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"t\.yaml:\d+:\d+: prompt\.user: .*'b'") as caught:
        render_user_prompt(write_templates(tmp_path, text), a="A")
    assert caught.value.problems[0].line == line_of('"user"', tmp_path)


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"x.j2": "one\ntwo {{ a.b }}"}, "prompts/x.j2:2"),
        ({"x.j2": "\n{% include 'y.j2' %}", "y.j2": "\n\n{{ 1 / 0 }}"}, "prompts/y.j2:3"),
        (
            {
                "x.j2": "{% import 'm.j2' as m %}{{ m.f(a) }}",
                "m.j2": "{% macro f(x) %}\n{{ x / 2 }}{% endmacro %}",
            },
            "prompts/m.j2:2",
        ),
        (
            {"x.j2": "{% import 'm.j2' as m %}\n{{ m.g() }}", "m.j2": "{% macro f() %}{% endmacro %}"},
            "prompts/x.j2:2",
        ),
    ],
    ids=["file", "include", "macro", "unknown macro"],
)
def test_render_error_names_the_innermost_template_and_line(
    tmp_path: Path, files: dict[str, str], place: str
) -> None:
    with pytest.raises(InputError) as caught:
        render_user_prompt(write_templates(tmp_path, "x.j2", files), a="A")
    assert str(caught.value).startswith(f"{place}: ")


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"x.j2": "{% include 'x.j2' %}"}, "prompts/x.j2:1"),
        ({"x.j2": "\n{% include 'y.j2' %}", "y.j2": "\n{% include 'x.j2' %}"}, r"prompts/[xy]\.j2:2"),
        ({"x.j2": "{% extends 'x.j2' %}"}, "prompts/x.j2:1"),
        ({"x.j2": "{% macro f() %}\n{{ f() }}{% endmacro %}{{ f() }}"}, "prompts/x.j2:2"),
    ],
    ids=["itself", "each other", "extends", "macro"],
)
def test_endless_template_recursion_is_an_input_error(tmp_path: Path, files: dict[str, str], place: str) -> None:
    with pytest.raises(InputError, match=f"^{place}: .*recursion"):
        render_user_prompt(write_templates(tmp_path, "x.j2", files), a="A")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ 1 / a }}", 0),
        ("{{ a + 1 }}", "1"),
        ("{{ a|int }}", float("inf")),
        ("{{ a|sort }}", [1, "x"]),
        ("{{ a|join }}", None),
        ("{{ {a: 1} }}", []),
        ("{{ a() }}", "A"),
        ("{{ '%d' % a }}", "A"),
        ("{{ a|tojson }}", {1, 2}),
        ("{{ a|first }}", []),
        ("{{ a|tojson }}", NESTED),
        ("{{ a }}", NESTED),
        ("{{ range(a)|length }}", 5_000_000),
        ("{{ range(5000000)|length }}", 0),
        ("{{ 10 ** a }}", 5000),
        ("{{ a|truncate(1) }}", "A"),
        ("{{ a * 10 ** 15 }}", "A"),
    ],
    ids=lambda value: None if value is not NESTED else "nested",
)
def test_unsuitable_values_are_input_errors(tmp_path: Path, text: str, value: Any) -> None:
    with pytest.raises(InputError, match=r"t\.yaml:\d+:\d+: prompt\.user: \S"):
        render_user_prompt(write_templates(tmp_path, text), a=value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n{{ b", "prompts/x.j2:2: unexpected end of template"),
        ("a\n{% foo %}", "prompts/x.j2:2: Encountered unknown tag 'foo'"),
        ("\n\n{% include a %}", "prompts/x.j2:3: the name of an included template must be a constant"),
        ("{% include ['y.j2', 'z.j2'] %}", "prompts/x.j2:1: the name of an included template must be a constant"),
        ("{% if a %}", "prompts/x.j2:1: Unexpected end of template"),
        ("\n{{ a|nope }}", "prompts/x.j2:2: No filter named 'nope'"),
        ("\n{{ a is nope }}", "prompts/x.j2:2: No test named 'nope'"),
        ("\n{{ [a]|random }}", "prompts/x.j2:2: No filter named 'random'"),
        ("\n\n{{ f(a=1, a=2) }}\n{{ b }}", "prompts/x.j2:3: keyword argument repeated: a"),
        ("\n{% macro m(a, a) %}{% endmacro %}", "prompts/x.j2:2: duplicate argument"),
        ("\n" + "{% for b in a %}\n" * 25 + "{% endfor %}" * 25, "prompts/x.j2:22: too many statically nested"),
        ("\n" + "{% if a %}\n" * 110 + "{% endif %}" * 110, "prompts/x.j2:100: too many levels of indentation"),
        ("{{ " + "not " * 250 + "a }}", "prompts/x.j2:1: too many nested parentheses"),
        ("{{ 1٣.5 }}", "prompts/x.j2:1: invalid character '٣'"),
    ],
)
def test_invalid_jinja_is_reported_at_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        write_templates(tmp_path, "x.j2", {"x.j2": text})
    assert str(caught.value).startswith(message)


def test_unprintable_constant_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^prompts/x\.j2\b.*digits"):
        render_user_prompt(write_templates(tmp_path, "x.j2", {"x.j2": "{{ 10 ** 5000 }}"}))


def test_all_broken_templates_are_reported_at_once(tmp_path: Path) -> None:
    prompt = {"system": "nope.j2", "user": "{{ a", "messages": [{"role": "user", "content": "x.j2"}]}
    with pytest.raises(InputError) as caught:
        write_templates(tmp_path, prompt, {"x.j2": "{% endif %}"})
    assert len(caught.value.problems) == 3
    assert {problem.path.split("/")[-1] for problem in caught.value.problems} == {"t.yaml", "x.j2"}


def test_a_template_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "x.j2").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"t\.yaml:\d+:\d+: prompts/x\.j2 is not UTF-8 text"):
        write_templates(tmp_path, "x.j2")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"x.j2": "plain"}, True),
        ({"x.j2": "{{ v }} {{ [1, 2]|join(v) }}"}, True),
        ({"x.j2": "{% include 'y.j2' %}", "y.j2": "{{ v }}"}, True),
        ({"x.j2": "{{ a }}"}, False),
        ({"x.j2": "{{ row }}"}, False),
        ({"x.j2": "{{ range(3)|list }}"}, False),
        ({"x.j2": "{{ zzz|default('') }}"}, False),
        ({"x.j2": "{% include 'y.j2' %}", "y.j2": "{% include 'z.j2' %}", "z.j2": "{{ a }}"}, False),
        (
            {"x.j2": "{% from 'y.j2' import f with context %}", "y.j2": "{% macro f() %}{{ a }}{% endmacro %}"},
            False,
        ),
        ({"x.j2": "{% extends 'y.j2' %}", "y.j2": "{{ a }}"}, False),
    ],
)
def test_prompt_without_row_names_is_constant(tmp_path: Path, files: dict[str, str], expected: bool) -> None:
    assert is_constant(write_templates(tmp_path, "x.j2", files, v="V")) is expected
