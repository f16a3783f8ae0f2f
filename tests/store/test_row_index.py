"""The rows of a run in its index files: the latest attempt of each, found in order and one at a time."""

import gc
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import StateError
from runner.requests.pack import Body
from runner.results.outcome_names import OUTCOMES
from runner.store.index.answer_index import AnsweredRequests
from runner.store.index.index_files import OUTCOME_CODES
from runner.store.index.unsent_rows import write_unsent_rows
from runner.store.open_store import open_store
from runner.store.records import Run, SettledRow
from runner.store.store import Store

ROWS = 40
OUTCOME = st.sampled_from([None, "succeeded", "invalid", "errored"])
BATCHES = st.lists(st.tuples(st.sets(st.integers(1, ROWS), min_size=1), OUTCOME), max_size=6)
"""The rows of each batch, one round each, and the outcome of all of them, if it is collected."""


@contextmanager
def new_run(folder: Path) -> Iterator[tuple[Store, Run]]:
    with open_store(folder) as store:
        yield store, store.create_run(spec="job", spec_path="job.yaml", fingerprint="", origin="0" * 64)


def place_of(round: int, row: int) -> tuple[int, int]:
    return round * 1000 + row * 10, row


def digest_of(row: int) -> bytes:
    return row.to_bytes(16, "big")


def add_batch(store: Store, run: Run, round: int, rows: set[int], outcome: str | None) -> None:
    body = Body(1, Path(), [(row, *place_of(round, row)) for row in rows], 10, "0" * 64)
    with store.row_index.open_finder(run) as earlier, store.transaction():
        first = {row: digest_of(row) for row in rows if earlier.find(row) is None}
        store.add_batch(run, round, body, first, earlier=None if first else earlier)
    if outcome is not None:
        batch = store.transition(store.batches(run)[-1], "ended")
        store.collect_batch(batch, ((row, outcome, outcome == "errored", *place_of(round, row)) for row in rows))


def latest(batches: list[tuple[set[int], str | None]]) -> dict[int, tuple[int, str | None]]:
    """The round and the outcome of the latest attempt of each row."""
    return {row: (round, name) for round, (rows, name) in enumerate(batches, 1) for row in sorted(rows)}


@given(BATCHES)
def test_each_row_has_its_latest_attempt(batches: list[tuple[set[int], str | None]]) -> None:
    expected = latest(batches)
    with TemporaryDirectory() as folder, new_run(Path(folder)) as (store, run):
        for round, (rows, outcome) in enumerate(batches, 1):
            add_batch(store, run, round, rows, outcome)
        found = {row: (round, name) for row, name, round, *_ in store.row_index.row_outcomes(run)}
        assert (list(found), found) == (sorted(expected), expected)
        with store.row_index.open_finder(run) as finder:
            for row in range(1, ROWS + 1):
                place = (*(expected[row][0], 1), *place_of(expected[row][0], row)) if row in expected else None
                assert finder.find_request(row) == place
        retried = [row for row, *_ in store.row_index.rows_to_retry(run)]
        assert retried == [row for row in sorted(expected) if expected[row][1] == "errored"]


def test_row_of_several_batches_of_a_round_has_the_newest(tmp_path: Path) -> None:
    with new_run(tmp_path) as (store, run):
        batches = [(1, 1, {1, 2}), (1, 2, {3, 9}), (1, 3, {1, 2}), (1, 4, {4, 5}), (2, 1, {2, 9})]
        for round, number, rows in batches:
            body = Body(number, Path(), [(row, *place_of(round, row)) for row in rows], 10, "0" * 64)
            with store.transaction():
                store.add_batch(run, round, body)
        with store.row_index.open_finder(run) as finder:
            found = {row: finder.find_request(row) for row in range(1, 11)}
        latest = {row: (round, number) for round, number, rows in batches for row in rows}
        assert {row: place[:2] for row, place in found.items() if place is not None} == latest


@given(BATCHES)
def test_counts_follow_the_latest_attempts(batches: list[tuple[set[int], str | None]]) -> None:
    with TemporaryDirectory() as folder, new_run(Path(folder)) as (store, run):
        add_batch(store, run, 1, set(range(1, ROWS + 1)), "expired")
        for round, (rows, outcome) in enumerate(batches, 2):
            add_batch(store, run, round, rows, outcome)
        counted = store.counts.read(run)
        with store.transaction():
            store.recount_outcomes(run)
        assert counted == store.counts.read(run)


