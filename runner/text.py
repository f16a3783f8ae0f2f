"""Words for messages."""


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun, which is in the plural unless the count is 1."""
    ending = ("es" if noun.endswith("ch") else "s") if count != 1 else ""
    return f"{count:,} {noun}{ending}"
