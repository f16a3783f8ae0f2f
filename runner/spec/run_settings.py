"""Settings of how a job is run: batches, retries, limits, synchronous requests, and who is told of it."""

from dataclasses import dataclass, field

from runner.spec.endpoint import BATCH_BYTES


@dataclass(frozen=True, slots=True)
class Batch:
    """Limits of a batch (requests, bytes), and the times for following it (seconds).

    `on_unknown` is stop or resubmit: the action if a batch is not found within `grace_seconds`. In specs
    of version 0.1, stop is called ask.
    """

    max_requests: int = 10_000
    max_bytes: int = BATCH_BYTES
    poll_seconds: float = 60
    grace_seconds: float = 900
    on_unknown: str = "resubmit"


@dataclass(frozen=True, slots=True)
class Retry:
    """The retries: maximum attempts per row, the outcomes to retry, and `repair` of invalid answers.

    `brake` is the share of a round's rows that may fail for the same lasting reason; None if it is off.
    `repair` shows the model its invalid answer. A paused server-tool turn is continued up to round `max_rounds`.
    """

    attempts: int = 3
    on: tuple[str, ...] = ("errored", "expired", "invalid")
    repair: bool = False
    max_rounds: int = 10
    brake: float | None = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run: US dollars and rows."""

    max_cost: float | None = None
    max_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told of the events `on` of a run: a webhook at `url`, an `apprise` address, or a `command`.

    Its addresses and its `secret`, which signs the bodies of a webhook, are kept out of the state and of logs. A
    command may take `timeout` seconds. `at` is the share of `limits.max_cost` at which `spending` happens.
    """

    on: tuple[str, ...]
    url: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    apprise: str | None = field(default=None, repr=False)
    command: tuple[str, ...] = field(default=(), repr=False)
    timeout: float = 600
    at: float = 0.8


@dataclass(frozen=True, slots=True)
class Sync:
    """Settings for synchronous requests: at most `concurrency` are in flight."""

    concurrency: int = 8
