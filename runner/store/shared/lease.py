"""Leases on the specs of a project, in a database that several machines share.

A lease ends if it is not renewed, since a machine may be gone for good. But whoever held it may only be suspended.
So it is renewed or confirmed before anything is sent, and each transaction looks for it right before its COMMIT,
with a lock on its row that a take-over waits for.
"""

import math
import os
import secrets
import threading
from collections.abc import Iterable
from contextlib import closing, suppress
from functools import partial
from typing import NamedTuple

from runner.errors import StateError, StateLocked, UsageError
from runner.spec.variant_names import split_name
from runner.store.lock import describe_self, read_clock
from runner.store.place import StatePlace
from runner.store.shared.postgres import SCHEMA_VERSION, PostgresConnection

_VARIABLE, _LEASE_SECONDS, _MAX_LEASE_SECONDS = "RUNNER_LEASE_SECONDS", 60, 3600
_GRACE_SHARE = 1 / 6
"""The part of a lease for which nobody takes it over after its end: what left before may still arrive."""

_UNTIL = "now() + make_interval(secs => ?)"
_TAKE = (
    "INSERT INTO lease (project, spec, owner, holder, version, fence, until)"
    f" SELECT ?, ?, ?, ?, version, 1, {_UNTIL} FROM state_version WHERE version = ?"
    " ON CONFLICT (project, spec) DO UPDATE SET owner = excluded.owner, holder = excluded.holder,"
    " version = excluded.version, fence = lease.fence + 1, until = excluded.until"
    " WHERE lease.until + make_interval(secs => ?) < now() RETURNING fence"
)
_RENEW = f"UPDATE lease SET until = {_UNTIL} WHERE project = ? AND owner = ? RETURNING spec"
_CONFIRM = "SELECT spec FROM lease WHERE project = ? AND owner = ? FOR SHARE"
# Without an owner, a lease is renewed no more: neither with the others, nor by a renewal that is under way.
_RELEASE = "UPDATE lease SET until = 'epoch', owner = '' WHERE project = ? AND owner = ?"
_DROP = f"{_RELEASE} AND spec = ?"
_OTHERS = (
    "SELECT spec, holder FROM lease"
    " WHERE project = ? AND owner <> ? AND until + make_interval(secs => ?) >= now() ORDER BY spec"
)
_PROJECT = ""
"""The name in the place of a spec's of the lease on a whole project, which is held while it is moved."""
_HOLDER = (
    "SELECT holder, to_char(until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM lease"
    " WHERE project = ? AND spec = ? AND until + make_interval(secs => ?) >= now()"
)


