"""No template can exhaust the memory or the time of a machine."""

from pathlib import Path

import pytest

from runner.errors import InputError
from runner.templates.expressions import compile_expression
from runner.templates.limits import MAX_CHARS
from tests.support.prompts import render_user_prompt, write_templates

TOO_MUCH = (
    "{{ 'x' * 2000000000 }}", "{{ 2000000000 * 'x' }}", "{{ [0] * 2000000000 }}", "{{ a * 2000000000 }}",
    "{{ 10 ** 10000000 }}", "{{ 9 ** (9 ** 9) }}", "{{ (10 ** 4000) * (10 ** 4000) }}",
    "{{ '%1000000000d' % 5 }}", "{{ '%*d' % (1000000000, 5) }}", "{{ '%.1000000000f' % 5 }}",
    "{{ '%1000000000d'|format(5) }}", "{{ '{:1000000000}'.format(5) }}", "{{ '{:{}}'.format(5, 1000000000) }}",
    "{{ 'x'.ljust(2000000000) }}", "{{ 'x'.rjust(2000000000) }}", "{{ 'x'.center(2000000000) }}",
    "{{ '7'.zfill(2000000000) }}", "{{ '\t\t'.expandtabs(1000000000) }}",
    "{{ 'x'|center(2000000000) }}", "{{ 'x\ny'|indent(2000000000) }}", "{{ [1]|batch(2000000000, 0)|list }}",
    "{{ [1]|slice(2000000000)|list }}", "{{ [1]|tojson(2000000000) }}",
    "{% set b = 'x' * 100000 %}{{ b.replace('x', b) }}", "{% set b = 'x' * 100000 %}{{ b|replace('x', b) }}",
    "{% set b = 'x' * 100000 %}{{ b.join(range(99999)|map('string')|list) }}",
    "{% set n = namespace(x='x') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x='x') %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set b = 'x' * 10000000 %}{% for i in range(99999) %}{{ b }}{% endfor %}",
    "{{ range(1000000000)|list }}",
)  # fmt: skip


@pytest.mark.parametrize("text", TOO_MUCH)
def test_excessive_template_results_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"is the most|more than 99,999|Range too big"):
        render_user_prompt(write_templates(tmp_path, text), a="abc")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ '=' * 20 }}", "=" * 20),
        ("{{ 2 ** 10 + 3 * 4 % 5 }}", "1026"),
        ("{{ '%05.1f|%s' % (3.14159, a) }}", "003.1|abc"),
        ("{{ '%s-%s'|format(a, 1) }}", "abc-1"),
        ("{{ '{:>6}'.format(a) }}{{ a.ljust(5) }}|", "   abcabc  |"),
        ("{{ a ~ 1 ~ [2] ~ none }}", "abc1[2]None"),
        ("{{ a|center(9) }}|{{ a|replace('b', 'BB') }}|{{ a.replace('b', '') }}", "   abc   |aBBc|ac"),
        ("{{ ['x', 'y']|join(', ') }}{{ ','.join(['p', 'q']) }}", "x, yp,q"),
        ("{{ [1, 2, 3]|batch(2)|list }}{{ 'a\nb'|indent(2) }}", "[[1, 2], [3]]a\n  b"),
        ("{{ {'a': 1}|tojson(2) }}", '{\n  "a": 1\n}'),
        ("{{ [1] + [2] }}{{ 'a' + 'b' }}", "[1, 2]ab"),
    ],
)
def test_ordinary_templates_stay_within_the_limits(tmp_path: Path, text: str, expected: str) -> None:
    assert render_user_prompt(write_templates(tmp_path, text), a="abc") == expected


def test_column_expressions_have_the_same_limits() -> None:
    with pytest.raises(ValueError, match="is the most"):
        compile_expression("'x' * 2000000000")({})


def test_a_text_may_be_as_long_as_a_body(tmp_path: Path) -> None:
    assert len(render_user_prompt(write_templates(tmp_path, "{{ 'x' * n }}"), n=MAX_CHARS)) == MAX_CHARS