def test_duplicates_have_the_outcome_of_the_earlier_row(tmp_path: Path) -> None:
    with new_run(tmp_path) as (store, run):
        with write_unsent_rows(store.folder(run)) as unsent:
            unsent.add_duplicate(3, 1)
            unsent.add_settled(SettledRow(4, "rejected", 0, 5))
            unsent.add_duplicate(5, 1)
        indexes = {"unsent_index": unsent.unsent_index, "duplicate_index": unsent.duplicate_index}
        with store.transaction():
            run = store.update_run(run, rows=5, **indexes)
            store.counts.replace(run.number, unsent.outcomes)
        add_batch(store, run, 1, {1, 2}, "succeeded")
        found = [(row, name, sent) for row, name, _, _, _, _, sent, _ in store.row_index.row_outcomes(run)]
        assert found == [(1, "succeeded", 1), (2, "succeeded", 2), (3, "succeeded", 1), (4, "rejected", 4),
                         (5, "succeeded", 1)]  # fmt: skip
        assert store.counts.read(run) == {"succeeded": 4, "rejected": 1}
        add_batch(store, run, 2, {1}, None)
        assert store.counts.read(run) == {"succeeded": 1, "rejected": 1}


def test_answers_of_earlier_runs_are_found_by_digest(tmp_path: Path) -> None:
    with new_run(tmp_path) as (store, run):
        add_batch(store, run, 1, {1, 2, 3}, "succeeded")
        assert [one.offset for one in store.answered_requests().find(digest_of(2))] == [1020]
        add_batch(store, run, 2, {2}, "errored")
        answered = store.answered_requests()
        assert (answered.find(digest_of(2)), len(answered.find(digest_of(3)))) == ([], 1)
        assert store.answered_requests(run).find(digest_of(3)) == []


@pytest.mark.parametrize("damage", [b"", b"no database" * 100])
def test_damaged_cache_of_answers_is_made_again(tmp_path: Path, damage: bytes) -> None:
    with new_run(tmp_path) as (store, run):
        add_batch(store, run, 1, {1, 2, 3}, "succeeded")
        (tmp_path / "answers.db").write_bytes(damage)
        assert len(store.answered_requests().find(digest_of(2))) == 1


def test_cache_with_a_damaged_page_is_made_again(tmp_path: Path) -> None:
    rows = set(range(1, 1000))
    with new_run(tmp_path) as (store, run):
        add_batch(store, run, 1, rows, "succeeded")
        assert len(store.answered_requests().find(digest_of(2))) == 1
        # The connection is closed, so that all is in the file.
        gc.collect()
        path = tmp_path / "answers.db"
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4 * 4096)
            file.write(b"\xff" * (size - 4 * 4096))
        answered = store.answered_requests()
        assert {len(answered.find(digest_of(row))) for row in rows} == {1}
        assert answered.find_request(digest_of(2)) is not None


def test_cache_of_answers_stays_while_another_process_writes(tmp_path: Path) -> None:
    with new_run(tmp_path) as (store, run), closing(sqlite3.connect(tmp_path / "answers.db")) as other:
        add_batch(store, run, 1, {1, 2, 3}, "succeeded")
        other.execute("BEGIN IMMEDIATE")
        before = (tmp_path / "answers.db").stat().st_ino
        answered = AnsweredRequests(tmp_path, store.row_index, store.runs(), wait=0)
        assert len(answered.find(digest_of(2))) == 1
        assert (tmp_path / "answers.db").stat().st_ino == before


def test_answers_are_back_once_their_index_files_are(tmp_path: Path) -> None:
    with new_run(tmp_path) as (store, run):
        add_batch(store, run, 1, {1, 2, 3}, "succeeded")
        [batch] = store.batches(run)
        assert len(store.answered_requests().find(digest_of(2))) == 1
        damaged = store.transition(batch, "collected", result_index="0" * 64)
        assert store.answered_requests().find(digest_of(2)) == []
        store.transition(damaged, "collected", result_index=batch.result_index)
        assert len(store.answered_requests().find(digest_of(2))) == 1


def test_cache_of_answers_keeps_no_digest_of_a_purged_run(tmp_path: Path) -> None:
    def holders() -> list[Path]:
        return [path for path in tmp_path.rglob("*") if path.is_file() and digest_of(77) in path.read_bytes()]

    with new_run(tmp_path) as (store, run):
        add_batch(store, run, 1, {76, 77}, "succeeded")
        assert len(store.answered_requests().find(digest_of(77))) == 1
        assert len(holders()) > 1
        store.purge_run(run)
        assert holders() == []


def test_changed_index_file_is_damage(tmp_path: Path) -> None:
    with new_run(tmp_path) as (store, run):
        add_batch(store, run, 1, {1, 2, 3}, "succeeded")
        [path] = (store.folder(run).path / "index").glob("1-1.requests.*")
        path.write_bytes(path.read_bytes()[36:])
        with pytest.raises(StateError, match=r"1-1\.requests\.[0-9a-f]{16} differs from what was written"):
            store.row_index.rows_of(store.batches(run)[0])


def test_each_outcome_has_a_number_that_stays() -> None:
    assert {name for name in OUTCOME_CODES if name} == set(OUTCOMES)
    assert list(OUTCOME_CODES.values())[:10] == list(range(10))
