"""Templates: found, checked against the columns, rendered for one row, with every mistake at its place."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.errors import InputError
from runner.spec.load import load_spec
from runner.templates.expressions import compile_expression
from runner.templates.templates import Templates, load_templates

OUTCOME_RECORD = {
    "key": "k1",
    "row": {"a": 1},
    "outcome": "succeeded",
    "output": {"total": 2, "lines": [{"x": 1}, {"x": 2}], "due date": "soon", "items": [7]},
    "error": None,
}


NESTED: Any = 1
for _ in range(3000):
    NESTED = [NESTED]


def write_templates(
    root: Path, prompt: str | Mapping[str, Any], files: Mapping[str, str] | None = None, **vars: Any
) -> Templates:
    """The templates of a spec written into `root`, with `files` below its prompts/."""
    for name, text in {**(files or {}), "unused.j2": "nobody reads me"}.items():
        path = root / "prompts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    spec = {
        "version": 1,
        "name": "t",
        "source": {"type": "csv", "path": "in.csv"},
        "prompt": {"user": prompt} if isinstance(prompt, str) else prompt,
        "params": {"model": "m", "max_tokens": 9},
        "sinks": [{"type": "jsonl", "path": "out.jsonl"}],
        "vars": vars,
    }
    (root / "t.yaml").write_text(json.dumps(spec, indent=1, ensure_ascii=False))
    return load_templates(load_spec(root / "t.yaml"))


def render_user_prompt(found: Templates, **row: Any) -> str:
    """The user prompt of one row."""
    user = found.spec.prompt.user
    assert isinstance(user, str)
    return found.make_renderer("prompt.user", user)(found.variables(row))


def is_constant(found: Templates) -> bool:
    """Whether the user prompt is the same for every row."""
    user = found.spec.prompt.user
    assert isinstance(user, str)
    return found.is_constant("prompt.user", user)


def line_of(text: str, root: Path) -> int:
    """The first line of the spec that holds `text`."""
    lines = (root / "t.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


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
    ("text", "why"),
    [
        ("{{ a|map('upper') }}", "add |list"),
        ("{{ a[0].upper }}", "a function: call it"),
        ("{{ row.get }}", "a function: call it"),
        ("{{ range }}", "a function: call it"),
        ("{% macro f() %}x{% endmacro %}{{ f }}", "a function: call it"),
        ("{{ [a[0].upper] }}", "a function: call it"),
        ("{{ {'x': a|map('upper')} }}", "add |list"),
        ("{{ row.keys() }}", "add |list"),
        ("{{ range(3) }}", "add |list"),
        ("{{ [[row.zz]] }}", "undefined"),
        ("{{ a|map(attribute='typo')|list }}", "undefined"),
    ],
)
def test_python_object_text_is_never_sent(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InputError, match=re.escape(why)):
        render_user_prompt(write_templates(tmp_path, text), a=["x"])


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
    "text",
    [
        "{{ a.__class__ }}",
        "{{ a|attr('__class__') }}",
        "{{ '{0.__class__}'.format(a) }}",
        "{{ '{a.__class__}'.format_map(row) }}",
        "{% set f = '{0.__class__}'.format %}{{ f(a) }}",
        "{{ [a]|map(attribute='__class__')|first }}",
        "{{ row.update({'a': 1}) }}",
        "{{ row.clear() }}",
        "{{ v.append(1) }}",
        "{{ cycler('x') }}",
        "{{ lipsum() }}",
    ],
)
def test_templates_cannot_leave_the_sandbox_nor_change_data(tmp_path: Path, text: str) -> None:
    found = write_templates(tmp_path, text, v=[0])
    with pytest.raises(InputError):
        render_user_prompt(found, a="A")
    assert found.spec.vars == {"v": [0]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../secret.j2", "../secret.j2 is outside prompts/"),
        ("/secret.j2", "/secret.j2 is outside prompts/"),
        ("deep/../../secret.j2", "deep/../../secret.j2 is outside prompts/"),
        ("link.j2", "link.j2 is outside prompts/"),
        ("linked/secret.j2", "linked/secret.j2 is outside prompts/"),
        ("unusd.j2", "no template prompts/unusd.j2: did you mean 'unused.j2'?"),
        ("folder.j2", "no template prompts/folder.j2: expected one of: "),
    ],
)
@pytest.mark.parametrize("is_included", [False, True], ids=["named", "included"])
def test_template_outside_prompts_is_not_read(tmp_path: Path, name: str, message: str, is_included: bool) -> None:
    (tmp_path / "secret.j2").write_text("secret")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "link.j2").symlink_to(tmp_path / "secret.j2")
    (tmp_path / "prompts" / "linked").symlink_to(tmp_path)
    (tmp_path / "prompts" / "folder.j2").mkdir()
    files = {"x.j2": f"\n{{% include {name!r} %}}"}
    with pytest.raises(InputError) as caught:
        write_templates(tmp_path, "x.j2" if is_included else name, files)
    place = "prompts/x.j2:2: " if is_included else f"t.yaml:{line_of('user', tmp_path)}:"
    assert place in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize("name", ["prompt.system", "<prompt.system>"])
def test_an_inline_template_cannot_be_included(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        write_templates(tmp_path, {"system": "S", "user": f"{{% include '{name}' %}}"})
    (problem,) = caught.value.problems
    assert name in problem.message and problem.line == line_of("include", tmp_path)


def test_a_link_that_stays_in_prompts_is_followed(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "link.j2").symlink_to("unused.j2")
    assert render_user_prompt(write_templates(tmp_path, "link.j2")) == "nobody reads me"


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key", "k1"),
        ("output.total", 2),
        ("output.lines[1].x", 2),
        ("output.lines[-1].x", 2),
        ("output['due date']", "soon"),
        ("output.items", [7]),
        ("output.lines|map(attribute='x')|sum", 3),
        ("output.total * 2", 4),
        ("[key, row.a]", ["k1", 1]),
        ("output.total if outcome == 'succeeded' else 0", 2),
        ("error.type or 'none'", "none"),
        ("output.keys", None),
        ("output.no.such[3].thing", None),
        ("output.no.such|default('d')", "d"),
        ("output.total.x", None),
        ("usage.input_tokens", None),
        ("key.__class__", None),
        ("none", None),
    ],
)
def test_expression_evaluates_missing_values_to_none(text: str, expected: Any) -> None:
    assert compile_expression(text)(OUTCOME_RECORD) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not an expression"),
        ("output.", "not an expression"),
        ("a b", "not an expression"),
        ("{{ key }}", "not an expression"),
        ("key }}{{ row", "not an expression"),
        ("output) }}{{ (row", "not an expression"),
        ("key|nope", "not an expression: No filter named 'nope'"),
        ("key is nope", "not an expression: No test named 'nope'"),
        ("[key]|random", "not an expression: No filter named 'random'"),
        ("outptu.total", "'outptu' is undefined: did you mean 'output'?"),
        ("lipsum()", "'lipsum' is undefined"),
        ("dict(a=1, a=2)", "not an expression: keyword argument repeated: a"),
        ("1٣.5", "not an expression: invalid character '٣'"),
    ],
)
def test_invalid_expression_is_rejected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        compile_expression(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "text",
    ["output.total / 0", "key + 1", "row.clear()", "key|truncate(1)"],
)
def test_expression_on_unsuitable_values_raises_value_error(text: str) -> None:
    compiled = compile_expression(text)
    with pytest.raises(ValueError, match=r"\w"):
        compiled(OUTCOME_RECORD)
    assert OUTCOME_RECORD["row"] == {"a": 1}


@pytest.mark.parametrize("path", ["output.total", "output.lines[0].x", "row.a", "error.type", "output.lines[9].x"])
def test_plain_path_equals_the_compiled_expression(path: str) -> None:
    assert compile_expression(path)(OUTCOME_RECORD) == compile_expression(f"({path}) if true else none")(
        OUTCOME_RECORD
    )


@pytest.mark.parametrize("text", ["output.no + 1", "output.no.deeper * 2", "key.nope()"])
def test_expression_on_a_missing_value_is_none(text: str) -> None:
    assert compile_expression(text)({**OUTCOME_RECORD, "output": {}, "key": "k"}) is None
