"""Size limits for the texts, lists and numbers that templates make, to protect the machine's memory.

Python builds such a value in a single step that no signal interrupts, so its size is checked beforehand.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from string import Formatter
from typing import Any

from jinja2 import Undefined
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.utils import Namespace

from runner.templates.budget import Budget

MAX_CHARS = 256_000_000
"""Maximum length of a text in characters: the body of a batch cannot have more bytes."""


_MAX_BITS = 20_000


_MAX_WIDTH = 99_999


_CHARS_PER_ELEMENT = 8
"""An element of a list takes as much memory as this many characters."""


_ELEMENTS_PER_STEP = 100


_MANY_CHARS, _MANY_NODES = 1_000_000, 1_000


_CONTAINERS: tuple[Any, ...] = (dict, list, tuple, type({}.keys()), type({}.values()), type({}.items()))
_SEQUENCES, _WITH_METHODS = (str, list, tuple), (str, bytes, list)


_WIDTH_PATTERN = re.compile(r"\d{6,}")


class SizeLimitExceeded(SecurityError):
    """An error: a template would make a value that is too large."""


def check_size(size: float, what: str) -> None:
    """Raise SizeLimitExceeded if a text or list of `size` elements is longer than any request may be."""
    if size > MAX_CHARS:
        raise SizeLimitExceeded(f"{what} would have {size:,.0f} characters or elements: {MAX_CHARS:,} is the most")


def check_operation(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Count the steps of an arithmetic operation. Raises SizeLimitExceeded if its result would be too large."""
    if operator == "*":
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() + right.bit_length())
        for value, times in ((left, right), (right, left)):
            if isinstance(value, str | list | tuple | bytes) and isinstance(times, int):
                _spend_on_result(budget, value, len(value) * times, "a repetition")
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * abs(right))
    elif operator == "+" and isinstance(left, _SEQUENCES) and isinstance(right, _SEQUENCES):
        _spend_on_result(budget, left, len(left) + len(right), "a sum")
    elif operator == "%" and isinstance(left, str):
        check_format(budget, left, right)


