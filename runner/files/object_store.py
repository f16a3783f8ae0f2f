"""Files in an object store, by name below one URL; the only module that uses obstore."""

import os
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from runner.errors import StateError, UsageError, describe_os_error
from runner.files.atomic import make_private_folder, open_private_file, sync_folder
from runner.files.extras import missing_package_message
from runner.files.object_messages import (
    describe_deletion,
    describe_failure,
    describe_undeleted,
    describe_unusable_url,
    local_folder,
)

SCHEMES = ("s3", "gs", "az", "abfss", "file")
_BLOCK_BYTES = 8 << 20
_RETRIES, _RETRY_SECONDS, _REQUEST_SECONDS = 8, 60, 120
# Parts of 5 MB of a large file that are sent, and in memory, at once.
_PARTS = 2


class StoredFile(NamedTuple):
    """A file in an object store: its size in bytes, and a mark that changes with its content."""

    size: int
    version: str


def list_packages(url: str) -> tuple[str, ...]:
    """Return the packages that a client for a URL needs."""
    return ("obstore", "boto3") if url.startswith("s3://") else ("obstore",)


def _check_url(url: str, origin: str) -> None:
    """Raise UsageError for a URL that no client is made for, or if the client is not installed."""
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise UsageError(f"{origin} is {url!r}: it must begin with {', '.join(f'{one}://' for one in SCHEMES)}")
    if (missing := missing_package_message("objects", packages=list_packages(url))) is not None:
        raise UsageError(f"{origin} is {url!r}: {missing}")


def _list_exceptions(url: str) -> tuple[type[Exception], ...]:
    """Return what the clients of a store raise when it fails."""
    from obstore.exceptions import BaseError

    # For some failures obstore has the exceptions of Python itself.
    own = (BaseError, OSError, ValueError, NotImplementedError)
    if not url.startswith("s3://"):
        return own
    from botocore.exceptions import BotoCoreError, ClientError

    return (*own, BotoCoreError, ClientError)


