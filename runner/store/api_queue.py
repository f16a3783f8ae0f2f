"""The API's queue of requests in processing, as all runs of a state share it.

The API limits their number for an organization, does not tell it (platform.claude.com, rate limits, 2026-08), and
refuses a create only after its whole body is sent. So the state remembers the last refusal, and which runs wait.
If that is lost, one more create is refused.
"""

from dataclasses import dataclass
from typing import NamedTuple

from runner.store.connection import Connection
from runner.store.records import Run

_HOUR, _DAY = 3_600, 86_400
_FIRST_PAUSE, _LONGEST_PAUSE = 5, 60
"""Pauses between two creates that would fill the queue as much as a refused one, in polls."""

_LONGEST_WAIT = _LONGEST_PAUSE * 3600
"""The longest pause of a run, which polls each hour, in seconds. What is later is of a clock that was set back."""

_MOST_REFUSALS = 10

# Nobody looks at the batches of an abandoned run. Most batches end within an hour (platform.claude.com, batch
# processing, 2026-08), canceled ones within minutes, and all within a day.
_COUNT = (
    "SELECT run.id, SUM(batch.requests) FROM batch JOIN run ON run.number = batch.run WHERE batch.queue = ?"
    " AND batch.state IN ('submitting', 'submitted')"
    " AND batch.intent_at > CASE WHEN run.state = 'abandoned' THEN ? ELSE ? END"
    " AND NOT (run.state = 'abandoned' AND run.is_canceled = ?) GROUP BY run.id ORDER BY run.id"
)
_FIND = "SELECT refused, refusals, until FROM queue WHERE name = ?"
# A lock on the row, which both databases have: runs decide one after the other.
_LOCK = "UPDATE queue SET until = until WHERE name = ?"
_RECORD = (
    "INSERT INTO queue (name, refused, refusals, until) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE"
    " SET refused = excluded.refused, refusals = excluded.refusals, until = excluded.until"
)
_LINE = (
    "SELECT run.id, queue_wait.since, queue_wait.wants FROM queue_wait JOIN run ON run.number = queue_wait.run"
    " WHERE queue_wait.queue = ? AND queue_wait.until > ? AND queue_wait.until <= ?"
)
_WAIT = (
    "INSERT INTO queue_wait (queue, run, wants, since, until) VALUES (?, ?, ?, ?, ?) ON CONFLICT (queue, run)"
    " DO UPDATE SET wants = excluded.wants, since = excluded.since, until = excluded.until"
)
_OF_RUN = (
    "SELECT queue FROM batch WHERE run = ?1 AND queue IS NOT NULL AND state IN ('submitting', 'submitted')"
    " UNION SELECT queue FROM queue_wait WHERE run = ?1 ORDER BY queue"
)
_ACCOUNTS = (
    "SELECT DISTINCT account FROM batch WHERE queue = ? AND state IN ('submitting', 'submitted')"
    " AND account IS NOT NULL ORDER BY account"
)
_LARGEST = (
    "SELECT MAX(batch.requests) FROM batch JOIN run ON run.number = batch.run WHERE batch.state = 'prepared'"
    " AND run.state = 'running'"
)
_LEAVE = "DELETE FROM queue_wait WHERE queue = ? AND run = ?"


class Refusal(NamedTuple):
    """The fewest requests that the API refused, with all that were in processing, and how often in a row.

    A create that would fill the queue as much is not tried before `until`.
    """

    requests: int
    refusals: int
    until: float

    def is_due(self, now: float) -> bool:
        """Return whether a create that may be refused is tried."""
        return not now < self.until <= now + _LONGEST_WAIT

    def pause(self, poll_seconds: float) -> float:
        """Return the seconds until a create that would be refused is tried again."""
        return poll_seconds * min(_FIRST_PAUSE << self.refusals, _LONGEST_PAUSE)


class Place(NamedTuple):
    """The place of a run among those that wait: the fewest requests in processing first, then the longest wait."""

    in_processing: int
    since: float
    run: str


class Turn(NamedTuple):
    """The answer to a run that wants to try a create: `may_go` tells if it may now.

    Otherwise `first` is the run whose turn it is, if that is why. `own` is the place of the run that asks,
    `in_processing` the number of requests of all runs, and `seconds` the time until a create is tried that may be
    refused.
    """

    may_go: bool
    own: Place
    in_processing: int = 0
    seconds: float = 0.0
    first: Place | None = None


@dataclass(frozen=True, slots=True)
class FullQueue:
    """A queue that is known to be full, and when a create is tried in any case, in Unix seconds.

    A smaller create, or one after a batch has ended, is tried before. `accounts` are those that its batches were
    sent with, `runs` has the requests of each run in it, and `waiting` are the runs that wait for room.
    """

    name: str
    accounts: list[str]
    requests: int
    runs: dict[str, int]
    waiting: list[str]
    next_try: float


