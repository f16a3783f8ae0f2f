"""A sink of another package, whose exceptions become errors that name it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial, wraps
from types import TracebackType
from typing import Any

from runner.io_types.limits import Limit
from runner.io_types.plugin_errors import PluginError, name_plugin_errors
from runner.io_types.plugins import SINK_GROUP
from runner.io_types.types import SinkType


class _GuardedSink:
    """A sink, opened by `open_sink` at the beginning of the context."""

    def __init__(self, name: str, open_sink: Callable[[], AbstractContextManager[Callable[..., None]]]) -> None:
        self._name, self._open_sink = name, open_sink
        self._sink: AbstractContextManager[Callable[..., None]] | None = None

    def __enter__(self) -> Callable[..., None]:
        """Return the function that writes one row. Raises PluginError."""
        with name_plugin_errors(SINK_GROUP, self._name):
            sink = self._open_sink()
            write = sink.__enter__()
            self._sink = sink

        def write_copy(values: list[Any]) -> None:
            # The other sinks get the same values, and this one could change them.
            write(deepcopy(values))

        return _guard_call(self._name, write_copy)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the sink. Raises PluginError."""
        if self._sink is not None:
            with name_plugin_errors(SINK_GROUP, self._name):
                self._sink.__exit__(kind, error, trace)


def _guard_call(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*values: Any, **settings: Any) -> Any:
        with name_plugin_errors(SINK_GROUP, name):
            return function(*values, **settings)

    return call


def _guard_function(name: str, function: Callable[..., Any]) -> Callable[..., _GuardedSink]:
    @wraps(function)
    def open_guarded(*values: Any, **settings: Any) -> _GuardedSink:
        return _GuardedSink(name, partial(function, *values, **settings))

    return open_guarded


def _guard_expressions(name: str, function: Callable[..., Any]) -> Callable[..., dict[str, str]]:
    @wraps(function)
    def expressions(**settings: Any) -> dict[str, str]:
        with name_plugin_errors(SINK_GROUP, name):
            found = function(**settings)
            if not isinstance(found, dict) or not all(
                isinstance(text, str) for pair in found.items() for text in pair
            ):
                raise PluginError(f"`expressions` must return texts by the names of columns, not {found!r}")
        return found

    return expressions


def _guard_check(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    guarded = _guard_call(name, function)

    def check(value: Any) -> Any:
        try:
            return guarded(value)
        except PluginError as error:
            # The function says with a ValueError which value the format cannot hold.
            raise (error.__cause__ if isinstance(error.__cause__, ValueError) else error) from error

    return check


@dataclass(frozen=True, slots=True)
class _GuardedLimit:
    """A limit of another package."""

    check: Callable[[Any], Any]
    cut: Callable[[Any], Any]


def _guard_limit(name: str, limit: Limit) -> Limit:
    return _GuardedLimit(_guard_check(name, limit.check), _guard_check(name, limit.cut))


def _guard_limits(name: str, function: Callable[..., Mapping[str, Limit]]) -> Callable[..., Mapping[str, Limit]]:
    @wraps(function)
    def find_limits(*values: Any, **settings: Any) -> Mapping[str, Limit]:
        with name_plugin_errors(SINK_GROUP, name):
            return {column: _guard_limit(name, one) for column, one in function(*values, **settings).items()}

    return find_limits


def guard_sink(name: str, kind: SinkType) -> SinkType:
    """Return a type of another package whose exceptions become a PluginError."""
    return replace(
        kind,
        function=_guard_function(name, kind.function),
        expressions=None if kind.expressions is None else _guard_expressions(name, kind.expressions),
        check_value=None if kind.check_value is None else _guard_check(name, kind.check_value),
        limit=None if kind.limit is None else _guard_limit(name, kind.limit),
        find_limits=None if kind.find_limits is None else _guard_limits(name, kind.find_limits),
    )
