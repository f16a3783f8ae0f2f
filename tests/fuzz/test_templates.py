"""Random and damaged templates and expressions: a value, or an error with a line."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.errors import InputError
from runner.lifecycle.validate.checks import validate_spec
from runner.requests.encode import make_request_encoder
from runner.sinks.destination import Destination
from runner.sinks.registry import SINKS
from runner.spec.load import load_spec
from runner.spec.prompt import Prompt
from runner.spec.spec import Spec
from runner.templates.expressions import RECORD_FIELDS, compile_expression
from runner.templates.load import load_templates
from tests.support import ROOT
from tests.support.fuzzing import EDITS, SHORT_TEXT, assert_clear, edited, tries
from tests.support.projects import SPEC

pytestmark = pytest.mark.slow

PIECES = st.lists(
    st.sampled_from(
        ["{{ ", " }}", "{% ", " %}", "{# ", " #}", "{{ text }}", "{{ row.id }}", "{% if text %}", "{% else %}",
         "{% endif %}", "{% for c in text %}", "{% endfor %}", "{{ c }}", "{% set x = text %}",
         "{% macro m(a, b=1) %}", "{% endmacro %}", "{{ m(1) }}", "{% block b %}", "{% endblock %}", "{% raw %}",
         "{% endraw %}", "{% with %}", "{% endwith %}", "{% include 'shared/absent_values.j2' %}",
         "{% extends 'shared/macros.j2' %}", "{% from 'shared/macros.j2' import block %}",
         "{% import 'shared/macros.j2' as s %}", "{{ s.block }}", "{{ block('a', text) }}", "{% call m() %}",
         "{% endcall %}", "{% filter upper %}", "{% endfilter %}", "{% autoescape true %}", "{% endautoescape %}",
         "{{ super() }}", "{{ self.b() }}", "{{ loop.index }}", "{{ caller() }}", "{% include x %}",
         "{% include 'no.j2' %}", "{% include '../x' %}", "\n", "\r", "-", "+"]
    )
    | st.sampled_from(
        ["text", "row", "id", "x", " | upper", " | tojson", " | truncate(-1)", " | join(',')", " | list",
         " | map('int')", " | sort", " | sum", " | first", " | default('')", " | batch(0)", " | slice(0)",
         " | round(1, 'up')", " | safe", " | wordwrap(0)", " | items", " | attr('x')", " | format(1, a=1)",
         " | int(base=1)", " | dictsort(true)", "(", ")", "[", "]", "{", "}", ".", ",", ":", "~", "/", "//", "%",
         "==", "<", " is defined", " is in ", " in ", " if ", " else ", " and ", " not ", "1", "0", "1.5", "'a'",
         '"', "'", "\\", "none", "true", "[1, 'a']", "{'a': 1}", "f(a=1, a=2)", "dict(a=1)", "range(3)",
         "namespace(a=1)", "=", "x = 1", "٣", "٣.٣", "ª", "__class__", ".a.b", "[0]", "[-1]", "[::0]", "(x, y)",
         "'%d'", "'{}'.format", "[" * 150, "not " * 250, "_", "self", "loop", "\ud800"]
    )
    | SHORT_TEXT,
    max_size=7,
).map(lambda parts: "".join(parts).replace("*", ""))  # fmt: skip


@cache
def job(root: Path) -> Spec:
    (root / "job.yaml").write_text(json.dumps({**SPEC, "vars": {"tone": "calm"}}))
    return load_spec(root / "job.yaml")


def render(spec: Spec) -> bytes | None:
    """The params of one row, or None if something is wrong with the templates."""
    try:
        templates = load_templates(spec)
        if problems := templates.check_variables(["id", "text"]):
            raise InputError(problems)
        encode = make_request_encoder(templates)
        names = templates.variables({"id": "r1", "text": "one"})
        first = encode(names).params.sent
        assert encode(names).params.sent == first
    except InputError as error:
        assert_clear(error, spec.path)
        assert all(str(problem.path) == str(spec.path) or problem.line for problem in error.problems)
        return None
    return first


@tries(900)
@given(PIECES)
def test_any_template_renders_or_gives_an_error_with_a_line(project: Path, text: str) -> None:
    params = render(replace(job(project), prompt=Prompt(user=text or " ")))
    if params is not None:
        assert msgspec.json.decode(params)["messages"][0]["content"].strip()


@cache
def shipped(root: Path, name: str) -> Spec:
    return load_spec(root / "specs" / f"{name}.yaml")


@tries(300)
@given(
    st.sampled_from(sorted(str(path.relative_to(ROOT / "prompts")) for path in (ROOT / "prompts").rglob("*.j2"))),
    EDITS,
)
def test_damaged_template_renders_or_gives_an_error(
    project: Path, name: str, edits: list[tuple[str, int, int, bytes]]
) -> None:
    data = (ROOT / "prompts" / name).read_bytes()
    try:
        (project / "prompts" / name).write_bytes(edited(data, edits))
        folder = name.partition("/")[0]
        validate_spec(shipped(project, "invoices" if folder == "shared" else folder))
    except InputError as error:
        assert_clear(error, project / "prompts" / name)
    finally:
        (project / "prompts" / name).write_bytes(data)


RECORDS: list[dict[str, Any]] = [
    {
        "key": "r1",
        "row": {"id": "r1", "text": "one"},
        "outcome": "succeeded",
        "output": {"label": "good", "score": 1, "lines": [{"n": 1}, {"n": 2.5}], "items": None},
        "error": None,
        "usage": {"input_tokens": 3},
        "stop_reason": "end_turn",
        "model": "m",
        "custom_id": "run-1-1-1",
        "batch_id": "msgbatch_1",
    },
    dict.fromkeys(RECORD_FIELDS),
]
EXPRESSIONS = st.lists(
    st.sampled_from(
        [*RECORD_FIELDS, "output.lines", "output.lines[0].n", "row.text", "output.items", "['score']", "['a', 1]"]
    )
    | PIECES,
    min_size=1,
    max_size=3,
).map("".join)


@tries(1000)
@given(EXPRESSIONS)
@example("key(a=1, a=2)")
@example("key | truncate(-1)")
@example("1٣.5")
def test_any_text_evaluates_or_is_not_an_expression(text: str) -> None:
    try:
        evaluate = compile_expression(text)
    except ValueError as error:
        assert str(error)
        return
    for record in RECORDS:
        for write in (SINKS["csv"].function, SINKS["jsonl"].function):
            assert_written_or_refused(partial(evaluate, record), write)


def assert_written_or_refused(value: Callable[[], Any], write: Callable[..., Any]) -> None:
    """A value goes into a file, or is refused as a sink expects it."""
    try:
        with TemporaryDirectory() as folder, write(Destination(Path(folder) / "out"), ["a"]) as put:
            put([value()])
    except (ValueError, TypeError, RecursionError) as error:
        assert str(error)
