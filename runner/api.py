"""Client for the Message Batches API: one method per call, and errors by what to do next.

This is the only module that uses the anthropic SDK. It imports the SDK with the first client, because the import
takes seconds. The SDK's own retries are off, because a create that is sent twice is paid twice.
"""

import ipaddress
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from runner.errors import AcceptanceUnknown, AccessError, NotFound, RequestRejected, RunnerError, Unavailable

if TYPE_CHECKING:
    import anthropic
    import httpx2

_MESSAGES_PATH = "/v1/messages"
_BATCHES_PATH = f"{_MESSAGES_PATH}/batches"
_BLOCK_BYTES = 1 << 18
_MAX_FILES = 100  # ids in one list of files (SDK 2.12, file_list_params)
# These occur before the request is sent, so the batch was certainly not created.
_NOT_SENT_ERRORS = (
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ProxyError",
    "UnsupportedProtocol",
)
# The params that count_tokens accepts (SDK 2.12, message_count_tokens_params).
_COUNTED_PARAMS = (
    "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control",
    "mcp_servers",
)  # fmt: skip
# Errors that neither waiting nor another request fixes, whatever the status (platform.claude.com, rate limits,
# 2026-08; SDK 2.12 error codes).
_ACCESS_CODES = (
    "enforced_spend_limit_reached", "contract_spend_limit_reached", "ramp_limit_exceeded", "organization_on_hold",
    "linked_organization_spend_limit_reached", "linked_organization_billing_unavailable", "cmek_key_disabled",
    "claude_code_key_creator_not_member",
)  # fmt: skip
_SPEND_LIMIT_PREFIX = "You have reached your specified"


class _Batch(msgspec.Struct):
    id: str
    processing_status: str
    request_counts: dict[str, int]
    created_at: datetime
    ended_at: datetime | None = None
    archived_at: datetime | None = None


class _Message(msgspec.Struct, tag_field="type", tag="message"):
    """The field that distinguishes a response of the Messages API from a proxy's page."""

    usage: msgspec.Raw


class _TokenCount(msgspec.Struct):
    input_tokens: int


class _File(msgspec.Struct):
    id: str


class _Files(msgspec.Struct):
    data: list[_File]


class _List(msgspec.Struct):
    data: list[_Batch]
    has_more: bool
    last_id: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A Message Batch as the API shows it. Times are Unix seconds by the API's clock.

    `counts` are the API's request_counts; `request_id` and `workspace_id` come from the response headers.
    """

    id: str
    processing_status: str
    counts: dict[str, int]
    created_at: float
    ended_at: float | None
    archived_at: float | None
    request_id: str | None
    workspace_id: str | None

    @property
    def requests(self) -> int:
        """The number of requests in the batch: the sum of the counts, whatever their status."""
        return sum(self.counts.values())


class WorkspaceInfo(NamedTuple):
    """The API's clock, the workspace of the credentials, and the creation time of its newest batch.

    Times are Unix seconds; `now` is precise to the second. `workspace_id` is None if the API does not return it.
    `newest_batch_at` is None if the workspace has no batches.
    """

    now: float
    workspace_id: str | None
    newest_batch_at: float | None


class _FileChunks:
    """The bytes of a file, in blocks; each iteration starts over, so a request can be sent again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block


