"""One type of source or sink: its function, and what the rest of the program must know about it."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from runner.io_types.limits import Limit


@dataclass(frozen=True, slots=True)
class SourceType:
    """A type of source. The keyword parameters of `function` are its settings.

    `extra` names the optional packages that it needs, `url_extra` those that it needs for its setting `url`. The
    rows of a type that `is_schemaless` may have different fields.
    """

    function: Callable[..., Iterator[tuple[str, int, dict[str, Any]]]]
    extra: str = ""
    url_extra: str = ""
    is_schemaless: bool = False


DESTINATIONS = ("path", "url")
"""The settings that can name the place of a sink."""


@dataclass(frozen=True, slots=True)
class SinkType:
    """A type of sink. The keyword parameters of `function` are its settings.

    `extra` names the optional packages that it needs. Columns of a type that `is_typed` have types; one that
    `is_flat` holds no nested values. `is_self_compressed` means that the file format compresses its files, and
    `is_folder` that the destination is a folder. `destinations` are the settings that can name the place; a spec
    sets exactly one of them. `expressions` returns the columns from its own settings, instead of the setting
    `columns`. `check_value` raises ValueError for a value, of its column's type, that the format cannot hold.
    `limit` says how much text a cell can hold; `find_limits` returns the limits of columns by name, once the sink
    is open. A type that has either has the setting `overflow`. With `has_reason`, a sink without columns has a
    column `reason` too: the type is read by people.
    """

    function: Callable[..., AbstractContextManager[Callable[..., None]]]
    extra: str = ""
    is_typed: bool = False
    is_flat: bool = False
    is_self_compressed: bool = False
    is_folder: bool = False
    destinations: tuple[str, ...] = ("path",)
    expressions: Callable[..., dict[str, str]] | None = None
    check_value: Callable[[Any], Any] | None = None
    limit: Limit | None = None
    find_limits: Callable[..., Mapping[str, Limit]] | None = None
    has_reason: bool = False

    @property
    def can_overflow(self) -> bool:
        """True if cells of this type can be too small for a text."""
        return self.limit is not None or self.find_limits is not None

    def __post_init__(self) -> None:
        """Raise ValueError if a sink of this type would have no place, or one that the runner cannot find."""
        if not self.destinations or not set(self.destinations) <= set(DESTINATIONS):
            raise ValueError(
                f"the destinations of a SinkType must be a tuple of one or more of {', '.join(DESTINATIONS)}, not "
                f"{self.destinations!r}"
            )


def select_options(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a function has a parameter for."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in names}
