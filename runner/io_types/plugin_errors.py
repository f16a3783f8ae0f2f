"""Errors of code of other packages while it runs: each one names the type and its entry point."""

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import extract_tb

from runner.errors import RunnerError
from runner.io_types.plugins import describe_plugin


class PluginError(ValueError):
    """Code of another package raised an exception, or returned a value that it must not return."""


def _describe_error(error: BaseException) -> str:
    """Return the type, the message and the line of an exception."""
    frames = extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


@contextmanager
def name_plugin_errors(group: str, name: str) -> Iterator[None]:
    """Turn exceptions of the code of a type into a PluginError that names the type, the code and the exception.

    Errors of the runner pass unchanged: they say themselves what is wrong.
    """
    try:
        yield
    except RunnerError:
        raise
    except (Exception, SystemExit) as error:
        # Code of another package can raise any exception. After sys.exit(), the command would seem to be done.
        reason = str(error) if isinstance(error, PluginError) else _describe_error(error)
        raise PluginError(f"the type {name!r} failed: {reason}; it is {describe_plugin(group, name)}") from error
