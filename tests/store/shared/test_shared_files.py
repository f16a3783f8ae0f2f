"""The files of runs in an object store: uploaded before a commit, fetched where they are missing."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import boto3
import pytest

from runner.errors import StateError
from runner.files.object_store import ObjectStore
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from runner.store.records import Run
from runner.store.store import Store

Machine = Callable[..., AbstractContextManager[Store]]
RUN = "1abc-run"


@pytest.fixture
def machine(tmp_path: Path, files_url: str) -> Machine:
    """Open the state on a machine of this name; all of them have the same object store."""

    @contextmanager
    def opened(name: str = "one", *, lock: bool = True) -> Iterator[Store]:
        (tmp_path / name).mkdir(exist_ok=True)
        with open_store(StatePlace(tmp_path / name / ".runner", files=files_url), lock=lock) as store:
            yield store

    return opened


def write_rows(store: Store, text: str, run: str = RUN) -> None:
    with store.transaction():
        store.folder_of(run).to_write.rows.write_text(text)


def new_run(store: Store) -> Run:
    run = store.create_run(spec="s", spec_path="s.yaml", fingerprint="f", origin="0" * 64)
    write_rows(store, "rows", run.id)
    return run


def stored(files_url: str) -> list[str]:
    return sorted(ObjectStore(files_url).list_files("runs"))


def test_files_are_uploaded_before_a_commit(machine: Machine, files_url: str) -> None:
    with machine() as store:
        folder = store.folder_of(RUN)
        with store.transaction():
            for path in (folder.to_write.rows, folder.to_write.results(1, 1), folder.to_write.spec):
                path.write_text("text")
            # Not written yet when its path is asked for, as a download is not.
            late = folder.to_write.results(1, 2)
        assert stored(files_url) == [f"{RUN}/{name}" for name in ("results/1-1.jsonl", "rows.jsonl", "spec.json")]
        late.write_text("text")
        with store.transaction():
            pass
    assert f"{RUN}/results/1-2.jsonl" in stored(files_url)


def test_file_can_be_begun_on_a_machine_that_has_no_copies(machine: Machine) -> None:
    with machine() as store:
        run = new_run(store)
        shutil.rmtree(store.path / "runs" / run.id)
    with machine() as store, store.folder(run).results(1, 1).open("ab") as file:
        file.write(b"line\n")


def test_transaction_that_fails_uploads_nothing(machine: Machine, files_url: str) -> None:
    with machine() as store, pytest.raises(ZeroDivisionError), store.transaction():
        store.folder_of(RUN).to_write.rows.write_text("text")
        _ = 1 / 0
    assert stored(files_url) == []


def test_failed_upload_undoes_its_transaction(bucket: str, tmp_path: Path) -> None:
    with open_store(StatePlace(tmp_path / ".runner", files=f"s3://{bucket}")) as store:
        client = boto3.client("s3")
        client.delete_bucket(Bucket=bucket)
        client.close()
        message = rf"s3://{bucket}/runs/.*/rows.jsonl cannot be used: NoSuchBucket"
        with pytest.raises(StateError, match=message), store.transaction():
            run = store.create_run(spec="s", spec_path="s.yaml", fingerprint="f", origin="0" * 64)
            store.folder(run).to_write.rows.write_text("text")
        assert store.runs() == []


def test_missing_files_are_fetched(machine: Machine) -> None:
    with machine("one") as store:
        write_rows(store, "rows")
    with machine("two") as store:
        assert store.folder_of(RUN).rows.read_text() == "rows"
        assert not store.folder_of(RUN).labels.exists()


def test_copy_is_fetched_once(machine: Machine) -> None:
    with machine("one") as store:
        write_rows(store, "rows")
        first = store.folder_of(RUN).rows.stat()
    shutil.rmtree(store.path / "runs")
    with machine("one") as store:
        again = store.folder_of(RUN).rows.stat()
    with machine("one") as store, machine("one", lock=False) as reader:
        assert store.folder_of(RUN).rows.stat() == reader.folder_of(RUN).rows.stat() == again != first


def test_copy_of_an_older_version_is_replaced(machine: Machine) -> None:
    with machine("one") as store:
        write_rows(store, "old!")
    with machine("two") as store:
        write_rows(store, "new!")
    with machine("one") as store:
        assert store.folder_of(RUN).rows.read_text() == "new!"


def test_copy_that_was_changed_is_replaced(machine: Machine) -> None:
    with machine() as store:
        write_rows(store, "rows")
        store.folder_of(RUN).rows.write_text("torn")
    with machine() as store:
        assert store.folder_of(RUN).rows.read_text() == "rows"


def test_file_that_was_never_uploaded_is_discarded(machine: Machine) -> None:
    with machine() as store:
        store.folder_of(RUN).to_write.body(1, 1).write_text("half a bo")
    with machine() as store:
        assert not store.folder_of(RUN).body(1, 1).exists()


def test_reader_finds_what_was_written_since(machine: Machine) -> None:
    with machine("one") as store, machine("two", lock=False) as reader:
        assert not reader.folder_of(RUN).rows.exists()
        write_rows(store, "rows")
        assert reader.folder_of(RUN).rows.read_text() == "rows"


def test_appended_file_is_saved_each_time(machine: Machine) -> None:
    with machine("one") as first, machine("two") as second, machine("three") as third:
        for store in (first, second):
            folder = store.folder_of(RUN)
            path = folder.sync_journal(1, 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write("row ")
            folder.save(path)
        assert third.folder_of(RUN).sync_journal(1, 1).read_text() == "row row "


def test_second_intent_is_refused(machine: Machine) -> None:
    with machine("one") as store, machine("two") as other:
        folder, others = store.folder_of(RUN), other.folder_of(RUN)
        assert not others.intent_marker(1, 1).exists()
        assert folder.create_intent(1, 1, b"ours") and not others.create_intent(1, 1, b"theirs")
        assert others.intent_marker(1, 1).read_bytes() == b"ours"


def test_removed_intent_can_be_made_again(machine: Machine) -> None:
    with machine("one") as store, machine("two") as other:
        store.folder_of(RUN).create_intent(1, 1, b"first")
        folder = other.folder_of(RUN)
        folder.remove_intent(1, 1)
        folder.remove_intent(1, 2)
        assert not folder.intent_marker(1, 1).exists() and folder.create_intent(1, 1, b"second")
        assert folder.intent_marker(1, 1).read_bytes() == b"second"


def test_sent_run_that_the_database_lost_is_reported(machine: Machine) -> None:
    with machine("one") as store:
        write_rows(store, "rows", "2unsent")
    with machine("two") as store:
        store.folder_of(RUN).create_intent(1, 1, b"intent")
    with pytest.raises(StateError, match=f"no record of the run {RUN}, which was sent"), machine("two"):
        pass


def test_projects_share_an_object_store(files_url: str, tmp_path: Path) -> None:
    for project in ("tickets", "mail & more/é"):
        place = StatePlace(tmp_path / project / ".runner", files=files_url, project=project)
        place.folder.parent.mkdir(parents=True)
        with open_store(place) as store:
            run = new_run(store)
            store.folder(run).create_intent(1, 1, b"intent")
            store.update_run(run, state="running")
        shutil.rmtree(place.folder / "runs")
        with open_store(place) as store:
            assert store.folder(run).rows.read_text() == "rows"
    with open_store(place) as store:
        store.delete_run(run)
    assert len(ObjectStore(files_url).list_files("tickets")) == 2
    assert len(list((tmp_path / "bucket").rglob("rows.jsonl"))) <= 1


def test_purged_run_leaves_no_rows(machine: Machine, files_url: str) -> None:
    with machine() as store:
        run = new_run(store)
        folder = store.folder(run)
        with store.transaction():
            for path in (folder.to_write.spec, folder.to_write.body(1, 1), folder.to_write.results(1, 1)):
                path.write_text("text")
        folder.create_intent(1, 1, b"intent")
        store.update_run(run, state="finished")
        store.purge_run(run)
        assert stored(files_url) == [f"{run.id}/spec.json"]
        assert not folder.rows.exists() and folder.spec.read_text() == "text"


def test_deleted_run_leaves_nothing(machine: Machine, files_url: str) -> None:
    with machine() as store:
        run = new_run(store)
        store.delete_run(run)
        assert stored(files_url) == [] and store.runs() == [] and not (store.path / "runs" / run.id).exists()


def test_uploaded_files_are_known_on_all_machines(machine: Machine) -> None:
    for name in ("one", "two"):
        with machine(name) as store, store.transaction(), store.uploads.open("a") as file:
            file.write(f"{name} ")
            file.flush()
    with machine("three", lock=False) as store:
        assert store.uploads.read_text() == "one two "
