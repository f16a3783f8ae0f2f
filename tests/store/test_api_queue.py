"""Runs that share the API's queue know what is in it, and take turns while it is full."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from runner.requests.pack import Body
from runner.store.api_queue import Turn
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from runner.store.records import Run
from runner.store.store import Store


class Queue:
    """A queue, and runs that send to it."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.known, self.name = store, store.api_queue, name

    def begin(self, name: str) -> Run:
        """Begin a run."""
        self.store.hold(name)
        return self.store.create_run(spec=name, spec_path="job.yaml", fingerprint="", origin="0" * 64)

    def send(self, run: Run, requests: int, *, hours_ago: float = 0.0) -> None:
        """Have a batch of a run in processing."""
        self.prepare(run, requests)
        sent_at = time.time() - hours_ago * 3600
        self.store.transition(self.store.batches(run)[-1], "submitting", queue=self.name, intent_at=sent_at)

    def prepare(self, run: Run, requests: int) -> None:
        """Have a batch of a run to send."""
        number = len(self.store.batches(run)) + 1
        rows = [(row, row, 1) for row in range(1, requests + 1)]
        body = Body(number, self.store.folder(run).body(1, number), rows, 10, "0" * 64)
        self.store.add_batch(run, 1, body, {row: bytes(32) for row, _, _ in rows})

    def end(self, run: Run) -> None:
        """End the oldest batch of a run that is in processing."""
        batch = next(one for one in self.store.batches(run) if one.state == "submitting")
        self.store.transition(batch, "ended")

    def refuse(self, run: Run, requests: int, *, poll_seconds: float = 60.0) -> float:
        """Refuse a create of a run."""
        return self.known.refuse(self.name, run, requests, poll_seconds=poll_seconds, pause=None)

    def ask(self, run: Run, requests: int, *, alive_for: float = 60.0) -> Turn:
        """Ask whether a run may send so many requests."""
        return self.known.take_turn(self.name, run, requests, poll_seconds=60.0, alive_for=alive_for)

    def first(self, run: Run, requests: int) -> str | None:
        """Return the id of the run whose turn it is instead, if that keeps a run back."""
        turn = self.ask(run, requests)
        assert not turn.may_go
        return None if turn.first is None else turn.first.run


@pytest.fixture
def queue(place: StatePlace) -> Iterator[Queue]:
    with open_store(place) as store:
        yield Queue(store, f"https://example.com {place.folder}")


def test_nothing_waits_before_a_refusal(queue: Queue) -> None:
    run = queue.begin("a")
    assert (queue.known.is_full(queue.name), queue.ask(run, 10**6).may_go) == (False, True)


def test_requests_of_all_runs_are_counted(queue: Queue) -> None:
    a, b = queue.begin("a"), queue.begin("b")
    for run, requests in ((a, 8), (a, 4), (b, 2)):
        queue.send(run, requests)
    assert queue.known.count(queue.name) == {a.id: 12, b.id: 2}
    queue.end(a)
    assert queue.known.count(queue.name) == {a.id: 4, b.id: 2}


def test_batch_of_yesterday_has_ended(queue: Queue) -> None:
    run = queue.begin("a")
    queue.send(run, 3, hours_ago=25)
    assert queue.known.count(queue.name) == {}


def test_batches_of_an_abandoned_run_count_for_an_hour(queue: Queue) -> None:
    run = queue.begin("a")
    queue.send(run, 3)
    queue.send(run, 5, hours_ago=2)
    assert queue.known.count(queue.name) == {run.id: 8}
    run = queue.store.update_run(run, state="abandoned")
    assert queue.known.count(queue.name) == {run.id: 3}
    queue.store.update_run(run, is_canceled=True)
    assert queue.known.count(queue.name) == {}


def test_refusal_of_one_run_keeps_another_back(queue: Queue) -> None:
    a, b = queue.begin("a"), queue.begin("b")
    queue.send(a, 8)
    assert queue.refuse(a, 8) == 5 * 60
    turn = queue.ask(b, 8)
    assert (turn.may_go, turn.in_processing, turn.first) == (False, 8, None)
    assert 290 < turn.seconds <= 300


