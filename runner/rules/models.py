"""Rules about models that are unknown, deprecated or retired."""

from collections.abc import Iterator
from datetime import date, timedelta

from runner.cost import catalogue
from runner.rules.case import Case, Mistake
from runner.spec.check import suggest

_PAGE = "platform.claude.com, model deprecations, 2026-08, and release notes"


def unknown_model(case: Case) -> Iterator[Mistake]:
    """Report a model whose price and limits are unknown."""
    if case.model is None:
        known = [model.id for model in catalogue().models if not model.retired]
        name = str(case.params["model"])
        message = (
            f"{name} is not in the price list of {catalogue().dated}, so its price and limits are unknown: "
            f"{suggest(name, known)} (set its price with `prices` in the spec)"
        )
        yield Mistake("params.model", message)


def _end(case: Case) -> date:
    """Return the day by which the run should have ended."""
    attempts = case.spec.retry.attempts if case.is_batched else 1
    return case.today + timedelta(seconds=case.spec.deadline or 86_400 * attempts)


def deprecated_model(case: Case) -> Iterator[Mistake]:
    """Report a deprecated model that is not retired yet."""
    model = case.model
    if model is None or model.deprecated is None or _is_gone(case):
        return
    when = f"retires on {model.retires}" if model.retires else "is deprecated"
    message = f"{model.id} {when} ({_PAGE}): plan to use another model"
    if model.retires is not None and date.fromisoformat(model.retires) <= _end(case):
        message = (
            f"{model.id} retires on {model.retires}, possibly before this run ends ({_PAGE}): use another model"
        )
    yield Mistake("params.model", message)


def _is_gone(case: Case) -> bool:
    model = case.model
    if model is None:
        return False
    return model.retired or (model.retires is not None and date.fromisoformat(model.retires) <= case.today)


def retired_model(case: Case) -> Iterator[Mistake]:
    """Report a retired model."""
    if case.model is not None and _is_gone(case):
        yield Mistake("params.model", f"{case.model.id} is retired ({_PAGE}): use another model")