def _connect(url: str, retries: int) -> Any:
    from obstore.store import from_url

    if url.startswith("file://"):
        folder = local_folder(url)
        if not folder.exists():
            make_private_folder(folder)
        return from_url(url)
    options: dict[str, Any] = {
        # Only for endpoints that the user names with http://, such as a server on this machine.
        "client_options": {"allow_http": True, "timeout": timedelta(seconds=_REQUEST_SECONDS)},
        "retry_config": {"max_retries": retries, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
    }
    return from_url(url, **options, **_find_credentials(url))


def _find_credentials(url: str) -> dict[str, Any]:
    """Return credentials of S3 as all tools of AWS find them; the other clients look for theirs by themselves."""
    if not url.startswith("s3://"):
        return {}
    import boto3
    from obstore.auth.boto3 import Boto3CredentialProvider

    session = boto3.Session()
    if session.get_credentials() is None:
        raise StateError(f"no credentials for {url} found: `aws configure` sets them, or AWS_ACCESS_KEY_ID")
    return {"credential_provider": Boto3CredentialProvider(session)}


class ObjectStore:
    """Files by name, which has slashes, below a URL.

    Requests that fail for a moment are repeated, with growing pauses, `retries` times. Methods raise StateError,
    which names the `origin` of the URL where it must be corrected.
    """

    def __init__(self, url: str, *, origin: str = "files", retries: int = _RETRIES) -> None:
        self.url, self._origin, self._retries = url.rstrip("/"), origin, retries
        _check_url(self.url, origin)

    @cached_property
    def _client(self) -> Any:
        # Not before it is needed: commands that only read the database need no credentials.
        try:
            return _connect(self.url, self._retries)
        except _list_exceptions(self.url) as error:
            raise StateError(describe_unusable_url(self.url, self._origin, error)) from error

    @contextmanager
    def _map_errors(self, name: str = "") -> Iterator[None]:
        try:
            yield
        except _list_exceptions(self.url) as error:
            place = f"{self.url}/{name}" if name else self.url
            raise StateError(describe_failure(place, self._origin, error)) from error

    def list_files(self, folder: str) -> dict[str, StoredFile]:
        """Return the files below a folder, by their names below it."""
        import obstore

        with self._map_errors(folder):
            found = (one for page in obstore.list(self._client, prefix=folder) for one in page)
            return {one["path"].removeprefix(f"{folder}/"): _stored_file(one) for one in found}

    def list_folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder."""
        import obstore

        with self._map_errors(folder):
            found = obstore.list_with_delimiter(self._client, prefix=folder)["common_prefixes"]
            return [one.removeprefix(f"{folder}/") for one in found]

    def find(self, name: str) -> StoredFile | None:
        """Return the file of this name, or None if it is missing."""
        import obstore

        with self._map_errors(name):
            try:
                return _stored_file(obstore.head(self._client, name))
            except FileNotFoundError:
                return None

    def download(self, name: str, target: Path) -> StoredFile:
        """Copy a file to `target`, which appears once it is complete."""
        import obstore

        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        with self._map_errors(name):
            meta = obstore.head(self._client, name)
        try:
            with open_private_file(temporary) as file:
                for block in self._read_blocks(name, meta):
                    file.write(block)
            temporary.replace(target)
        except OSError as error:
            raise StateError(describe_os_error(error, target)) from error
        finally:
            temporary.unlink(missing_ok=True)
        return _stored_file(meta)

    def _read_blocks(self, name: str, meta: Any) -> Iterator[bytes]:
        """Yield the bytes of one version of a file, whose size and version are in `meta`. Raises StateError."""
        import obstore

        for start in range(0, meta["size"], _BLOCK_BYTES):
            # A request of its own, so that one that breaks off is repeated; all of the same version.
            end = min(start + _BLOCK_BYTES, meta["size"])
            options: Any = {"range": (start, end), "if_match": meta["e_tag"]}
            with self._map_errors(name):
                block = bytes(obstore.get(self._client, name, options=options).bytes())
            if len(block) != end - start:
                raise StateError(f"{self.url}/{name} was not read as a whole: run the command again")
            yield block

    def upload(self, name: str, source: Path) -> StoredFile:
        """Copy a file to the store, in the place of one with this name; return once it is durable."""
        import obstore

        size = source.stat().st_size
        with self._map_errors(name):
            answer = obstore.put(self._client, name, source, max_concurrency=_PARTS)
            self._sync(name)
        return StoredFile(size, answer["e_tag"] or "")

    def create(self, name: str, data: bytes) -> StoredFile | None:
        """Write a file that is not there yet; return None if there is one, with other bytes."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._map_errors(name):
            try:
                answer = obstore.put(self._client, name, data, mode="create")
                self._sync(name)
                return StoredFile(len(data), answer["e_tag"] or "")
            except AlreadyExistsError:
                # Ours, if the answer to the first try was lost.
                found = obstore.get(self._client, name)
                is_ours = bytes(found.bytes()) == data
                return _stored_file(found.meta) if is_ours else None

    def _sync(self, name: str) -> None:
        """Make a file durable where the store is a folder, whose writes may be in memory only."""
        if self.url.startswith("file://"):
            path = local_folder(self.url) / name
            sync_folder(path)
            sync_folder(path.parent)

    def describe_deletion(self, folder: str) -> str:
        """Return how a person deletes the files below a folder."""
        return describe_deletion(f"{self.url}/{folder}")

    def delete(self, name: str) -> None:
        """Delete a file, which may be missing."""
        import obstore

        with self._map_errors(name), suppress(FileNotFoundError):
            obstore.delete(self._client, name)

    def delete_folder(self, folder: str, *, keep: Collection[str] = ()) -> None:
        """Delete the files below a folder but those to keep, by their names below it; in S3 all their versions."""
        import obstore

        names = [f"{folder}/{name}" for name in self.list_files(folder) if name not in keep]
        with self._map_errors(folder):
            if names:
                obstore.delete(self._client, names)
            if self.url.startswith("s3://"):
                self._delete_versions(folder, {f"{folder}/{name}" for name in keep})

    def _delete_versions(self, folder: str, keep: Collection[str]) -> None:
        """Delete the versions of files in S3, if the bucket keeps any; obstore cannot list them."""
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        start = f"{unquote(prefix)}/" if prefix else ""
        with _open_s3(self._retries) as client:
            pages = client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=bucket, Prefix=f"{start}{folder}/"):
                versions = [
                    {"Key": one["Key"], "VersionId": one["VersionId"]}
                    for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
                    if one["Key"].removeprefix(start) not in keep
                ]
                if versions:
                    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
                    if answer.get("Errors"):
                        raise StateError(describe_undeleted(self.url, answer["Errors"][0]))


@contextmanager
def _open_s3(retries: int) -> Iterator[Any]:
    """Yield the client of AWS; a service that has no versions does not fail."""
    import boto3
    from botocore.config import Config

    # By itself it gives up after three tries within some seconds.
    patient = Config(retries={"mode": "standard", "total_max_attempts": retries + 1})
    with closing(boto3.client("s3", config=patient)) as client:
        try:
            yield client
        except client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") != 501:
                raise


def _stored_file(meta: Any) -> StoredFile:
    return StoredFile(meta["size"], meta["e_tag"] or "")