def test_create_that_may_fit_is_tried_at_once(queue: Queue) -> None:
    a, b = queue.begin("a"), queue.begin("b")
    queue.send(a, 8)
    queue.refuse(a, 8)
    assert queue.ask(b, 7).may_go


def test_run_with_fewest_requests_goes_first(queue: Queue) -> None:
    big, small = queue.begin("big"), queue.begin("small")
    for _ in range(4):
        queue.send(big, 8)
    queue.send(small, 1)
    queue.refuse(big, 8)
    assert (queue.first(big, 8), queue.first(small, 8)) == (None, None)
    queue.end(big)
    assert (queue.first(big, 8), queue.ask(small, 8).may_go) == (small.id, True)
    queue.send(small, 8)
    queue.known.accept(queue.name, small, poll_seconds=60)
    queue.end(big)
    assert queue.ask(big, 8).may_go


def test_longest_wait_decides_between_equals(queue: Queue) -> None:
    full, late, early = queue.begin("full"), queue.begin("late"), queue.begin("early")
    queue.send(full, 8)
    queue.send(full, 8)
    queue.refuse(full, 8)
    for run in (early, late, early):
        assert queue.first(run, 8) is None
    queue.end(full)
    assert (queue.first(late, 8), queue.ask(early, 8).may_go) == (early.id, True)


def test_room_for_both_keeps_nobody_back(queue: Queue) -> None:
    big, small = queue.begin("big"), queue.begin("small")
    for _ in range(3):
        queue.send(big, 8)
    queue.refuse(big, 8)
    assert queue.first(small, 8) is None
    queue.end(big)
    queue.end(big)
    assert queue.ask(big, 8).may_go


def test_run_that_looks_no_more_keeps_nobody_back(queue: Queue) -> None:
    big, small = queue.begin("big"), queue.begin("small")
    queue.send(big, 8)
    queue.send(big, 8)
    queue.refuse(big, 8)
    queue.ask(small, 8, alive_for=-1.0)
    queue.end(big)
    assert queue.ask(big, 8).may_go


def test_run_that_leaves_keeps_nobody_back(queue: Queue) -> None:
    big, small = queue.begin("big"), queue.begin("small")
    queue.send(big, 8)
    queue.send(big, 8)
    queue.refuse(big, 8)
    assert queue.first(small, 8) is None
    queue.known.leave(queue.name, small)
    queue.end(big)
    assert queue.ask(big, 8).may_go


def test_batch_that_was_refused_alone_keeps_nobody_back(queue: Queue) -> None:
    large, small = queue.begin("large"), queue.begin("small")
    queue.known.refuse(queue.name, large, 60, poll_seconds=60.0, pause=60.0)
    assert queue.first(large, 60) is None
    assert queue.ask(small, 5).may_go
    queue.send(small, 5)
    assert queue.ask(small, 5).may_go


def test_batch_that_never_fits_leaves_the_tries_to_others(queue: Queue) -> None:
    full, large, small = queue.begin("full"), queue.begin("large"), queue.begin("small")
    queue.send(full, 20)
    queue.refuse(full, 5, poll_seconds=0.0)
    assert queue.ask(large, 60).may_go
    queue.refuse(large, 60, poll_seconds=0.0)
    assert queue.ask(small, 5).may_go


def test_one_run_at_a_time_tries_what_was_refused(queue: Queue) -> None:
    a, b = queue.begin("a"), queue.begin("b")
    queue.send(a, 8)
    queue.refuse(a, 8, poll_seconds=0.0)
    assert queue.ask(b, 8).may_go
    assert [queue.ask(run, 8).may_go for run in (a, b)] == [False, False]


@pytest.mark.server
def test_machines_decide_one_after_the_other(shared: StatePlace) -> None:
    with ExitStack() as stack:
        queues = [Queue(stack.enter_context(open_store(shared)), str(shared.folder)) for _ in range(4)]
        runs = [queue.begin(name) for queue, name in zip(queues, "abcd", strict=True)]
        queues[0].send(runs[0], 8)
        queues[0].refuse(runs[0], 8, poll_seconds=0.0)
        with ThreadPoolExecutor() as pool:
            turns = list(pool.map(lambda queue, run: queue.ask(run, 8), queues, runs))
    assert sum(turn.may_go for turn in turns) == 1