def _spend_on_result(budget: Budget, kind: Any, size: int, what: str) -> None:
    """Check the size of a text or list like `kind`, and count the steps for making it."""
    if isinstance(kind, str | bytes):
        check_size(size, what)
        budget.spend_on_text(size)
    else:
        check_size(size * _CHARS_PER_ELEMENT, what)
        budget.spend(size // _ELEMENTS_PER_STEP)


def _check_bits(bits: int) -> None:
    if bits > _MAX_BITS:
        raise SizeLimitExceeded(f"a number would have {bits:,} bits: {_MAX_BITS:,} is the most")


def check_format(budget: Budget, text: str, values: Any = ()) -> None:
    """Raise SizeLimitExceeded if a %-format has a width or precision above 99,999, or its result is too long."""
    given = values if isinstance(values, tuple) else (values,)
    if _WIDTH_PATTERN.search(text) or (
        "*" in text and any(isinstance(value, int) and abs(value) > _MAX_WIDTH for value in given)
    ):
        raise SizeLimitExceeded(f"a format has a width of more than {_MAX_WIDTH:,}")
    size = 0
    for value in given:
        size += len(value) if type(value) is str else measure_text(budget, value)
    size = len(text) + size * (text.count("%") if isinstance(values, dict) else 1)
    check_size(size, "a formatted text")
    budget.spend_on_text(size)


def check_call(budget: Budget, function: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a call, of which iterators are read, and count its steps.

    Raises SizeLimitExceeded if the result of a method of a text or list would be too large.
    """
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if not isinstance(owner, _WITH_METHODS):
        return arguments
    budget.spend_on_text(len(owner))
    if name == "join" and arguments and isinstance(owner, str):
        values = list(budget.watch_loop(arguments[0]))
        size = len(owner) * len(values) + sum(len(part) for part in values if isinstance(part, str))
        check_size(size, "join()")
        budget.spend_on_text(size)
        return (values, *arguments[1:])
    if name in ("ljust", "rjust", "center", "zfill", "expandtabs"):
        tabs = owner.count("\t") if name == "expandtabs" and isinstance(owner, str) else 1
        check_size(max((value for value in arguments if isinstance(value, int)), default=0) * tabs, f"{name}()")
    elif name == "replace" and len(arguments) >= 2 and isinstance(owner, str):
        check_size(replaced_length(owner, *arguments[:2]), "replace()")
    elif name in ("split", "rsplit", "splitlines") and len(owner) > _MANY_CHARS:
        check_size(len(owner) * _CHARS_PER_ELEMENT * 2, f"{name}()")
    return arguments


def check_width(sizes: Iterable[Any]) -> None:
    """Raise SizeLimitExceeded if one of the numbers given to a filter is above 99,999."""
    if any(isinstance(size, int) and size > _MAX_WIDTH for size in sizes):
        raise SizeLimitExceeded(f"a filter is given a size of more than {_MAX_WIDTH:,}")


def replaced_length(text: str, old: Any, new: Any) -> int:
    """Return the length of a text after a replacement."""
    if not (isinstance(old, str) and isinstance(new, str)):
        return 0
    return len(text) + (text.count(old) if old else len(text) + 1) * (len(new) - len(old))


def check_format_fields(budget: Budget, text: str, values: Sequence[Any]) -> None:
    """Raise SizeLimitExceeded if the result of a `str.format` text is too long.

    Its fields may not have a width that is computed or above 99,999.
    """
    for _, _, spec, _ in Formatter().parse(text):
        if spec and ("{" in spec or _WIDTH_PATTERN.search(spec)):
            raise SizeLimitExceeded(f"a format has a width that is computed, or is more than {_MAX_WIDTH:,}")
    size = len(text) + text.count("{") * max((measure_text(budget, value) for value in values), default=0)
    check_size(size, "a formatted text")
    budget.spend_on_text(size)


def measure_text(budget: Budget, value: Any, indent: int = 0) -> int:
    """Return about how many characters a value has as text, without making it.

    Raises SizeLimitExceeded if they are too many, and TemplateRuntimeError for a value whose text would differ
    from one rendering to the next, such as that of a generator.
    """
    if type(value) is str:
        return len(value)
    size, level, depth, nodes = 0, [value], 0, 0
    while level:
        inner: list[Any] = []
        for one in level:
            kind = type(one)
            if kind is str:
                size += len(one)
            elif kind is float or kind is bool or one is None:
                size += 20
            elif kind is int:
                size += one.bit_length() // 3 + 4
            elif isinstance(one, _CONTAINERS):
                nodes += len(one) + 1
                if nodes > _MANY_NODES:
                    budget.spend(nodes)
                    nodes = 0
                size += (len(one) + 1) * (4 + indent * depth)
                inner.extend(one)
                if isinstance(one, dict):
                    inner.extend(one.values())
            elif isinstance(one, str):
                size += len(one)
            else:
                size += 30
                _check_stable(one)
        check_size(size, "a text")
        level, depth = inner, depth + 1
    return size


def _check_stable(value: Any) -> None:
    """Raise TemplateRuntimeError for a value whose text has an address in memory, or no certain order."""
    if value is None or isinstance(value, float | Undefined):
        return
    if isinstance(value, Iterator):
        raise TemplateRuntimeError(f"cannot print a {type(value).__name__}, which is not plain data: add |list")
    if isinstance(value, set | frozenset):
        raise TemplateRuntimeError("cannot print a set, which has no order: add |sort")
    if callable(value):
        raise TemplateRuntimeError("cannot print a function: call it")
    kind: Any = type(value)
    # The text of a namespace contains those of its values.
    if kind is Namespace or (kind.__repr__ is object.__repr__ and kind.__str__ is object.__str__):
        raise TemplateRuntimeError(f"cannot print a {kind.__name__}, which is not plain data")


def make_text(budget: Budget, value: Any) -> str:
    """Return the text of any value. Raises SizeLimitExceeded, and TemplateRuntimeError for a generator."""
    measure_text(budget, value)
    return str(value)


def join_texts(budget: Budget, parts: Iterable[Any], separator: str = "") -> str:
    """Join values as one text. Raises SizeLimitExceeded."""
    texts = [part if type(part) is str else make_text(budget, part) for part in parts]
    size = sum(map(len, texts)) + len(separator) * len(texts)
    check_size(size, "a text")
    budget.spend_on_text(size)
    return separator.join(texts)


def join_pieces(pieces: Iterable[str]) -> str:
    """Join the pieces of a rendering as one text. Raises SizeLimitExceeded."""
    texts = list(pieces)
    check_size(sum(map(len, texts)), "the text")
    return "".join(texts)
