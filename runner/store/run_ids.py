"""Run ids, which encode when a run began and the digest of its origin."""

import secrets
import time

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def _to_base_36(number: int, width: int) -> str:
    digits = ""
    while len(digits) < width:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


def new_run_id(origin: str) -> str:
    """Return 13 characters: six for the time, four for the origin, and three at random to be unique."""
    return _to_base_36(int(time.time()), 6) + origin_tag(origin) + _to_base_36(secrets.randbelow(36**3), 3)


def origin_tag(origin: str) -> str:
    """Return the four characters of a run id that stand for `origin`, the digest of its spec and input."""
    return _to_base_36(int(origin[:12], 16), 4)


def parse_tag(run_id: str) -> str:
    """Return the tag in a run id."""
    return run_id[6:10]


def parse_created_at(run_id: str) -> float:
    """Return when a run began, in Unix seconds, from its id. Raises ValueError for an invalid id."""
    return float(int(run_id[:6], 36))