class ApiQueue:
    """The queues of the API by their names, as far as the state knows them, by the clock of the database."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    def is_full(self, name: str) -> bool:
        """Return whether a create was refused, and none of as many requests accepted since."""
        return self._find(name) is not None

    def count(self, name: str) -> dict[str, int]:
        """Return the number of requests in processing of each run, by its id."""
        now = self._db.read_time()
        found = self._db.execute(_COUNT, (name, now - _HOUR, now - _DAY, True))
        return {run: int(requests) for run, requests in found}

    def take_turn(self, name: str, run: Run, requests: int, *, poll_seconds: float, alive_for: float) -> Turn:
        """Return whether a run may try a create of so many requests now.

        The room that those before it in the line want is left to them, for `alive_for` seconds after they looked,
        but for those that want as much as was refused.
        """
        with self._db.transaction(is_short=True):
            refusal, now, counts = self._lock(name), self._db.read_time(), self.count(name)
            line = {
                id: (since, wants)
                for id, since, wants in self._db.execute(_LINE, (name, now, now + _LONGEST_WAIT))
            }
            own = Place(counts.get(run.id, 0), line.pop(run.id, (now, 0))[0], run.id)
            if refusal is None:
                return Turn(may_go=True, own=own)
            self._db.execute(_WAIT, (name, run.number, requests, own.since, now + alive_for))
            # Nobody waits for a batch that alone may be too large: it may never be accepted.
            fitting = {id: one for id, one in line.items() if one[1] < refusal.requests}
            places = (Place(counts.get(id, 0), since, id) for id, (since, _) in fitting.items())
            before = sorted(place for place in places if place < own)
            total = sum(counts.values())
            room, is_due = refusal.requests - total - requests, refusal.is_due(now)
            has_room = room > sum(line[place.run][1] for place in before)
            if not before and is_due and not has_room:
                # While this run tries, no other one does.
                self._record(name, refusal._replace(until=now + refusal.pause(poll_seconds)))
            may_go = has_room or (not before and is_due)
            first = before[0] if before and not may_go and (room > 0 or is_due) else None
            return Turn(may_go, own, total, refusal.until - now, first)

    def refuse(self, name: str, run: Run, requests: int, *, poll_seconds: float, pause: float | None) -> float:
        """Record that the API has refused a create, and return the seconds until one like it is tried again.

        With a given `pause`, nothing of ours is in the queue, and the run makes room for others meanwhile.
        """
        with self._db.transaction(is_short=True):
            refusal, now = self._lock(name), self._db.read_time()
            total = sum(self.count(name).values()) + requests
            known = Refusal(total, 0, now) if refusal is None else refusal
            seconds = known.pause(poll_seconds) if pause is None else pause
            refusals = known.refusals + (pause is None)
            self._record(name, Refusal(min(known.requests, total), min(refusals, _MOST_REFUSALS), now + seconds))
            if pause is not None:
                self._db.execute(_LEAVE, (name, run.number))
            return seconds

    def accept(self, name: str, run: Run, *, poll_seconds: float) -> None:
        """Take a run out of the line after its create, and forget the limit if it should have been refused.

        Not the first time in a row: a batch may have ended that nobody has looked at yet, so a poll is awaited.
        """
        with self._db.transaction(is_short=True):
            refusal = self._lock(name)
            self._db.execute(_LEAVE, (name, run.number))
            if refusal is None or sum(self.count(name).values()) < refusal.requests:
                return
            if refusal.refusals:
                self._record(name, refusal._replace(refusals=0, until=self._db.read_time() + poll_seconds))
            else:
                self._db.execute("DELETE FROM queue WHERE name = ?", (name,))
                # Nobody waits any more, so nobody leaves either.
                self._db.execute("DELETE FROM queue_wait WHERE queue = ?", (name,))

    def find_full(self, run: Run) -> list[FullQueue]:
        """Return the queues known to be full in which a run has requests, or for which it waits."""
        names, now = [name for (name,) in self._db.execute(_OF_RUN, (run.number,))], self._db.read_time()
        return [found for name in names if (found := self._describe(name, now)) is not None]

    def _describe(self, name: str, now: float) -> FullQueue | None:
        refusal, runs = self._find(name), self.count(name)
        waiting = sorted(run for run, *_ in self._db.execute(_LINE, (name, now, now + _LONGEST_WAIT)))
        # Nothing is kept back any more if no run waits, and the next create is tried.
        if refusal is None or not (waiting or self._keeps_back(refusal, sum(runs.values()), now)):
            return None
        accounts = [account for (account,) in self._db.execute(_ACCOUNTS, (name,))]
        return FullQueue(name, accounts, sum(runs.values()), runs, waiting, refusal.until)

    def _keeps_back(self, refusal: Refusal, total: int, now: float) -> bool:
        """Return whether there is a batch to send, by any run, that would not be tried now."""
        (largest,) = self._db.execute(_LARGEST).fetchone()
        return largest is not None and total + largest >= refusal.requests and not refusal.is_due(now)

    def leave(self, name: str, run: Run) -> None:
        """Take a run out of the line."""
        self._db.execute(_LEAVE, (name, run.number))

    def _lock(self, name: str) -> Refusal | None:
        self._db.execute(_LOCK, (name,))
        return self._find(name)

    def _find(self, name: str) -> Refusal | None:
        found = self._db.execute(_FIND, (name,)).fetchone()
        return None if found is None else Refusal(*found)

    def _record(self, name: str, refusal: Refusal) -> None:
        self._db.execute(_RECORD, (name, *refusal))
