"""Jinja's filters, each with a check of the size of its result, and with its steps counted.

A filter that could differ from one rendering to the next is left out, or refuses such a value.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass
from functools import wraps
from typing import Any

from jinja2 import Environment, pass_environment, pass_eval_context
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.nodes import EvalContext

from runner.templates.budget import STEPS_PER_CALL, Budget
from runner.templates.limits import (
    SizeLimitExceeded,
    check_format,
    check_operation,
    check_size,
    check_width,
    join_texts,
    make_text,
    measure_text,
    replaced_length,
)

Filter = Callable[..., Any]


Check = Callable[..., Any]
"""A function that checks the arguments of a filter, the value first, and returns the value."""

_SHORT_TEXT = 10_000
_MAX_SLOW_CHARS = 4_000_000
_SLOW_CHARS_PER_STEP = 10
_ESCAPE_LENGTH = 5
_LINK_LENGTH = 50
_JSON = json.JSONEncoder(ensure_ascii=False)


# Templates are never rendered asynchronously: the filters behind the ones that ask about that are faster.
_ORIGINALS: dict[str, Filter] = {
    name: value.__wrapped__ if hasattr(value, "jinja_async_variant") else value for name, value in FILTERS.items()
}

_TEXT_ONLY = ("capitalize", "lower", "string", "title", "trim", "upper", "wordcount")
_ITERATING = (
    "groupby", "list", "map", "max", "min", "reject", "rejectattr", "select", "selectattr", "sort", "unique",
)  # fmt: skip


def _check_first(original: Filter, check: Check) -> Filter:
    """Return a filter that passes its arguments to a check first."""
    if getattr(original, "jinja_pass_arg", None) is None:
        return lambda value, *args, **named: original(check(value, *args, **named), *args, **named)

    # Jinja finds in an attribute of the filter what it passes first; `wraps` copies it.
    @wraps(original)
    def checked(context: Any, value: Any, *args: Any, **named: Any) -> Any:
        return original(context, check(value, *args, **named), *args, **named)

    return checked


def _watch_values(budget: Budget, original: Filter) -> Filter:
    """Return a filter that counts the values that it reads."""
    watch = budget.watch_loop
    if not hasattr(original, "jinja_pass_arg"):
        return lambda value, *args, **named: original(watch(value), *args, **named)

    # This also copies the mark that Jinja passes a context to the filter.
    @wraps(original)
    def watched(context: Any, value: Any, *args: Any, **named: Any) -> Any:
        # Each value is passed to another filter or a test.
        if hasattr(value, "__len__"):
            budget.spend(len(value) * STEPS_PER_CALL)
        return original(context, watch(value), *args, **named)

    return watched


def _check_length(budget: Budget, original: Filter) -> Filter:
    """Return a filter of a text that counts the steps for a long one."""

    def checked(value: Any, *args: Any, **named: Any) -> Any:
        if type(value) is not str or len(value) > _SHORT_TEXT:
            budget.spend_on_text(measure_text(budget, value))
        return original(value, *args, **named)

    return checked


@dataclass(frozen=True)
class _Checks:
    """The checks of the arguments of filters: each spends from a budget and returns the value."""

    budget: Budget

    def text(self, value: Any, *_: Any, **__: Any) -> Any:
        self.budget.spend_on_text(measure_text(self.budget, value))
        return value

    def width(self, value: Any, *args: Any, **named: Any) -> Any:
        check_width((*args, *named.values()))
        given = sum(len(one) for one in (*args, *named.values()) if isinstance(one, str))
        self.text(value)
        check_size(len(str(value).splitlines()) * given if given else 0, "an indented text")
        return value

    def groups(self, value: Any, *args: Any, **named: Any) -> Any:
        sizes = (*args, *named.values())
        check_width(sizes)
        self.budget.spend(sum(size for size in sizes if isinstance(size, int)))
        return self.budget.watch_loop(value)

    def items(self, value: Any, *_: Any, **__: Any) -> Any:
        self.budget.spend(len(value) if isinstance(value, Sized) else 1)
        return value

    def escaped(self, value: Any, *_: Any, **__: Any) -> Any:
        check_size(measure_text(self.budget, value) * _ESCAPE_LENGTH, "an escaped text")
        return self.text(value)

    def slow(self, value: Any, *_: Any, **__: Any) -> Any:
        size = measure_text(self.budget, value)
        if size > _MAX_SLOW_CHARS:
            raise SizeLimitExceeded(
                f"a text has {size:,} characters: {_MAX_SLOW_CHARS:,} is the most for this filter"
            )
        self.budget.spend(size // _SLOW_CHARS_PER_STEP)
        return value

    def wrapped(self, value: Any, width: Any = 79, *args: Any, **named: Any) -> Any:
        check_size(len(self.slow(value)) * (1 + _length_of_texts(args, named)), "a wrapped text")
        # A long word is copied once for each of its lines.
        self.budget.spend_on_text(_longest_word(value) ** 2 // max(1, width))
        return value

    def urlized(self, value: Any, *args: Any, **named: Any) -> Any:
        words = len(str(self.slow(value)).split())
        check_size(
            len(str(value)) * 2 + words * (_LINK_LENGTH + _length_of_texts(args, named)), "a text with links"
        )
        self.budget.spend(_longest_word(value) ** 2 // _SLOW_CHARS_PER_STEP)
        return value

    def stripped(self, value: Any, *_: Any, **__: Any) -> Any:
        # The rest of the text is copied for each of its tags.
        self.budget.spend_on_text(str(self.slow(value)).count("<") * len(str(value)))
        return value

    def by_filter(self) -> dict[str, Check]:
        """Return the checks by the name of the filter."""
        return {
            "truncate": self.text,
            **dict.fromkeys(("center", "indent"), self.width),
            **dict.fromkeys(("batch", "slice"), self.groups),
            **dict.fromkeys(("dictsort", "items", "last", "reverse"), self.items),
            **dict.fromkeys(("pprint", "urlencode", "xmlattr"), self.slow),
            **dict.fromkeys(("e", "escape", "forceescape", "safe"), self.escaped),
            "wordwrap": self.wrapped,
            "urlize": self.urlized,
            "striptags": self.stripped,
        }


def _length_of_texts(args: Iterable[Any], named: Mapping[str, Any]) -> int:
    return sum(len(one) for one in (*args, *named.values()) if isinstance(one, str))


def _longest_word(text: Any) -> int:
    return max(map(len, str(text).split()), default=0)


@dataclass(frozen=True)
class _Replacements:
    """The filters that are written again here, since a check before Jinja's own cannot bound them."""

    budget: Budget

    def format_text(self, value: Any, *args: Any, **named: Any) -> Any:
        check_format(self.budget, make_text(self.budget, value), args or named)
        return FILTERS["format"](value, *args, **named)

    @pass_eval_context
    def replace(self, eval_ctx: EvalContext, text: Any, old: Any, new: Any, count: int | None = None) -> Any:
        written = [one if type(one) is str else make_text(self.budget, one) for one in (text, old, new)]
        size = replaced_length(*written)
        check_size(size, "replace")
        self.budget.spend_on_text(size)
        return FILTERS["replace"](eval_ctx, text, old, new, count)

    @pass_eval_context
    def join(self, eval_ctx: EvalContext, value: Any, d: Any = "", attribute: Any = None) -> Any:
        values = self.budget.watch_loop(value)
        if attribute is not None:
            values = map(make_attrgetter(eval_ctx.environment, attribute), values)
        if not eval_ctx.autoescape:
            return join_texts(self.budget, values, make_text(self.budget, d))
        values = list(values)
        join_texts(self.budget, values, str(d))
        return _ORIGINALS["join"](eval_ctx, values, d)

    @pass_environment
    def add(self, environment: Environment, iterable: Any, attribute: Any = None, start: Any = 0) -> Any:
        values = self.budget.watch_loop(iterable)
        if not isinstance(start, list | tuple):
            return _ORIGINALS["sum"](environment, values, attribute, start)
        total = start
        for value in values if attribute is None else map(make_attrgetter(environment, attribute), values):
            check_operation(self.budget, "+", total, value)
            total = total + value
        return total

    def write_json(self, value: Any, indent: int | None = None) -> str:
        check_size((indent or 0) * 10_000_000, "the indent of tojson")
        self.budget.spend_on_text(measure_text(self.budget, value, indent or 0))
        # Jinja's own `tojson` escapes for HTML.
        return _JSON.encode(value) if indent is None else json.dumps(value, ensure_ascii=False, indent=indent)

    def by_filter(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {
            "format": self.format_text,
            "replace": self.replace,
            "join": self.join,
            "sum": self.add,
            "tojson": self.write_json,
        }


def make_filters(budget: Budget) -> dict[str, Filter]:
    """Return the filters that templates can use, by name; those that can repeat something spend from a budget."""
    # `random` would make two renderings of the same row differ.
    filters: dict[str, Filter] = {name: value for name, value in _ORIGINALS.items() if name != "random"}
    filters |= {name: _check_first(_ORIGINALS[name], check) for name, check in _Checks(budget).by_filter().items()}
    filters |= {name: _check_length(budget, _ORIGINALS[name]) for name in _TEXT_ONLY}
    filters |= {name: _watch_values(budget, _ORIGINALS[name]) for name in _ITERATING}
    return filters | _Replacements(budget).by_filter()
