"""Checks of the receivers that a spec notifies, beyond its JSON schema."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PLACEHOLDERS = ("run", "spec", "event", "id", "exit_code")
"""Names that the arguments of a command can have in braces."""

_WAYS = ("url", "apprise", "command")
_OWNERS = {"secret": "url", "timeout": "command"}
_BRACED = re.compile(r"\{([a-z_]+)\}")
_SECRET_SIZES = range(24, 65)
"""Sizes of a secret in bytes, as Standard Webhooks has them."""


def fill_placeholders(argument: str, values: Mapping[str, str]) -> str:
    """Return an argument of a command with the values of its placeholders."""
    return _BRACED.sub(lambda match: values[match[1]], argument)


def check_receivers(receivers: Sequence[dict[str, Any]], *, has_cap: bool) -> Iterator[tuple[str, str]]:
    """Yield the mistakes in how receivers are reached, as (dotted path, message). None shows an address."""
    for index, one in enumerate(receivers):
        at = f"notify.{index}"
        if sum(way in one for way in _WAYS) != 1:
            yield at, "a receiver needs exactly one of `url`, `apprise` and `command`"
        for name, way in _OWNERS.items():
            if name in one and way not in one:
                yield f"{at}.{name}", f"`{name}` needs a `{way}`, and this receiver has none"
        if "secret" in one and not _is_key(one["secret"]):
            yield f"{at}.secret", f"{at}.secret is not valid: expected whsec_ and 24 to 64 bytes in base64"
        if "at" in one and "spending" not in one["on"]:
            yield f"{at}.at", "`at` is a share of the cost: add `spending` to `on`, or remove it"
        if "spending" in one["on"] and not has_cap:
            yield f"{at}.on", "`spending` needs `limits.max_cost`, of which it is a share"
        yield from _check_arguments(at, one.get("command", ()))


def _is_key(secret: str) -> bool:
    try:
        return len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) in _SECRET_SIZES
    except ValueError:
        return False


def _check_arguments(at: str, command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the arguments that name an unknown placeholder, or cannot be given to a program."""
    for index, argument in enumerate(command):
        unknown = [name for name in _BRACED.findall(argument) if name not in PLACEHOLDERS]
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            remedy = f"expected one of {known}; for other braces, write a script"
            yield f"{at}.command.{index}", f"unknown placeholder {{{unknown[0]}}}: {remedy}"
        if "\0" in argument:
            yield f"{at}.command.{index}", "an argument cannot contain a NUL character"
