"""The sandbox of templates and expressions: its globals, filters, size limits and printable values."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import DictLoader, Undefined
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.exceptions import TemplateError, TemplateRuntimeError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range

from runner.templates.limits import (
    SIZE_CHECKED_FILTERS,
    SizeCheckingCodeGenerator,
    check_call,
    check_format_fields,
    check_operation,
    check_size,
    concatenate,
)

RENDER_ERRORS = (
    TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, NameError,
    RecursionError, AssertionError, MemoryError,
)  # fmt: skip
"""The exceptions that a template can raise if it does not fit its data."""


def _tojson(value: Any, indent: int | None = None) -> str:
    check_size((indent or 0) * 10_000_000, "the indent of tojson")
    return json.dumps(value, ensure_ascii=False, indent=indent)


# `random` would make two renderings of the same row differ; Jinja's own `tojson` escapes for HTML.
_FILTERS = {
    **{name: value for name, value in FILTERS.items() if name != "random"},
    **SIZE_CHECKED_FILTERS,
    "tojson": _tojson,
}


TEMPLATE_GLOBALS = {"range": safe_range, "dict": dict, "namespace": DEFAULT_NAMESPACE["namespace"]}
"""The names that every template can use besides those of the row."""


class Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox in which `row.items` is the column `items`, and in which sizes are limited."""

    intercepted_binops = frozenset(("*", "**", "+", "%"))
    code_generator_class = SizeCheckingCodeGenerator
    concatenate = staticmethod(concatenate)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the item of a mapping if there is one, else what Jinja finds."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute an arithmetic operation. Raises SizeLimitExceeded if its result would be too large."""
        check_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063 - as in Jinja
        """Call a function. Raises SizeLimitExceeded if its result would be too large."""
        check_call(__obj, args)
        return super().call(__context, __obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Wrap `str.format` as Jinja does. Raises SizeLimitExceeded for a field that is too wide."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            check_format_fields(value.__self__)
        return wrapped


def _describe_non_data(value: Any) -> str | None:
    """Describe a value that should not be printed as it is, or return None if it is plain data."""
    if value is None or isinstance(value, str | int | float):
        return None
    if isinstance(value, Undefined):
        return "a list or mapping with an undefined value"
    if isinstance(value, dict | list | tuple):
        parts = value.values() if isinstance(value, dict) else value
        return next(filter(None, map(_describe_non_data, parts)), None)
    if callable(value):
        return "a function: call it"
    return f"a {type(value).__name__}, which is not plain data: add |list"


def _check_printable(value: Any) -> Any:
    if isinstance(value, str | int | float | Undefined):
        return value
    if (what := _describe_non_data(value)) is not None:
        raise TemplateRuntimeError(f"cannot print {what}")
    return value


def make_sandbox(texts: Mapping[str, str], undefined: type[Undefined]) -> Sandbox:
    """Return an environment with the templates `texts` by name, where missing values are `undefined`."""
    environment = Sandbox(
        loader=DictLoader(texts),
        undefined=undefined,
        finalize=_check_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals = dict(TEMPLATE_GLOBALS)
    environment.filters = dict(_FILTERS)
    return environment
