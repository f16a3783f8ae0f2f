"""Words, sizes and times for messages."""

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


def format_size(count: float) -> str:
    """Format a number of bytes with its unit."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def format_duration(seconds: float) -> str:
    """Format a number of seconds, in minutes and hours if it is long."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
