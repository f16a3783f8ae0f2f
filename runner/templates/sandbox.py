"""The sandbox of templates and expressions: its globals, filters, size limits and printable values."""

from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, Sized
from typing import Any

from jinja2 import DictLoader, Undefined
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.exceptions import TemplateError, TemplateRuntimeError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range

from runner.templates.budget import STEPS_PER_CALL, Budget
from runner.templates.code_generator import BoundedCodeGenerator
from runner.templates.filters import make_filters
from runner.templates.limits import (
    check_call,
    check_format_fields,
    check_operation,
    join_pieces,
    join_texts,
    measure_text,
)

RENDER_ERRORS = (
    TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, NameError,
    RecursionError, AssertionError, MemoryError,
)  # fmt: skip
"""The exceptions that a template can raise if it does not fit its data."""


# Tuples, because `isinstance` takes three times as long with a union.
_SCALARS, _PRINTABLE = (str, int, float), (str, int, float, Undefined)


TEMPLATE_GLOBALS = {"range": safe_range, "dict": dict, "namespace": DEFAULT_NAMESPACE["namespace"]}
"""The names that every template can use besides those of the row."""


class Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox in which `row.items` is the column `items`, and in which sizes, steps and time are limited."""

    intercepted_binops = frozenset(("*", "**", "+", "%", "-"))
    code_generator_class = BoundedCodeGenerator
    concat = staticmethod(join_pieces)
    budget: Budget

    def concatenate(self, parts: Iterable[Any]) -> str:
        """Join the parts of `a ~ b`. Raises SizeLimitExceeded."""
        return join_texts(self.budget, parts)

    def watch_slice(self, value: Any) -> Any:
        """Return a value of which a slice is taken, and count the steps of its copy."""
        if isinstance(value, Sized):
            self.budget.spend_on_text(len(value))
        return value

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the item of a mapping if there is one, else what Jinja finds."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return what Jinja says, except for `dict.update` and the like, which could change a row or variable."""
        if isinstance(obj, type) and attr != "fromkeys":
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute an arithmetic operation. Raises SizeLimitExceeded if its result would be too large."""
        check_operation(self.budget, operator, left, right)
        if operator == "-" and (isinstance(left, KeysView | ItemsView) or isinstance(right, KeysView | ItemsView)):
            # A set would be in another order in each process, also one made from a list and the keys of a mapping.
            unwanted = set(right)
            return [item for item in left if item not in unwanted]
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063 - as in Jinja
        """Call a function. Raises SizeLimitExceeded if its result would be too large."""
        __self.budget.spend(STEPS_PER_CALL)
        if isinstance(__obj, LoopContext) and args:
            args = (__self.budget.watch_loop(args[0]), *args[1:])
        elif args:
            args = check_call(__self.budget, __obj, args)
        return super().call(__context, __obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Wrap `str.format` as Jinja does. Raises SizeLimitExceeded for a result that is too long."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def checked(*args: Any, **named: Any) -> str:
            check_format_fields(self.budget, value.__self__, (*args, *named.values()))
            return wrapped(*args, **named)

        return checked


def _describe_non_data(value: Any) -> str | None:
    """Describe a value that should not be printed as it is, or return None if it is plain data."""
    if value is None or isinstance(value, _SCALARS):
        return None
    if isinstance(value, Undefined):
        return "a list or mapping with an undefined value"
    if isinstance(value, (dict, list, tuple)):
        parts = value.values() if isinstance(value, dict) else value
        return next(filter(None, map(_describe_non_data, parts)), None)
    if callable(value):
        return "a function: call it"
    return f"a {type(value).__name__}, which is not plain data: add |list"


def _make_printable_check(budget: Budget) -> Callable[[Any], Any]:
    def check_printable(value: Any) -> Any:
        if type(value) is str or isinstance(value, _PRINTABLE):
            return value
        measure_text(budget, value)
        if (what := _describe_non_data(value)) is not None:
            raise TemplateRuntimeError(f"cannot print {what}")
        return value

    return check_printable


def make_sandbox(texts: Mapping[str, str], undefined: type[Undefined]) -> Sandbox:
    """Return an environment with the templates `texts` by name, where missing values are `undefined`."""
    budget = Budget()
    environment = Sandbox(
        loader=DictLoader(texts),
        undefined=undefined,
        finalize=_make_printable_check(budget),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        # Jinja computes constants again at each level of nesting: an expression of 300 levels took 12 seconds.
        optimized=False,
        cache_size=-1,
    )
    environment.budget = budget
    environment.globals = dict(TEMPLATE_GLOBALS)
    environment.filters = make_filters(budget)
    return environment
