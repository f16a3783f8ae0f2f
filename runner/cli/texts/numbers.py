"""Numbers as people read them: sizes, times and amounts."""

import math

from runner.pricing.rates import round_up_cost


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


def format_dollars(amount: float | None) -> str:
    """Format an amount in US dollars, rounded up."""
    if amount is None:
        return "unknown"
    return f"${math.ceil(amount * 100 - 1e-6) / 100:,.2f}" if amount >= 10 else f"${round_up_cost(amount):,.4f}"