def test_pauses_grow_until_a_create_is_accepted(queue: Queue) -> None:
    run = queue.begin("a")
    queue.send(run, 8)
    pauses = [queue.refuse(run, 8) / 60 for _ in range(6)]
    assert pauses == [5, 10, 20, 40, 60, 60]
    queue.send(run, 8)
    # The first time, a batch may only have ended that nobody has looked at yet.
    queue.known.accept(queue.name, run, poll_seconds=0.0)
    assert queue.known.is_full(queue.name)
    queue.known.accept(queue.name, run, poll_seconds=0.0)
    assert not queue.known.is_full(queue.name)


def test_line_ends_with_the_limit(queue: Queue) -> None:
    stopped, run = queue.begin("stopped"), queue.begin("run")
    queue.send(run, 8)
    queue.refuse(run, 8)
    assert queue.first(stopped, 8) is None
    queue.send(run, 8)
    for _ in range(2):
        queue.known.accept(queue.name, run, poll_seconds=0.0)
    queue.refuse(run, 8)
    queue.end(run)
    assert queue.ask(run, 8).may_go


def test_fewest_refused_requests_are_remembered(queue: Queue) -> None:
    run = queue.begin("a")
    queue.send(run, 8)
    for requests in (4, 8):
        queue.refuse(run, requests)
    assert [queue.ask(run, requests).may_go for requests in (4, 3)] == [False, True]


def test_queue_full_of_others_is_tried_again_soon(queue: Queue) -> None:
    a, b = queue.begin("a"), queue.begin("b")
    assert queue.known.refuse(queue.name, a, 8, poll_seconds=60.0, pause=2.0) == 2.0
    turn = queue.ask(b, 8)
    assert (turn.may_go, turn.seconds <= 2.0) == (False, True)
    # Who pauses is not waited for.
    assert queue.ask(b, 7).may_go


def test_clock_that_was_set_back_keeps_nobody_waiting(queue: Queue) -> None:
    a, b = queue.begin("a"), queue.begin("b")
    queue.ask(a, 8)
    queue.known.refuse(queue.name, b, 8, poll_seconds=60.0, pause=1e9)
    assert queue.ask(a, 8, alive_for=1e9).may_go
    queue.known.refuse(queue.name, a, 8, poll_seconds=60.0, pause=0.0)
    queue.ask(a, 8, alive_for=1e9)
    queue.known.refuse(queue.name, b, 8, poll_seconds=60.0, pause=0.0)
    assert queue.ask(b, 8).may_go


def test_full_queue_of_a_run_is_found(queue: Queue) -> None:
    a, b, other = queue.begin("a"), queue.begin("b"), queue.begin("other")
    queue.send(a, 8)
    assert queue.known.find_full(a) == []
    queue.refuse(a, 8)
    queue.ask(b, 8)
    [found] = queue.known.find_full(b)
    assert (found.name, found.requests, found.runs, found.waiting) == (queue.name, 8, {a.id: 8}, [b.id])
    assert (queue.known.find_full(a), queue.known.find_full(other)) == ([found], [])


def test_queue_with_nothing_to_send_is_not_full(queue: Queue) -> None:
    a, b = queue.begin("a"), queue.begin("b")
    queue.send(a, 8)
    queue.refuse(a, 8)
    assert queue.known.find_full(a) == []
    queue.prepare(queue.store.update_run(b, state="running"), 7)
    assert queue.known.find_full(a) == []
    queue.send(a, 1)
    assert [found.waiting for found in queue.known.find_full(a)] == [[]]


def test_deleted_run_waits_no_more(queue: Queue) -> None:
    a, b = queue.begin("a"), queue.begin("b")
    queue.send(a, 8)
    queue.refuse(a, 8)
    queue.ask(b, 8)
    queue.store.delete_run(b)
    queue.end(a)
    queue.send(a, 4)
    assert queue.ask(a, 8).may_go
