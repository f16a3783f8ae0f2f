"""The rendering of a row is bounded in steps and memory, and a stop ends it."""

from pathlib import Path

import pytest

from runner.errors import InputError, Interrupted
from runner.templates.expressions import compile_expression
from tests.support.prompts import render_user_prompt, write_templates

LOOP = "{% for i in range(99999) %}"

TOO_MANY_STEPS = (
    LOOP * 3 + "x" + "{% endfor %}" * 3,
    LOOP + "{% for j in range(i) if j > i %}x{% endfor %}{% endfor %}",
    "{% for i in range(99999) recursive %}{{ loop(range(99999)) }}{% endfor %}",
    LOOP + "{% for j in range(99999)|map('string') %}x{% endfor %}{% endfor %}",
    LOOP + "{{ range(99999)|sum }}{% endfor %}",
    "{{ ([range(99999)] * 99999)|map('sum')|sum }}",
    "{{ ([range(99999)] * 99999)|map('list')|map('length')|list }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% set ns = namespace(x=[]) %}" + LOOP + "{% set ns.x = ns.x + [i] %}{% endfor %}",
    "{% block b %}{{ self.b() ~ self.b() if a else '' }}{% endblock %}" + LOOP * 2 + "{% endfor %}" * 2,
)

TOO_LARGE = (
    "{{ ([b] * 1000)|join }}", "{{ [b, b]|join(b * 20) }}", "{{ range(99999)|join(b) }}", "{{ [[b] * 1000] }}",
    "{{ ([b] * 1000)|string }}", "{{ ([b] * 1000)|tojson }}", "{{ ([b] * 1000)|pprint }}", "{{ '' ~ [b] * 1000 }}",
    "{{ '%s' % ([b] * 1000) }}", "{{ '{0}' * 1000 }}{{ ('{0}' * 1000).format(b) }}",
    "{{ ('%(a)s' * 1000) % {'a': b} }}", "{{ ('%(a)s' * 1000)|format(a=b) }}",
    "{{ b.join(range(99999)|map('string')) }}", "{{ ([[1] * 9999] * 9999)|sum(start=[]) }}",
    "{{ (b * 30)|escape }}", "{{ (b * 30)|list|length }}", "{{ (b * 30).split('x')|length }}",
    "{{ b|wordwrap(1) }}", "{{ ('x ' * 1000000)|wordwrap(1, true, 'y' * 1000) }}", "{{ (b * 3)|urlize }}",
    "{{ ('www.x.y ' * 100000)|urlize(target='y' * 10000) }}", "{{ ('x' * 90000)|urlize }}",
    "{{ {'k': b}|xmlattr }}", "{{ b|urlencode }}", "{{ ('<' * 1000000)|striptags }}", "{{ b|striptags }}",
    "{{ ('\n' * 10000)|indent('y' * 90000) }}",
    "{% macro f() %}" + LOOP + "{{ b }}{% endfor %}{% endmacro %}{{ f()|length }}",
    "{% set x %}" + LOOP + "{{ b }}{% endfor %}{% endset %}{{ x|length }}",
    "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=[]) %}{% for i in range(900) %}{% set ns.x = [ns.x, b[:-i]] %}{% endfor %}",
    "{% set ns = namespace(x=[]) %}{% for i in range(900) %}{% set ns.x = [ns.x, b ~ i] %}{% endfor %}",
    "{% set ns = namespace(x=[]) %}{% for i in range(900) %}{% set ns.x = [ns.x, b|upper] %}{% endfor %}",
)  # fmt: skip


@pytest.mark.parametrize("text", TOO_MANY_STEPS)
def test_endless_template_is_refused_at_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"t\.yaml:\d+:\d+: prompt.user: .*(more than 2,000,000 steps|recursion)"):
        render_user_prompt(write_templates(tmp_path, text), a="")


@pytest.mark.parametrize("text", TOO_LARGE)
def test_template_that_takes_much_memory_is_refused(tmp_path: Path, text: str) -> None:
    text = "{% set b = 'x' * 10000000 %}" + text
    with pytest.raises(InputError, match=r"is the most|steps for one row|bytes of memory for one row"):
        render_user_prompt(write_templates(tmp_path, text), a="")


def test_include_that_includes_itself_twice_is_refused(tmp_path: Path) -> None:
    twice = "{% if n %}{% set n = n[1:] %}{% include 'x.j2' %}{% include 'x.j2' %}{% endif %}"
    with pytest.raises(InputError, match=r"steps for one row|recursion"):
        render_user_prompt(write_templates(tmp_path, "x.j2", {"x.j2": twice}), n="x" * 40)


def test_each_row_has_its_own_steps(tmp_path: Path) -> None:
    render = "{% for i in range(99999) %}{% for j in range(4) %}{% endfor %}{% endfor %}{{ a }}"
    found = write_templates(tmp_path, render)
    assert [render_user_prompt(found, a=text) for text in "ABC"] == ["A", "B", "C"]


def test_column_expressions_have_the_same_steps() -> None:
    with pytest.raises(ValueError, match="steps for one row"):
        compile_expression("([range(99999)] * 99999)|map('sum')|sum")({})


def test_a_stop_ends_a_rendering(tmp_path: Path) -> None:
    found = write_templates(tmp_path, LOOP + "{% for j in range(50) %}{% endfor %}{% endfor %}")
    found.stop_rendering_when(lambda: True)
    with pytest.raises(Interrupted):
        render_user_prompt(found)
