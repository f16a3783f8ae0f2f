"""Rules about models that are unknown, deprecated or retired."""

from collections.abc import Iterator
from datetime import date, timedelta

from runner.pricing.models import load_catalogue
from runner.rules.finding import RuleContext, Violation
from runner.spec.schema_errors import suggest_similar

_SOURCE_PAGE = "platform.claude.com, model deprecations, 2026-08; SDK 2.14, deprecated_models"


def unknown_model(case: RuleContext) -> Iterator[Violation]:
    """Report a model whose price and limits are unknown."""
    if case.model is None:
        known = [model.id for model in load_catalogue().models if not model.retired]
        name = str(case.params["model"])
        message = (
            f"{name} is not in the price list of {load_catalogue().dated}, so its price and limits are unknown: "
            f"{suggest_similar(name, known)} (set its price with `prices` in the spec)"
        )
        yield Violation("params.model", message)


def _expected_end(case: RuleContext) -> date:
    """Return the day by which the run should have ended."""
    attempts = case.spec.retry.attempts if case.is_batched else 1
    return case.today + timedelta(seconds=case.spec.deadline or 86_400 * attempts)


def deprecated_model(case: RuleContext) -> Iterator[Violation]:
    """Report a deprecated model that is not retired yet."""
    model = case.model
    if model is None or (model.deprecated or model.retires) is None or _is_retired(case):
        return
    when = f"retires on {model.retires}" if model.retires else "is deprecated"
    message = f"{model.id} {when} ({_SOURCE_PAGE}): plan to use another model"
    if model.retires is not None and date.fromisoformat(model.retires) <= _expected_end(case):
        message = (
            f"{model.id} retires on {model.retires}, possibly before this run ends "
            f"({_SOURCE_PAGE}): use another model"
        )
    yield Violation("params.model", message)


def _is_retired(case: RuleContext) -> bool:
    model = case.model
    if model is None:
        return False
    return model.retired or (model.retires is not None and date.fromisoformat(model.retires) <= case.today)


def retired_model(case: RuleContext) -> Iterator[Violation]:
    """Report a retired model."""
    if case.model is not None and _is_retired(case):
        name = str(case.params["model"])
        when = f"was retired on {case.model.retires}" if case.model.retires else "is retired"
        yield Violation("params.model", f"{name} {when} ({_SOURCE_PAGE}): use another model")
