"""Templates with every Jinja construct that can hold state, and rows to render them with."""

from collections.abc import Mapping

from hypothesis import strategies as st

MODULES: Mapping[str, str] = {
    "namespace.j2": (
        "{% set ns = namespace(seen=[], last='') %}{% macro add(x) %}"
        "{% set ns.seen = ns.seen + [x] %}{% set ns.last = x %}{{ ns.seen|join(',') }}{{ ns.last }}{% endmacro %}"
    ),
    "alias.j2": (
        "{% set make = namespace %}{% set ns = make(n=0) %}"
        "{% macro add(x) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ x }}{% endmacro %}"
    ),
    "iterator.j2": (
        "{% set left = ['a', 'b', 'c']|map('upper') %}{% macro add(x) %}{{ x }}{{ left|first }}{% endmacro %}"
    ),
    "nested_iterator.j2": (
        "{% set all = [[1, 2]|reverse, {'k': 'v'}|items] %}{% macro add(x) %}{{ x }}"
        "{{ all[0]|first|default('-') }}{{ all[1]|list|tojson }}{% endmacro %}"
    ),
    "default.j2": (
        "{% macro add(x, seen=namespace(n=0), list=[]) %}{% set seen.n = seen.n + 1 %}{{ x }}{{ seen.n }}"
        "{{ (list + [x])|length }}{% endmacro %}"
    ),
    "caller.j2": (
        "{% set ns = namespace(kept=none) %}{% macro wrap(x) %}{{ ns.kept() if ns.kept else '' }}"
        "{% set ns.kept = caller %}{{ caller() }}{{ x }}{% endmacro %}"
        "{% macro add(x) %}{% call wrap(x) %}[{{ x }}]{% endcall %}{% endmacro %}"
    ),
    "inner.j2": (
        "{% from 'namespace.j2' import add as inner_add %}{% macro add(x) %}<{{ inner_add(x) }}>{% endmacro %}"
    ),
    "deep.j2": "{% import 'inner.j2' as inner %}{% macro add(x) %}{{ inner.add(x) }}{% endmacro %}",
    "late.j2": "{% macro add(x) %}{% import 'namespace.j2' as m %}{{ m.add(x) }}{% endmacro %}",
    "escape.j2": (
        "{% macro add(x) %}{% autoescape true %}{{ 1 // (x|length - 3) }}{{ '<' }}"
        "{% endautoescape %}{% endmacro %}"
    ),
    "plain.j2": "{% set sep = '-' %}{% macro add(x) %}{{ sep }}{{ x }}{% endmacro %}",
    "block.j2": "{% set ns = namespace(n=0) %}{% set text %}{{ ns.n }}{% endset %}{% macro add(x) %}"
    "{% set ns.n = ns.n ~ x %}{{ text }}{{ ns.n }}{% endmacro %}",
}
"""Templates with a macro `add`, most of which could remember what it was called with."""

USES = (
    "{{% from '{0}' import add %}}{{{{ add(text) }}}}",
    "{{% import '{0}' as m %}}{{{{ m.add(text) }}}}{{{{ m.add(text) }}}}",
    "{{% import '{0}' as m with context %}}{{{{ m.add(text) }}}}",
    "{{% for t in tags %}}{{% import '{0}' as m %}}{{{{ m.add(t) }}}}{{% endfor %}}",
    "{{% if text > 'm' %}}{{% from '{0}' import add %}}{{{{ add(text) }}}}{{% endif %}}{{{{ text }}}}",
    "{{% set x %}}{{% from '{0}' import add %}}{{{{ add(text) }}}}{{% endset %}}{{{{ x }}}}",
)
"""Ways to use a module, to be formatted with its name."""

SHARED = (
    "{% include 'used.j2' %}",
    "{% include 'used.j2' without context %}",
    "{% extends 'frame.j2' %}{% block c %}{{ super() }}{% include 'used.j2' %}{% endblock %}",
    "{% from 'namespace.j2' import add %}{{ add(text) }}{% include 'used.j2' without context %}",
)
"""Ways to reach the template `used.j2` from another one."""

DIRECT = (
    "{% set ns = namespace(n=0) %}{% for t in tags %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}{{ text }}",
    "{% set it = tags|map('upper') %}{{ it|first|default('') }}{{ it|list|tojson }}",
    "{% set row_tags = row.tags + [text] %}{{ row_tags|tojson }}{{ row|tojson }}",
    "{{ v|tojson }}{{ (v.list + [text])|tojson }}{{ dict(v.map, x=text)|tojson }}",
    "{% set v = text %}{% set tags = [] %}{{ v }}{{ tags }}",
    "{% set _ = dict.update(v.map, {'x': text}) %}{{ v.map|tojson }}",
    "{% set _ = dict.setdefault(row, 'seen', text) %}{{ row|tojson }}",
    "{% set _ = v.list.append(text) %}{{ v.list|tojson }}",
    "{% set _ = row.tags|attr('append')|default(none) %}{{ row.tags }}",
    "{{ (row.keys() - ['id'])|list|tojson }}{{ (v.map.keys() - ['x'])|length }}",
    "{% autoescape text > 'm' %}{{ '<' ~ (1 // (text|length - 3)) }}{% endautoescape %}{{ '<' }}",
    "{{ text ~ (tags|map('upper')) }}",
    "{{ (tags|map('upper'))|string }}{{ '%s'|format(tags|select) }}",
    "{{ loop }}{{ self }}",
)
"""Templates that could keep something without a module."""

VARS = {"v": {"list": ["x"], "map": {"k": 1}}}

ROWS = st.fixed_dictionaries(
    {
        "id": st.integers(0, 3),
        "text": st.text("abz<&", max_size=4),
        "tags": st.lists(st.sampled_from("pqr"), max_size=3),
    }
)


@st.composite
def templates(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """Draw the main template and its files: each construct, used in each way."""
    used = draw(st.sampled_from(USES)).format(draw(st.sampled_from(sorted(MODULES))))
    files = {**MODULES, "used.j2": used, "frame.j2": "{% block c %}{{ text }}{% endblock %}" + used}
    return draw(st.sampled_from([used, *SHARED, *DIRECT])), files
