"""Events of a run: what the lifecycle reports to whoever started the run. Nothing here prints."""

from collections.abc import Callable
from dataclasses import dataclass, field

from runner.runs.summary import Progress, Summary

EVENTS = {
    "reading": "the source is being read; `rows` counts the rows so far",
    "read": "the whole source is read",
    "counting": "the API is asked for the token counts of a few requests, for the plan",
    "started": "the batches of the run are about to be sent, or followed again",
    "uploading": "files that requests name are uploaded",
    "submitted": "the API has accepted a batch",
    "answered": "some more requests that are sent synchronously were answered",
    "waiting": "nothing can be done before `next_look`",
    "cache": "batches wait for the one that warms the prompt cache, or no longer do",
    "queue": "the API's queue is full, and the next batch waits for room or its turn",
    "ended": "the API has processed a batch",
    "collected": "the results of a batch are on disk",
    "retrying": "a call failed, and is tried again",
    "searching": "it is not known whether a batch was accepted, and the runner looks for it",
    "found": "a batch of which that was not known was found, or is known not to exist",
    "rejected": "the API rejects a batch or a request",
    "round": "rows that can still succeed are sent again",
    "deadline": "the deadline has passed",
    "warning": "something is not as it should be, and the run goes on",
    "notified": "a receiver of `notify` was told of something, or could not be told",
    "writing": "the outputs are being written",
    "unchanged": "the run had finished before, and nothing was sent",
    "finished": "the outputs are written, and the run is finished",
    "stopped": "an error or a signal stops the run; `message` says which, and `exit_code` is that of the command",
}
"""Each event, with its meaning."""


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event of a run: its name, which is one of `EVENTS`, and a line for people that says it.

    `progress` says how far the run is at this moment, and `batch` is the number of the batch that the event is
    about, with its `round`. `next_look` is when the runner looks at its batches next, and `expected_end` when the
    last batch ends if each takes as long as those of this run so far. Both are in Unix seconds, or None if not
    known.
    """

    name: str
    message: str
    progress: Progress
    read_summary: Callable[[], Summary] = field(repr=False, compare=False)
    batch: int | None = None
    round: int | None = None
    next_look: float | None = None
    expected_end: float | None = None

    @property
    def summary(self) -> Summary:
        """The summary of the run; its batches are as they are when it is asked for."""
        return self.read_summary()


ProgressCallback = Callable[[RunEvent], None]
"""Callback that takes every event of a run."""


def ignore_progress(event: RunEvent) -> None:
    """Ignore all events."""
