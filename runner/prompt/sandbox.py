"""The sandbox that templates and column expressions run in: which names they have, and what they may print."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import DictLoader, Undefined
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.exceptions import TemplateError, TemplateRuntimeError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range

from runner.prompt.limits import BOUNDED, Joining, allow, check_call, check_fields, check_operation, concatenated

DATA_ERRORS = (
    TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, NameError,
    RecursionError, AssertionError, MemoryError,
)  # fmt: skip
"""What a template that does not fit its data can raise."""


def _tojson(value: Any, indent: int | None = None) -> str:
    allow((indent or 0) * 10_000_000, "the indent of tojson")
    return json.dumps(value, ensure_ascii=False, indent=indent)


# `random` would make two renderings of one row differ; Jinja's own `tojson` escapes for HTML.
_FILTERS = {
    **{name: value for name, value in FILTERS.items() if name != "random"},
    **BOUNDED,
    "tojson": _tojson,
}
GLOBALS = {"range": safe_range, "dict": dict, "namespace": DEFAULT_NAMESPACE["namespace"]}
"""The names that every template has besides those of the row."""


class Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox in which `row.items` is the column called items, and in which nothing grows beyond reason."""

    intercepted_binops = frozenset(("*", "**", "+", "%"))
    code_generator_class = Joining
    concatenated = staticmethod(concatenated)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The item of a mapping if there is one, else what Jinja finds."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The result of an arithmetic operation that does not make too much."""
        check_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as Jinja has it
        """The result of a call that does not make too much."""
        check_call(__obj, args)
        return super().call(__context, __obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` with Jinja's care, and fields of a sane width."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            check_fields(value.__self__)
        return wrapped


def _not_data(value: Any) -> str | None:
    """What a value is that Python would print in a way that nobody means, or None if it is plain data."""
    if value is None or isinstance(value, str | int | float):
        return None
    if isinstance(value, Undefined):
        return "a list or mapping with an undefined value"
    if isinstance(value, dict | list | tuple):
        parts = value.values() if isinstance(value, dict) else value
        return next(filter(None, map(_not_data, parts)), None)
    if callable(value):
        return "a function: call it"
    return f"a {type(value).__name__}, which is not data: add |list"


def _printable(value: Any) -> Any:
    if isinstance(value, str | int | float | Undefined):
        return value
    if (what := _not_data(value)) is not None:
        raise TemplateRuntimeError(f"this prints {what}")
    return value


def sandbox(texts: Mapping[str, str], undefined: type[Undefined]) -> Sandbox:
    """An environment whose templates are `texts` by name, and in which what is absent is `undefined`."""
    environment = Sandbox(
        loader=DictLoader(texts),
        undefined=undefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals = dict(GLOBALS)
    environment.filters = dict(_FILTERS)
    return environment
