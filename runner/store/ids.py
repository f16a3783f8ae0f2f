"""The ids of runs, which tell when a run began and what it was made of."""

import secrets
import time

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def _base_36(number: int, width: int) -> str:
    digits = ""
    while len(digits) < width:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


def new_id(origin: str) -> str:
    """Thirteen characters: the time, four that tell its origin, and three that let no two runs share an id."""
    return _base_36(int(time.time()), 6) + tag(origin) + _base_36(secrets.randbelow(36**3), 3)


def tag(origin: str) -> str:
    """The four characters in a run's id that stand for a digest of the spec and the input that it was made of."""
    return _base_36(int(origin[:12], 16), 4)


def tag_of(run_id: str) -> str:
    """The tag in a run's id."""
    return run_id[6:10]


def began_at(run_id: str) -> float:
    """When a run began, in Unix seconds, as its id tells. Raises ValueError if it is no run's id."""
    return float(int(run_id[:6], 36))
