"""Files in an object store."""

import socket
import sys
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import boto3
import pytest

from runner.errors import StateError, UsageError
from runner.files.object_store import ObjectStore, StoredFile
from tests.support.servers import s3, serving


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def versions(bucket: str) -> list[str]:
    """The keys of all versions in a bucket, and of the marks of those that were deleted."""
    client = boto3.client("s3")
    page = client.list_object_versions(Bucket=bucket)
    client.close()
    return [one["Key"] for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]


@pytest.fixture
def objects(files_url: str) -> ObjectStore:
    return ObjectStore(files_url)


def test_uploaded_file_is_listed_and_downloaded(objects: ObjectStore, tmp_path: Path) -> None:
    stored = objects.upload("runs/1/a", written(tmp_path / "a", b"rows"))
    objects.upload("runs/12/b", tmp_path / "a")
    assert objects.list_files("runs/1") == {"a": stored} and sorted(objects.list_folders("runs")) == ["1", "12"]
    assert objects.download("runs/1/a", tmp_path / "copy") == stored
    assert (tmp_path / "copy").read_bytes() == b"rows" and stored.size == 4


def test_large_file_is_uploaded_in_parts(objects: ObjectStore, tmp_path: Path) -> None:
    data = bytes(range(256)) * (12 << 12)
    objects.upload("large", written(tmp_path / "large", data))
    objects.download("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_new_content_has_a_new_version(objects: ObjectStore, tmp_path: Path) -> None:
    first = objects.upload("a", written(tmp_path / "a", b"1"))
    second = objects.upload("a", written(tmp_path / "a", b"2"))
    assert first != second == objects.find("a")


def test_second_create_of_a_file_is_refused(objects: ObjectStore) -> None:
    stored = objects.create("runs/1/a.sent", b"ours")
    assert stored == StoredFile(4, stored.version if stored else "")
    assert objects.create("runs/1/a.sent", b"others") is None
    assert objects.create("runs/1/a.sent", b"ours") == stored, "the answer to the first was lost"


def test_missing_file_is_no_error(objects: ObjectStore) -> None:
    assert objects.find("a") is None
    objects.delete("a")
    objects.delete_folder("runs/1")
    assert objects.list_files("runs/1") == {} and objects.list_folders("runs") == []


def test_folder_is_deleted_but_for_what_is_kept(objects: ObjectStore, tmp_path: Path) -> None:
    for name in ("runs/1/spec.json", "runs/1/bodies/1-1.json", "runs/12/rows"):
        objects.upload(name, written(tmp_path / "a", b"a"))
    objects.delete_folder("runs/1", keep=["spec.json"])
    assert sorted(objects.list_files("runs")) == ["1/spec.json", "12/rows"]


def test_versions_of_deleted_files_are_deleted(bucket: str, tmp_path: Path) -> None:
    objects = ObjectStore(f"s3://{bucket}/p")
    for name in ("runs/1/a", "runs/1/a", "runs/1/b", "runs/1/c", "runs/12/a"):
        objects.upload(name, written(tmp_path / "a", b"a"))
    objects.delete("runs/1/b")
    objects.delete_folder("runs/1", keep=["c"])
    assert sorted(versions(bucket)) == ["p/runs/1/c", "p/runs/12/a"]


@pytest.mark.usefixtures("bucket")
def test_missing_bucket_is_reported() -> None:
    with pytest.raises(
        StateError, match=r"s3://no-bucket/p/a cannot be used: NoSuchBucket: .*; make it, or correct RUNNER_FILES$"
    ):
        ObjectStore("s3://no-bucket/p", origin="RUNNER_FILES").create("a", b"")


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_unreachable_store_is_reported(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(
        StateError, match=rf"s3://{bucket}/runs/1 cannot be used: HTTP error: .*; nothing is lost: run the command"
    ):
        ObjectStore(f"s3://{bucket}", retries=1).list_files("runs/1")


def test_store_that_is_away_for_a_moment_is_awaited(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = unused_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with ExitStack() as servers:
        # All servers of a process have the same buckets.
        start = threading.Timer(0.5, lambda: servers.enter_context(s3(port)))
        start.start()
        assert ObjectStore(f"s3://{bucket}").create("a", b"1") is not None
        start.join()


class Shaky(BaseHTTPRequestHandler):
    """An S3 without objects, which fails to list versions three times."""

    failures = 3

    def do_GET(self) -> None:
        is_failing = "versions" in self.path and Shaky.failures > 0
        Shaky.failures -= is_failing
        body = b"<ListBucketResult/>"
        self.send_response(500 if is_failing else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.usefixtures("bucket")
def test_store_that_fails_to_list_versions_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Shaky) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        ObjectStore("s3://bucket").delete_folder("runs/1")
    assert Shaky.failures == 0


class Denied(BaseHTTPRequestHandler):
    """An S3 that denies everything."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    do_PUT = do_HEAD = do_GET  # noqa: N815


@pytest.mark.usefixtures("bucket")
def test_denied_access_needs_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Denied) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        objects = ObjectStore("s3://bucket", retries=1)
        calls = (lambda: objects.find("a"), lambda: objects.list_files("a"), lambda: objects.create("a", b""))
        for call in calls:
            with pytest.raises(
                StateError, match=r"allow it to these credentials .*, or correct files, and run the command again$"
            ):
                call()


def test_store_is_not_blamed_for_the_disk(objects: ObjectStore, tmp_path: Path) -> None:
    objects.create("a", b"rows")
    missing = tmp_path / "missing/copy"
    with pytest.raises(StateError, match=f"^{missing.parent}/.*: No such file or directory"):
        objects.download("a", missing)


def test_missing_credentials_are_reported(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    objects = ObjectStore(f"s3://{bucket}")
    with pytest.raises(StateError, match="no credentials"):
        objects.find("a")


@pytest.mark.parametrize("url", ["az://box/x", "abfss://me@box/x", "file://{}/file/x"])
def test_url_that_no_client_can_use_must_be_corrected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    written(tmp_path / "file", b"")
    with pytest.raises(StateError, match=r"; correct RUNNER_FILES(, or its credentials .*)?$"):
        ObjectStore(url.format(tmp_path), origin="RUNNER_FILES").list_files("runs")


def test_folder_that_cannot_be_written_must_be_allowed(tmp_path: Path) -> None:
    written(tmp_path / "runs", b"")
    with pytest.raises(StateError, match=r"; allow it with chmod or chown, or correct RUNNER_FILES$"):
        ObjectStore(f"file://{tmp_path}", origin="RUNNER_FILES").create("runs/1", b"")


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("file:///a%20b", "delete them with `rm -r '/a b/runs/1'`"),
        ("s3://bucket/x", "delete them with `aws s3 rm --recursive s3://bucket/x/runs/1`"),
        ("gs://bucket/x", "delete them with `gcloud storage rm --recursive gs://bucket/x/runs/1`"),
        ("az://box/x", "delete all below az://box/x/runs/1"),
    ],
)
def test_person_is_told_how_to_delete_a_folder(url: str, command: str) -> None:
    assert ObjectStore(url).describe_deletion("runs/1") == command


def test_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"obstore is not installed: pip install .*\[objects\]"):
        ObjectStore(f"file://{tmp_path}")


@pytest.mark.parametrize("url", ["http://host/runs", "memory://runs", "ftp://host/runs"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="must begin with s3://, gs://, az://, abfss://, file://"):
        ObjectStore(url)
