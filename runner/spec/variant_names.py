"""The name of a variant of a spec: `tickets@haiku` is the variant haiku of tickets."""

_SIGN = "@"
"""No name of a spec has this sign, and no shell reads it in a special way."""


def join_name(name: str, variant: str | None) -> str:
    """Return the name of a variant of a spec, or that of the spec if it has none."""
    return name if variant is None else f"{name}{_SIGN}{variant}"


def split_name(name: str) -> tuple[str, str | None]:
    """Return the name of a spec, and that of its variant, or None."""
    first, sign, variant = name.partition(_SIGN)
    return first, variant if sign else None
