"""Size limits for the texts, lists and numbers that templates make, to protect the machine's memory.

Python builds such a value in a single step that no signal interrupts, so its size is checked beforehand.
"""

import re
from collections.abc import Callable, Iterable
from string import Formatter
from typing import Any

from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.nodes import Concat

MAX_CHARS = 256_000_000
"""Maximum length of a text in characters: the body of a batch cannot have more bytes."""


_MAX_BITS = 20_000


_MAX_WIDTH = 99_999


_WIDTH_PATTERN = re.compile(r"\d{6,}")


class SizeLimitExceeded(SecurityError):
    """An error: a template would make a value that is too large."""


def check_size(size: float, what: str) -> None:
    """Raise SizeLimitExceeded if a text or list of `size` elements is longer than any request may be."""
    if size > MAX_CHARS:
        raise SizeLimitExceeded(f"{what} would have {size:,.0f} characters or elements: {MAX_CHARS:,} is the most")


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Raise SizeLimitExceeded if the result of an arithmetic operation would be too large."""
    if operator == "*":
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() + right.bit_length())
        for value, times in ((left, right), (right, left)):
            if isinstance(value, str | list | tuple | bytes) and isinstance(times, int):
                check_size(len(value) * times, "a repetition")
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * abs(right))
    elif operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
        check_size(len(left) + len(right), "a sum")
    elif operator == "%" and isinstance(left, str):
        check_format(left, right)


def _check_bits(bits: int) -> None:
    if bits > _MAX_BITS:
        raise SizeLimitExceeded(f"a number would have {bits:,} bits: {_MAX_BITS:,} is the most")


def check_format(text: str, values: Any = ()) -> None:
    """Raise SizeLimitExceeded if a %-format has a width or precision above 99,999."""
    values = values if isinstance(values, tuple) else (values,)
    if _WIDTH_PATTERN.search(text) or any(
        isinstance(value, int) and abs(value) > _MAX_WIDTH for value in values if "*" in text
    ):
        raise SizeLimitExceeded(f"a format has a width of more than {_MAX_WIDTH:,}")


def check_call(function: Any, arguments: Iterable[Any]) -> None:
    """Raise SizeLimitExceeded if the result of a method of a text or list would be too large."""
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if not isinstance(owner, str | bytes | list):
        return
    given = list(arguments)
    if name in ("ljust", "rjust", "center", "zfill", "expandtabs"):
        tabs = owner.count("\t") if name == "expandtabs" and isinstance(owner, str) else 1
        check_size(max((value for value in given if isinstance(value, int)), default=0) * tabs, f"{name}()")
    elif name == "replace" and len(given) >= 2 and isinstance(owner, str):
        check_size(_replaced_length(owner, *given[:2]), "replace()")
    elif name == "join" and given and isinstance(given[0], list | tuple):
        check_size(
            len(owner) * len(given[0]) + sum(len(part) for part in given[0] if isinstance(part, str)), "join()"
        )


def _replaced_length(text: str, old: Any, new: Any) -> int:
    """Return the length of a text after a replacement."""
    if not (isinstance(old, str) and isinstance(new, str)):
        return 0
    return len(text) + (text.count(old) if old else len(text) + 1) * (len(new) - len(old))


def check_format_fields(text: str) -> None:
    """Raise SizeLimitExceeded if a `str.format` text has a field whose width is computed or above 99,999."""
    for _, _, spec, _ in Formatter().parse(text):
        if spec and ("{" in spec or _WIDTH_PATTERN.search(spec)):
            raise SizeLimitExceeded(f"a format has a width that is computed, or is more than {_MAX_WIDTH:,}")


class SizeCheckingCodeGenerator(CodeGenerator):
    """A code generator that compiles `a ~ b` to a call that checks the size first."""

    def visit_Concat(self, node: Concat, frame: Frame) -> None:  # noqa: N802 - as Jinja has it
        """Write the call to `concatenate`."""
        self.write("environment.concatenate((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


def concatenate(parts: Iterable[Any]) -> str:
    """Join values as one text. Raises SizeLimitExceeded."""
    texts = [str(part) for part in parts]
    check_size(sum(map(len, texts)), "a text")
    return "".join(texts)


def join_pieces(pieces: Iterable[str]) -> str:
    """Join the pieces of a rendering as one text. Raises SizeLimitExceeded."""
    texts, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_CHARS:
            check_size(size, "the text")
        texts.append(piece)
    return "".join(texts)


def _make_size_checked(name: str) -> Callable[..., Any]:
    """Return a Jinja filter that first checks its integer arguments, which are sizes."""
    original = FILTERS[name]
    pass_arg = getattr(original, "jinja_pass_arg", None)

    def bounded(*arguments: Any, **named: Any) -> Any:
        sizes = [*arguments[1 if pass_arg is None else 2 :], *named.values()]
        if any(isinstance(size, int) and size > _MAX_WIDTH for size in sizes):
            raise SizeLimitExceeded(f"the filter {name} is given a size of more than {_MAX_WIDTH:,}")
        return original(*arguments, **named)

    if pass_arg is not None:
        bounded.jinja_pass_arg = pass_arg  # type: ignore[attr-defined]
    return bounded


def _format_filter(value: Any, *arguments: Any, **named: Any) -> Any:
    check_format(str(value), arguments or tuple(named.values()))
    return FILTERS["format"](value, *arguments, **named)


def _replace_filter(eval_ctx: Any, text: Any, old: Any, new: Any, count: int | None = None) -> Any:
    check_size(_replaced_length(str(text), str(old), str(new)), "replace")
    return FILTERS["replace"](eval_ctx, text, old, new, count)


_replace_filter.jinja_pass_arg = FILTERS["replace"].jinja_pass_arg  # type: ignore[attr-defined]


SIZE_CHECKED_FILTERS = {
    "format": _format_filter,
    "replace": _replace_filter,
    **{name: _make_size_checked(name) for name in ("center", "indent", "batch", "slice")},
}
"""Jinja filters whose results could be too large, with a check of the size before each."""
