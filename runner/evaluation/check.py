"""Check the evaluations of a spec before anything is paid: their expressions, and the names and fields in them."""

from collections.abc import Iterator, Mapping
from typing import Any

from runner.errors import InputError, Problem
from runner.evaluation.evaluator import ANSWER_NAMES, LABEL_NAMES, Evaluator
from runner.evaluation.matching import MATCH_NAMES, MATCHES, make_match
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Spec
from runner.templates.expressions import ExpressionError, compile_expression
from runner.templates.known_fields import make_closed_schema


def check_evaluations(spec: Spec, schemas: Mapping[str, Any]) -> list[Problem]:
    """Return the problems of a spec's evaluations. `schemas` has what is known of `output`, `row` and `key`."""
    schemas = {**schemas, "vars": make_closed_schema({name: {} for name in spec.vars})}
    return [
        spec.problem(
            f"evaluate.{index}.{setting}", f"evaluation {spec.evaluate[index].name!r}: {error}", line=line
        )
        for index, setting, error, line in _find_mistakes(spec, schemas)
    ]


def make_evaluator(spec: Spec) -> Evaluator:
    """Return the evaluator of a spec's answers. Raises InputError for invalid expressions."""
    if problems := check_evaluations(spec, {}):
        raise InputError(problems)
    return Evaluator(spec.evaluate, spec.vars)


def _find_mistakes(spec: Spec, schemas: Mapping[str, Any]) -> Iterator[tuple[int, str, str, int]]:
    """Yield (index of the evaluation, setting, message, line of the setting)."""
    for index, one in enumerate(spec.evaluate):
        for setting, text, names in (
            ("expected", one.expected, LABEL_NAMES),
            ("actual", one.actual, ANSWER_NAMES),
        ):
            try:
                compile_expression(text, names=names, schemas=schemas)
            except ExpressionError as error:
                yield index, setting, str(error), error.line
        try:
            make_match(one.match)
        except ExpressionError as error:
            yield index, "match", _add_named_matches(one.match, str(error)), error.line


def _add_named_matches(match: str, message: str) -> str:
    """Return the message about an invalid `match`; a single word is meant to be one of the named ways."""
    if not match.isidentifier():
        return message
    named = (*MATCHES, f"an expression over {' and '.join(MATCH_NAMES)}")
    return f"{match!r} is no way to compare: {suggest_similar(match, named)}"
