"""Client for the Message Batches, Messages and Files APIs: one method per call."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from runner.api.blocks import limit_lines, watch_blocks
from runner.api.clock import ApiClock
from runner.api.errors import AccountKey, Call, is_verdict_on_request, map_errors, name_account
from runner.api.limits import AnswerLimits, ApiLimits, Watch, confirm_nothing, watch_call
from runner.api.pages import read_pages
from runner.api.remote_batch import BatchList, RemoteBatch, decode_remote_batch
from runner.errors import NotFound, RequestRejected, Unavailable
from runner.telemetry.trace import trace_call

if TYPE_CHECKING:
    import anthropic
    import httpx2


_MESSAGES_PATH = "/v1/messages"
_BATCHES_PATH = f"{_MESSAGES_PATH}/batches"

_MAX_FILES = 100  # ids in one list of files (SDK 2.12, file_list_params)

_BLOCK_BYTES = 1 << 18

# The params that count_tokens accepts (SDK 2.12, message_count_tokens_params).
_COUNTED_PARAMS = (
    "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control",
    "mcp_servers",
)  # fmt: skip


class _Message(msgspec.Struct, tag_field="type", tag="message"):
    """The field that distinguishes a response of the Messages API from a proxy's page."""

    usage: msgspec.Raw


class _Model(msgspec.Struct):
    id: str


class _TokenCount(msgspec.Struct):
    input_tokens: int


class _File(msgspec.Struct):
    id: str


class _Files(msgspec.Struct):
    data: list[_File]


class WorkspaceInfo(NamedTuple):
    """The API's clock, the workspace of the credentials, and the creation time of its newest batch.

    Times are Unix seconds; `now` is precise to the second. Ids are None if the API does not return them, and
    `newest_batch_at` is None if the workspace has no batches.
    """

    now: float
    workspace_id: str | None
    newest_batch_at: float | None
    organization_id: str | None = None


