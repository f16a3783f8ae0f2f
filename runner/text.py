"""Words for messages."""

_MAX_SHOWN = 40


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun, which is in the plural unless the count is 1."""
    ending = ("es" if noun.endswith("ch") else "s") if count != 1 else ""
    return f"{count:,} {noun}{ending}"


def shorten_value(value: object) -> str:
    """Return a value for a message: text is quoted, and a long value is cut."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]!r}…"
    shown = str(value)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"