def read_seconds() -> tuple[float, float]:
    """Return how long a lease lasts, and for how long after it nobody takes it over. Raises UsageError."""
    text = os.environ.get(_VARIABLE) or str(_LEASE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= _MAX_LEASE_SECONDS:
        raise UsageError(f"{_VARIABLE} is {text!r}: it must be a number from 1 to {_MAX_LEASE_SECONDS}")
    return seconds, seconds * _GRACE_SHARE


def _find_holder(connection: PostgresConnection, spec: str) -> str | None:
    values = (connection.project, split_name(spec)[0], read_seconds()[1])
    found = connection.execute(_HOLDER, values).fetchone()
    return None if found is None else f"{found[0]}; its lease lasts until {found[1]} UTC"


def find_holder(place: StatePlace, spec: str) -> str | None:
    """Return who holds the lease on a spec and until when, or None if it is free. Raises StateError."""
    with closing(PostgresConnection(place)) as connection:
        return _find_holder(connection, spec)


def is_free(place: StatePlace, spec: str) -> bool:
    """Return whether the lease on a spec of a shared state is free; without a server, it is not free yet."""
    try:
        return find_holder(place, spec) is None
    except StateError:
        # Whoever waits for it goes on to wait while the server is restarted.
        return False


def check_version(connection: PostgresConnection, place: StatePlace) -> int:
    """Return the version of the tables. Raises StateError if a newer runner has made or changed them."""
    (version,) = connection.execute("SELECT version FROM state_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StateError(f"{place} was written by a newer runner: upgrade this runner")
    return int(version)


class NewHome(NamedTuple):
    """The folder that the runs of a project have moved to, and the token that it has."""

    place: str
    token: str


def find_new_home(connection: PostgresConnection) -> NewHome | None:
    """Return where the runs of a project have moved to, or None if they are here. Raises StateError."""
    query = "SELECT place, token FROM moved WHERE project = ?"
    found = connection.execute(query, (connection.project,)).fetchone()
    return None if found is None else NewHome(*found)


def check_not_moved(connection: PostgresConnection) -> None:
    """Raise StateError if the runs of a project have moved to a folder."""
    if (home := find_new_home(connection)) is not None:
        raise describe_move(connection.project, home)


def describe_move(project: str, home: NewHome) -> StateError:
    """Return the error of a command that needs the runs of a project that has moved."""
    return StateError(
        f"the runs of project {project!r} have moved to {home.place}: use them there, without `state` in "
        "runner.toml, or run `runner move` there to share them again; if that folder is lost, name another "
        "`project`"
    )


class Leases:
    """The leases that this process holds on specs of one project, renewed by a thread of their own."""

    def __init__(self, place: StatePlace, connection: PostgresConnection) -> None:
        self._place, self._db = place, connection
        self._seconds, self._grace = read_seconds()
        self._keeper = PostgresConnection(place)
        self._owner = secrets.token_hex(16)
        self._held: set[str] = set()
        self._deadline, self._is_lost = math.inf, False
        # Of the keeper's connection and of what it has found.
        self._mutex, self._is_closed = threading.RLock(), threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        connection.confirm = self.confirm

    def hold(self, spec: str) -> None:
        """Take the lease on a spec, and with it on all its variants, unless it is held. Raises StateLocked."""
        job = split_name(spec)[0]
        if self.holds(spec):
            return
        self._take(job, f"using {job!r}")
        try:
            # Only now: of two who take a lease and then look for that of the other, at least one sees it.
            self._check_project()
        except BaseException:
            self._drop(job)
            raise

    def hold_project(self) -> None:
        """Take the lease on the whole project, unless it or one of its specs is held. Raises StateLocked."""
        self._take(_PROJECT, "moving this project")
        values = (self._place.project, self._owner, self._grace)
        if (other := self._keeper.execute(_OTHERS, values).fetchone()) is not None:
            spec, holder = other
            self._drop(_PROJECT)
            message = f"another runner is using {spec!r} ({holder}): wait until it finishes, or stop it"
            raise StateLocked(message, partial(is_free, self._place, spec))

    def _take(self, job: str, purpose: str) -> None:
        with self._mutex:
            began = read_clock()
            lease = (self._place.project, job, self._owner, describe_self(), self._seconds)
            if self._keeper.execute(_TAKE, (*lease, SCHEMA_VERSION, self._grace)).fetchone() is None:
                raise self._refuse(job, purpose)
            self._held.add(job)
            self._deadline = min(self._deadline, began + self._seconds)
        if not self._thread.is_alive():
            self._thread.start()

    def _refuse(self, job: str, purpose: str) -> StateLocked:
        """Return the error for a lease that cannot be taken. Raises StateError if the tables are new meanwhile."""
        check_version(self._keeper, self._place)
        holder = _find_holder(self._keeper, job) or "it is free now"
        message = f"another runner is {purpose} ({holder}): wait until it finishes, or stop it"
        return StateLocked(message, partial(is_free, self._place, job))

    def _check_project(self) -> None:
        with self._mutex:
            if _find_holder(self._keeper, _PROJECT) is not None:
                raise self._refuse(_PROJECT, "moving this project")
            check_not_moved(self._keeper)

    def _drop(self, job: str) -> None:
        with self._mutex:
            self._held.discard(job)
            self._keeper.execute(_DROP, (self._place.project, self._owner, job))

    def holds(self, spec: str) -> bool:
        """Return whether the lease on a spec was taken."""
        return split_name(spec)[0] in self._held

    def check(self) -> None:
        """Raise StateLocked if another process may hold one of the leases. Raises StateError without a server."""
        if read_clock() >= self._deadline:
            self._renew()
        if self._is_lost:
            raise self._lost()

    def confirm(self) -> None:
        """Raise StateLocked if the transaction of the connection may not be committed.

        Nobody takes a lease over between this and the COMMIT: that waits for the lock on the row.
        """
        if not self._held:
            raise StateError("a shared state is changed only while a lease is held")
        found = self._db.execute(_CONFIRM, (self._place.project, self._owner)).fetchall()
        if not self._has_all(found):
            self._is_lost = True
            raise self._lost()

    def close(self) -> None:
        """Let go of all leases; without a server, they end by themselves."""
        self._is_closed.set()
        self._keeper.stop_waiting()
        try:
            if self._held:
                with suppress(StateError):
                    self._keeper.execute(_RELEASE, (self._place.project, self._owner))
        finally:
            self._keeper.close()

    def _has_all(self, found: Iterable[tuple[str]]) -> bool:
        """Return whether no lease is missing; one may be there of which the server's answer was lost."""
        return self._held <= {spec for (spec,) in found}

    def _lost(self) -> StateLocked:
        names = ", ".join(sorted(self._held)).strip() or "this project"
        return StateLocked(
            f"another runner has taken over {names} while this one was suspended or cut off: this one stops "
            "without sending anything more. Run again to see how the run stands"
        )

    def _renew(self) -> None:
        with self._mutex:
            if self._is_closed.is_set():
                return
            began = read_clock()
            renewed = self._keeper.execute(_RENEW, (self._seconds, self._place.project, self._owner)).fetchall()
            # Also after its end, as long as nobody has taken it over.
            if self._has_all(renewed):
                self._deadline = began + self._seconds
            else:
                self._is_lost = True

    def _keep(self) -> None:
        while not self._is_closed.wait(self._seconds / 4):
            try:
                self._renew()
            except StateError:
                # Whoever is about to send renews it itself, and hears of the error.
                continue
