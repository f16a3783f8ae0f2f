"""A task, which renders some rows, and the workers that tasks are submitted to."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

from runner.errors import InputError, Interrupted, Problem
from runner.requests.attachments import AttachedFile
from runner.requests.encode import EncodedRequest, RequestEncoder

Jobs = int | str | Executor
"""The place where rows are rendered: a number of processes, the URL of a cluster, or an Executor."""


STOPPED = "stopped before anything of the new run was sent"


Rows = Sequence[Mapping[str, Any]]


class Encoded(NamedTuple):
    """The requests of the rows of a task, with the files that each attaches.

    `problems` are those of the row after them, which ends the rows. `worker` is the machine, if it may be another
    one: what it rejects may be right here.
    """

    requests: list[tuple[EncodedRequest, list[AttachedFile]]]
    problems: tuple[Problem, ...] = ()
    worker: str | None = None


class Workers(NamedTuple):
    """Functions that submit a task and take its result, and how many of them run at a time.

    `take` raises RunnerError if the task could not run. `check` does so if the result may never come.
    """

    submit: Callable[[Rows], "Future[Any]"]
    take: Callable[["Future[Any]"], Encoded]
    check: Callable[[], None]
    at_a_time: int


def encode_rows(
    encode: RequestEncoder,
    variables: Callable[[Mapping[str, Any]], dict[str, Any]],
    attached: list[AttachedFile],
    rows: Rows,
    should_stop: Callable[[], bool],
) -> Encoded:
    """Render rows. `encode` adds the files that a request attaches to `attached`.

    Raises Interrupted as soon as `should_stop` returns True.
    """
    found = list[tuple[EncodedRequest, list[AttachedFile]]]()
    for fields in rows:
        if should_stop():
            raise Interrupted(STOPPED)
        attached.clear()
        try:
            request = encode(variables(fields))
        except InputError as error:
            return Encoded(found, error.problems)
        found.append((request, list(attached)))
    return Encoded(found)