class Api:
    """A client for the API or the simulator; both use the real SDK over HTTP.

    `limits` bound each answer. Once `stop` is set, calls end early: see AnswerLimits. `key` is named in errors.
    """

    def __init__(
        self, client: "anthropic.Anthropic", name: str | None = None, key: AccountKey | None = None
    ) -> None:
        self._client, self.key = client, key
        self.limits = ApiLimits()
        self.stop = Event()
        self.clock = ApiClock()
        # Other platforms are told the workspace with each request, and need not name it in an answer.
        self._workspace_id: str | None = getattr(client, "workspace_id", None)
        self._organization_id: str | None = None
        self.base_url = name or _redact_password(str(client.base_url))

    @property
    def now(self) -> float:
        """The API's time in Unix seconds.

        It is the time of the last `fetch_workspace_info`, advanced by a local clock that never jumps and that
        counts the time while the machine is suspended.
        """
        if self.clock.offset is None:
            self.fetch_workspace_info()
        return self.clock.now

    def name_queue(self, account: str | None) -> str:
        """Return the name of the queue in which the requests of its batches are processed.

        An organization has one; if the API does not name that, an account has.
        """
        if self._organization_id is None:
            self.fetch_workspace_info()
        return f"{self.base_url} {self._organization_id or account or ''}".rstrip()

    def _note_organization(self, headers: Any) -> None:
        # A gateway may leave it out of some answers.
        self._organization_id = headers.get("anthropic-organization-id") or self._organization_id or ""

    @contextmanager
    def _call(
        self,
        name: str,
        limits: AnswerLimits,
        *,
        kind: Call = Call.READ,
        batch_id: str | None = None,
        confirm: Callable[[], None] = confirm_nothing,
    ) -> Iterator[None]:
        """Make a call: its name is that in the SDK, its answer is limited, and its errors are the runner's.

        `confirm` is called before each block that is sent.
        """
        url = str(self._client.base_url)
        with (
            name_account(self.key),
            trace_call(name, url, batch_id),
            map_errors(kind),
            watch_call(Watch(limits, self.stop, confirm)),
        ):
            yield

    def fetch_workspace_info(self) -> WorkspaceInfo:
        """Read the API's clock, workspace and newest batch, and set the clock behind `now`."""
        from email.utils import parsedate_to_datetime

        with self._call("messages.batches.list", self.limits.read):
            response = self._client.messages.batches.with_raw_response.list(limit=1)
            now = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
            newest = msgspec.json.decode(response.read(), type=BatchList).data[:1]
            self.clock.set(now)
            self._note_organization(response.headers)
            created_at = newest[0].created_at.timestamp() if newest else None
            workspace_id = self._workspace_id or response.headers.get("anthropic-workspace-id")
            return WorkspaceInfo(now, workspace_id, created_at, self._organization_id or None)

    def create_batch(self, body: Iterable[bytes], size: int, confirm: Callable[[], None]) -> RemoteBatch:
        """Create a batch from the blocks of a body of `size` bytes; each iteration over them starts over.

        An error of a block, or of `confirm`, which is called before each that is sent, cuts the request short.

        Raises AcceptanceUnknown if the batch may have been accepted; Unavailable, RequestRejected or
        AccessError if not. Raises NotAccepted if the API says that it did not accept it: look for it once.
        """
        with self._call("messages.batches.create", self.limits.create, kind=Call.CREATE, confirm=confirm):
            response = self._post(_BATCHES_PATH, body, size)
            return decode_remote_batch(response.content, response.headers)

    def create_message(self, params: bytes) -> bytes:
        """Send one request synchronously and return its result in the form of a results file.

        Raises AcceptanceUnknown if it may have been answered and billed; Unavailable or AccessError if not. A
        request that the API rejects returns an `errored` result.
        """
        import anthropic

        try:
            with self._call("messages.create", self.limits.message, kind=Call.MESSAGE):
                message = self._post(_MESSAGES_PATH, params, len(params)).content
                msgspec.json.decode(message, type=_Message)
                # A gateway may have formatted the response; a results file needs one line.
                return b'{"type":"succeeded","message":%b}' % msgspec.json.format(message, indent=-1)
        except RequestRejected as error:
            cause = error.__cause__
            kind = (cause.type if isinstance(cause, anthropic.APIStatusError) else None) or "invalid_request_error"
            inner = {"type": kind, "message": str(error)}
            return msgspec.json.encode({"type": "errored", "error": {"type": "error", "error": inner}})

    def count_tokens(self, params: bytes) -> int:
        """Count a request's input tokens with the API's free endpoint.

        Raises RequestRejected if the API rejects the request or its model, AccessError for the credentials, and
        Unavailable for everything else, such as a gateway that cannot count.
        """
        given = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
        body = msgspec.json.encode({name: value for name, value in given.items() if name in _COUNTED_PARAMS})
        try:
            with self._call("messages.count_tokens", self.limits.read):
                response = self._post(f"{_MESSAGES_PATH}/count_tokens", body, len(body))
                return msgspec.json.decode(response.content, type=_TokenCount).input_tokens
        except (RequestRejected, NotFound) as error:
            if is_verdict_on_request(error):
                raise RequestRejected(str(error)) from error
            raise Unavailable(f"the base URL cannot count tokens: {error}") from error

    def check_model(self, model: str) -> None:
        """Raise NotFound if the API does not have a model, Unavailable if it does not tell, or AccessError."""
        with self._call("models.retrieve", self.limits.read):
            response = self._client.models.with_raw_response.retrieve(model)
            msgspec.json.decode(response.read(), type=_Model)

    def upload_file(self, data: bytes, name: str, media_type: str) -> str:
        """Upload a file to the Files API and return its id. Raises ApiError or AccessError."""
        with self._call("files.upload", self.limits.create):
            response = self._client.files.with_raw_response.upload(file=(name, data, media_type))
            return msgspec.json.decode(response.read(), type=_File).id

    def delete_file(self, file_id: str) -> None:
        """Delete a file from the Files API. Raises ApiError or AccessError."""
        with self._call("files.delete", self.limits.read):
            self._client.files.with_raw_response.delete(file_id)

    def find_existing_files(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that the Files API still has. Raises ApiError or AccessError."""
        found = set[str]()
        for start in range(0, len(ids), _MAX_FILES):
            with self._call("files.list", self.limits.read):
                some = list(ids[start : start + _MAX_FILES])
                response = self._client.files.with_raw_response.list(ids=some)
                found |= {file.id for file in msgspec.json.decode(response.read(), type=_Files).data}
        return found

    def _post(self, path: str, content: bytes | Iterable[bytes], size: int) -> "httpx2.Response":
        import httpx2

        headers = {"content-length": str(size), "content-type": "application/json"}
        options: Any = {"headers": headers, "max_retries": 0}
        return self._client.post(path, cast_to=httpx2.Response, content=content, options=options)

    def retrieve_batch(self, batch_id: str) -> RemoteBatch:
        """Retrieve the current state of a batch. Raises NotFound, Unavailable or AccessError."""
        with self._call("messages.batches.retrieve", self.limits.read, batch_id=batch_id):
            response = self._client.messages.batches.with_raw_response.retrieve(batch_id)
            remote = decode_remote_batch(response.read(), response.headers)
        if remote.id != batch_id:
            raise Unavailable(f"the API was asked for {batch_id}, and answered with {remote.id}")
        return remote

    def list_batches(self, *, created_after: float) -> Iterator[RemoteBatch]:
        """Yield all batches of the workspace created at or after `created_after` (Unix seconds), newest first.

        Raises Unavailable, also for a list that contradicts itself, and AccessError.
        """
        return read_pages(self._fetch_page, created_after=created_after)

    def _fetch_page(self, cursor: dict[str, Any]) -> tuple[BatchList, Any]:
        with self._call("messages.batches.list", self.limits.read):
            response = self._client.messages.batches.with_raw_response.list(limit=100, **cursor)
            page = msgspec.json.decode(response.read(), type=BatchList)
            self._note_organization(response.headers)
            return page, response.headers

    def cancel_batch(self, batch_id: str) -> None:
        """Ask the API to cancel a batch; requests that have already ended keep their results."""
        with self._call("messages.batches.cancel", self.limits.read, batch_id=batch_id):
            self._client.messages.batches.with_raw_response.cancel(batch_id)

    def delete_batch(self, batch_id: str) -> None:
        """Delete an ended batch and its results."""
        with self._call("messages.batches.delete", self.limits.read, batch_id=batch_id):
            self._client.messages.batches.with_raw_response.delete(batch_id)

    def stream_results(
        self, batch_id: str, *, max_bytes: int | None = None, max_line: int | None = None
    ) -> Generator[bytes]:
        """Yield a results file in blocks of bytes, from the configured base URL, not from `results_url`.

        Raises NotFound, Unavailable (also in the middle of the stream, and for a file or a line of more bytes than
        given) or AccessError.
        """
        import httpx2

        # The SDK's own decoder takes 115 µs per line, and loses lines it has read when the stream breaks.
        headers = {"X-Stainless-Raw-Response": "stream", "accept": "application/binary"}
        limits = self.limits.results
        watch = Watch(replace(limits, max_bytes=min(limits.max_bytes, max_bytes or limits.max_bytes)), self.stop)
        url = str(self._client.base_url)
        with name_account(self.key), trace_call("messages.batches.results", url, batch_id), map_errors():
            with watch_call(watch):
                response: Any = self._client.get(
                    f"{_BATCHES_PATH}/{batch_id}/results", cast_to=httpx2.Response, options={"headers": headers}
                )
            try:
                yield from limit_lines(watch_blocks(response.iter_bytes(_BLOCK_BYTES), watch), max_line)
            finally:
                response.close()


def _redact_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