class Api:
    """A client for the API or the simulator; both use the real SDK over HTTP."""

    def __init__(self, client: "anthropic.Anthropic", name: str | None = None) -> None:
        self._client = client
        self._clock_offset: float | None = None
        self.base_url = name or _redact_password(str(client.base_url))

    @property
    def now(self) -> float:
        """The API's time in Unix seconds: as of the last `fetch_workspace_info`, advanced by the monotonic
        clock."""
        if self._clock_offset is None:
            self.fetch_workspace_info()
        return (self._clock_offset or 0.0) + time.monotonic()

    def fetch_workspace_info(self) -> WorkspaceInfo:
        """Read the API's clock, workspace and newest batch, and set the clock behind `now`."""
        with _map_errors():
            response = self._client.messages.batches.with_raw_response.list(limit=1)
            now = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
            newest = msgspec.json.decode(response.read(), type=_List).data[:1]
            self._clock_offset = now - time.monotonic()
            created_at = newest[0].created_at.timestamp() if newest else None
            return WorkspaceInfo(now, response.headers.get("anthropic-workspace-id"), created_at)

    def create_batch(self, body: Path) -> RemoteBatch:
        """Create a batch from a body on disk.

        Raises AcceptanceUnknown if the batch may have been accepted; Unavailable, RequestRejected or
        AccessError if not.
        """
        with _map_errors(_may_have_created_batch):
            response = self._post(_BATCHES_PATH, _FileChunks(body), body.stat().st_size)
            return _decode_remote_batch(response.content, response.headers)

    def create_message(self, params: bytes) -> bytes:
        """Send one request synchronously and return its result in the form of a results file.

        Raises AcceptanceUnknown if it may have been answered and billed; Unavailable or AccessError if not. A
        request that the API rejects returns an `errored` result.
        """
        import anthropic

        try:
            with _map_errors(_may_have_created_message):
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
        """Count a request's input tokens with the API's free endpoint. Raises ApiError or AccessError."""
        given = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
        body = msgspec.json.encode({name: value for name, value in given.items() if name in _COUNTED_PARAMS})
        with _map_errors():
            response = self._post(f"{_MESSAGES_PATH}/count_tokens", body, len(body))
            return msgspec.json.decode(response.content, type=_TokenCount).input_tokens

    def upload_file(self, data: bytes, name: str, media_type: str) -> str:
        """Upload a file to the Files API and return its id. Raises ApiError or AccessError."""
        with _map_errors():
            response = self._client.files.with_raw_response.upload(file=(name, data, media_type))
            return msgspec.json.decode(response.read(), type=_File).id

    def delete_file(self, file_id: str) -> None:
        """Delete a file from the Files API. Raises ApiError or AccessError."""
        with _map_errors():
            self._client.files.delete(file_id)

    def find_existing_files(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that the Files API still has. Raises ApiError or AccessError."""
        found = set[str]()
        for start in range(0, len(ids), _MAX_FILES):
            with _map_errors():
                some = list(ids[start : start + _MAX_FILES])
                response = self._client.files.with_raw_response.list(ids=some)
                found |= {file.id for file in msgspec.json.decode(response.read(), type=_Files).data}
        return found

    def _post(self, path: str, content: "bytes | _FileChunks", size: int) -> "httpx2.Response":
        import httpx2

        headers = {"content-length": str(size), "content-type": "application/json"}
        options: Any = {"headers": headers, "max_retries": 0}
        return self._client.post(path, cast_to=httpx2.Response, content=content, options=options)

    def retrieve_batch(self, batch_id: str) -> RemoteBatch:
        """Retrieve the current state of a batch. Raises NotFound, Unavailable or AccessError."""
        with _map_errors():
            response = self._client.messages.batches.with_raw_response.retrieve(batch_id)
            return _decode_remote_batch(response.read(), response.headers)

    def list_batches(self, *, created_after: float) -> Iterator[RemoteBatch]:
        """Yield all batches of the workspace created at or after `created_after` (Unix seconds), newest first.

        The creation time ends the listing, not a cursor, because two batches can share an instant.
        """
        cursor: dict[str, Any] = {}
        while True:
            with _map_errors():
                response = self._client.messages.batches.with_raw_response.list(limit=100, **cursor)
                page = msgspec.json.decode(response.read(), type=_List)
            for batch in page.data:
                if batch.created_at.timestamp() < created_after:
                    return
                yield _to_remote_batch(batch, response.headers)
            if not page.has_more or page.last_id is None:
                return
            if cursor.get("after_id") == page.last_id:
                raise Unavailable("cannot list all batches: the API returned the same page twice")
            cursor = {"after_id": page.last_id}

    def cancel_batch(self, batch_id: str) -> None:
        """Ask the API to cancel a batch; requests that have already ended keep their results."""
        with _map_errors():
            self._client.messages.batches.cancel(batch_id)

    def delete_batch(self, batch_id: str) -> None:
        """Delete an ended batch and its results."""
        with _map_errors():
            self._client.messages.batches.delete(batch_id)

    def stream_results(self, batch_id: str) -> Iterator[bytes]:
        """Yield a results file in blocks of bytes, from the configured base URL, not from `results_url`.

        Raises NotFound, Unavailable (also in the middle of the stream) or AccessError.
        """
        import httpx2

        # The SDK's own decoder takes 115 µs per line, and loses lines it has read when the stream breaks.
        headers = {"X-Stainless-Raw-Response": "stream", "accept": "application/binary"}
        with _map_errors():
            response: Any = self._client.get(
                f"{_BATCHES_PATH}/{batch_id}/results", cast_to=httpx2.Response, options={"headers": headers}
            )
            try:
                yield from response.iter_bytes(_BLOCK_BYTES)
            finally:
                response.close()


def _to_remote_batch(batch: _Batch, headers: Any) -> RemoteBatch:
    return RemoteBatch(
        batch.id,
        batch.processing_status,
        batch.request_counts,
        batch.created_at.timestamp(),
        batch.ended_at.timestamp() if batch.ended_at else None,
        batch.archived_at.timestamp() if batch.archived_at else None,
        headers.get("request-id"),
        headers.get("anthropic-workspace-id"),
    )


def _decode_remote_batch(body: bytes, headers: Any) -> RemoteBatch:
    return _to_remote_batch(msgspec.json.decode(body, type=_Batch), headers)


def _never_has_side_effects(_: int) -> bool:
    return False


def _may_have_created_batch(status: int) -> bool:
    """Return whether a create with this response status may have been accepted."""
    return status in (408, 409) or status >= 500


def _may_have_created_message(status: int) -> bool:
    """Return whether a message with this response status may be billed.

    With these statuses a gateway stopped waiting for the answer. The API's own errors are free.
    """
    return status in (408, 409, 504) or 520 <= status < 529


@contextmanager
def _map_errors(may_have_succeeded: Callable[[int], bool] = _never_has_side_effects) -> Iterator[None]:
    """Translate exceptions of the SDK and httpx2 into errors by what to do next.

    `may_have_succeeded` returns whether a call with this status may have been carried out. A call without a
    response may have been, unless it only reads.
    """
    import anthropic
    import httpx2

    lost = Unavailable if may_have_succeeded is _never_has_side_effects else AcceptanceUnknown
    try:
        yield
    except anthropic.APIStatusError as error:
        raise _error_for_status(error, may_have_succeeded) from error
    except anthropic.APIConnectionError as error:
        cause = error.__cause__ or error
        if type(cause).__name__ == "LocalProtocolError":
            # Its text can contain the key.
            raise AccessError("a header is not valid: check the API key and the headers for line breaks") from None
        kind = Unavailable if type(cause).__name__ in _NOT_SENT_ERRORS else lost
        raise kind(f"no answer from the API: {cause}") from error
    except httpx2.HTTPError as error:
        raise lost(f"the connection broke: {error}") from error
    except (msgspec.DecodeError, ValueError, anthropic.APIError) as error:
        raise lost(f"an answer that is not the API's: {error}") from error
    except anthropic.AnthropicError as error:
        raise AccessError(f"the credentials cannot be used: {error}") from error


def _error_for_status(error: "anthropic.APIStatusError", may_have_succeeded: Callable[[int], bool]) -> RunnerError:
    status, text = error.status_code, error.api_message or _to_one_line(error.message)
    message = f"HTTP {status}: {text}" + (f" (request {error.request_id})" if error.request_id else "")
    if 300 <= status < 400:
        return AccessError(f"the base URL redirects (HTTP {status}): set ANTHROPIC_BASE_URL to its target")
    if status in (401, 402, 403) or error.error_code in _ACCESS_CODES or text.startswith(_SPEND_LIMIT_PREFIX):
        return AccessError(message)
    if status == 429:
        return Unavailable(message, retry_after=_parse_retry_after(error.response.headers.get("retry-after")))
    if may_have_succeeded(status):
        return AcceptanceUnknown(message)
    if status in (408, 409) or status >= 500:
        return Unavailable(message, retry_after=_parse_retry_after(error.response.headers.get("retry-after")))
    if status == 404 and may_have_succeeded is _may_have_created_batch:
        return AccessError(f"the base URL has no Message Batches API ({message}): check the URL")
    return (
        NotFound(message)
        if status == 404 and may_have_succeeded is _never_has_side_effects
        else RequestRejected(message)
    )


def _to_one_line(text: str) -> str:
    """Return the text of an error that is not the API's own, such as an HTML page, as one short line."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}…"


def _parse_retry_after(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None


def _redact_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def may_have_credentials() -> bool:
    """Return whether the SDK may find credentials: a cheap check that does not import it."""
    named = any(name.startswith("ANTHROPIC_") and name != "ANTHROPIC_BASE_URL" for name in os.environ)
    profiles = Path(os.environ.get("ANTHROPIC_CONFIG_DIR", "~/.config/anthropic")).expanduser()
    return named or profiles.is_dir()


@contextmanager
def connect(
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    name: str | None = None,
    betas: Sequence[str] = (),
) -> Iterator[Api]:
    """Open a client; the SDK reads missing settings from the environment.

    `name` is recorded instead of the base URL, for a server whose address changes. `betas` are the beta features
    that every call requests.

    Raises AccessError if there are no credentials, or if the SDK's settings contradict each other.
    """
    import anthropic

    url = base_url or os.environ.get("ANTHROPIC_BASE_URL")
    # A proxy from the environment would be used for loopback addresses too.
    direct = url is not None and _is_loopback(url)
    # A redirect must not decide where prompts go or where results come from.
    http_client = anthropic.DefaultHttpxClient(trust_env=not direct, follow_redirects=False)
    try:
        client = anthropic.Anthropic(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            http_client=http_client,
            default_headers={"anthropic-beta": ",".join(betas)} if betas else None,
        )
    except (anthropic.AnthropicError, ValueError) as error:
        raise AccessError(f"the API client cannot be created: {error}") from error
    with client:
        found = client.api_key or client.auth_token or client.credentials
        if not found and "ANTHROPIC_CUSTOM_HEADERS" not in os.environ:
            raise AccessError("no credentials: set ANTHROPIC_API_KEY, or try the job with --simulate")
        yield Api(client, name)
