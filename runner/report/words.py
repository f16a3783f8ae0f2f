"""Shares, numbers and times as the report writes them."""

from datetime import UTC, date, datetime


def format_share(part: float, whole: float) -> str:
    """Return a share in per cent: 0 % and 100 % mean none and all."""
    if not whole:
        return "0 %"
    percent = 100 * part / whole
    if 0 < percent < 1 or 99 < percent < 100:
        return "< 1 %" if percent < 1 else "> 99 %"
    return f"{percent:.0f} %"


def format_number(value: float) -> str:
    """Return a number with at most four digits behind the point, or in powers of ten if it is huge."""
    if value and not 1e-4 <= abs(value) < 1e15:
        return f"{value:.3g}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4f}".rstrip("0").rstrip(".")


def format_time(seconds: float | None) -> str:
    """Return a time in Unix seconds as a person in UTC reads it; a dash without one."""
    return "–" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def format_day(ordinal: float) -> str:
    """Return the day with a proleptic ordinal, as in `Spread` of dates."""
    return date.fromordinal(max(1, min(round(ordinal), date.max.toordinal()))).isoformat()
