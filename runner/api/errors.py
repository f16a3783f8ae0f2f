"""Errors of the SDK and of the network, mapped to errors by what to do next.

A call that may have been carried out is told apart from one that certainly was not.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from runner.errors import (
    AcceptanceUnknown,
    AccessError,
    NotAccepted,
    NotFound,
    QueueFull,
    RequestRejected,
    RunnerError,
    Unavailable,
)

if TYPE_CHECKING:
    import anthropic


# These occur before the request is sent, so the batch was certainly not created.
_NOT_SENT_ERRORS = (
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ProxyError",
    "UnsupportedProtocol",
)


# Errors that neither waiting nor another request fixes, whatever the status (platform.claude.com, rate limits,
# 2026-08; SDK 2.12 error codes).
_ACCESS_CODES = (
    "enforced_spend_limit_reached", "contract_spend_limit_reached", "ramp_limit_exceeded", "organization_on_hold",
    "linked_organization_spend_limit_reached", "linked_organization_billing_unavailable", "cmek_key_disabled",
    "claude_code_key_creator_not_member",
)  # fmt: skip


_SPEND_LIMIT_PREFIX = "You have reached your specified"


# Of the packages that find credentials and sign with them: google-auth and botocore.
_CREDENTIAL_ERRORS = (
    ("google.auth.exceptions", "GoogleAuthError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
)


_CREDENTIAL_NETWORK_ERRORS = ("TransportError", "ConnectionError", "HTTPClientError")


class Verdict(Enum):
    """The three things that an error response can say about a call that costs money."""

    REJECTED = "the request was rejected: the same bytes cannot succeed"
    NOT_ACCEPTED = "the request was not accepted now: the same bytes can succeed later"
    PERHAPS_ACCEPTED = "the request may have been accepted, and paid"


class Call(Enum):
    """The calls that `judge_response` tells apart: a create stores a batch before it answers; a read is free."""

    READ = "read"
    CREATE = "create"
    MESSAGE = "message"


# With these statuses the server, or a gateway before it, stopped waiting for an answer that may still come.
_GIVEN_UP = (408, 409, 502, 504)


def judge_response(
    call: Call, status: int, *, is_api_error: bool, has_request_id: bool, error_type: str | None
) -> Verdict:
    """Judge an error response to a create or a message: the call may have been accepted, and paid.

    `is_api_error` means that the body is the API's own error JSON. Only such a body with a request id proves
    that a call with a 5xx was not accepted: anything else may come from a gateway that lost the answer. A create
    that fails with `api_error` may have stored its batch before. A message that fails so has no answer.
    """
    if status == 429:
        return Verdict.NOT_ACCEPTED
    if status < 500 and status not in _GIVEN_UP:
        return Verdict.REJECTED
    if status in _GIVEN_UP or not (is_api_error and has_request_id):
        return Verdict.PERHAPS_ACCEPTED
    is_refusal = status in (503, 529) or error_type == "overloaded_error"
    return Verdict.NOT_ACCEPTED if is_refusal or call is not Call.CREATE else Verdict.PERHAPS_ACCEPTED


def credential_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the packages that find credentials, as far as these are in use."""
    return tuple(getattr(sys.modules[name], kind) for name, kind in _CREDENTIAL_ERRORS if name in sys.modules)


def _is_network_error(error: Exception) -> bool:
    """Return whether credentials could not be asked for, which can pass."""
    is_lost = any(kind.__name__ in _CREDENTIAL_NETWORK_ERRORS for kind in type(error).__mro__)
    return is_lost or bool(getattr(error, "retryable", False))


@contextmanager
def map_errors(call: Call = Call.READ) -> Iterator[None]:
    """Translate exceptions of the SDK and httpx2 into errors by what to do next.

    A call without a response may have been carried out, unless it only reads.
    """
    import anthropic
    import httpx2

    lost = Unavailable if call is Call.READ else AcceptanceUnknown
    try:
        yield
    except credential_errors() as error:
        # Raised before a request leaves.
        own = Unavailable if _is_network_error(error) else AccessError
        raise own(f"the credentials cannot be used: {error}") from error
    except anthropic.APIStatusError as error:
        raise _error_for_status(error, call) from error
    except anthropic.APIConnectionError as error:
        cause = error.__cause__ or error
        if isinstance(cause, RunnerError):
            # Raised while the body was sent, so that it was cut short.
            raise cause from None
        if type(cause).__name__ == "LocalProtocolError":
            # Its text can contain the key.
            raise AccessError("a header is not valid: check the API key and the headers for line breaks") from None
        kind = Unavailable if type(cause).__name__ in _NOT_SENT_ERRORS else lost
        raise kind(f"no answer from the API: {cause}") from error
    except httpx2.HTTPError as error:
        raise lost(f"the connection broke: {error}") from error
    except (msgspec.DecodeError, ValueError, RecursionError, anthropic.APIError) as error:
        raise lost(f"an answer that is not the API's: {error}") from error
    except anthropic.AnthropicError as error:
        raise AccessError(f"the credentials cannot be used: {error}") from error


class AccountKey(NamedTuple):
    """The name of an account, and of the variable that holds its key."""

    account: str
    variable: str


@contextmanager
def name_account(key: AccountKey | None) -> Iterator[None]:
    """Name the account in each AccessError, if there is one, and what to do with its key."""
    try:
        yield
    except AccessError as error:
        if key is None:
            raise
        raise AccessError(
            f"account {key.account}: {error}{_find_remedy(error, key.variable)}"
        ) from error.__cause__


def _find_remedy(error: AccessError, variable: str) -> str:
    status = getattr(error.__cause__, "status_code", None)
    if status == 401:
        return f": set {variable} to a valid key"
    if status in (400, 402, 403, 429):
        return f": look up the limits and permissions of the key in {variable} in the Console"
    return f" (its key is in {variable})"


class _InnerError(msgspec.Struct):
    type: str
    message: str


class _ApiError(msgspec.Struct, tag_field="type", tag="error"):
    """The shape of the API's own error responses, which distinguishes them from a gateway's."""

    error: _InnerError
    request_id: str | None = None


def _judge(error: "anthropic.APIStatusError", call: Call) -> Verdict:
    """Return what the response of a create or a message says."""
    try:
        own = msgspec.json.decode(error.response.content, type=_ApiError)
    except msgspec.DecodeError:
        own = None
    return judge_response(
        call,
        error.status_code,
        is_api_error=own is not None,
        has_request_id=bool(error.request_id or (own is not None and own.request_id)),
        error_type=own.error.type if own is not None else None,
    )


def _error_for_status(error: "anthropic.APIStatusError", call: Call) -> RunnerError:
    status, text = error.status_code, error.api_message or _to_one_line(error.message)
    message = f"HTTP {status}: {text}" + (f" (request {error.request_id})" if error.request_id else "")
    retry_after = _parse_retry_after(error.response.headers.get("retry-after"))
    if 300 <= status < 400:
        return AccessError(f"the base URL redirects (HTTP {status}): set ANTHROPIC_BASE_URL to its target")
    if status in (401, 402, 403) or error.error_code in _ACCESS_CODES or text.startswith(_SPEND_LIMIT_PREFIX):
        return AccessError(message)
    if call is Call.READ:
        is_passing = status in (408, 409, 429) or status >= 500
        kind = NotFound if status == 404 else RequestRejected
        if status == 404 and error.api_message is None:
            message = f"the API did not answer, but something before it: check the base URL ({message})"
        return Unavailable(message, retry_after=retry_after) if is_passing else kind(message)
    match _judge(error, call):
        case Verdict.PERHAPS_ACCEPTED:
            return AcceptanceUnknown(message)
        case Verdict.NOT_ACCEPTED:
            if call is not Call.CREATE:
                return Unavailable(message, retry_after=retry_after)
            return (QueueFull if status == 429 else NotAccepted)(message, retry_after=retry_after)
        case Verdict.REJECTED if status == 404 and call is Call.CREATE:
            return AccessError(f"the base URL has no Message Batches API ({message}): check the URL")
    return RequestRejected(message)


def is_verdict_on_request(error: RunnerError) -> bool:
    """Return whether the API itself rejected a request or its model, rather than a gateway or its path."""
    import anthropic

    cause = error.__cause__
    if not isinstance(cause, anthropic.APIStatusError):
        return False
    if cause.status_code == 404:
        return cause.type == "not_found_error" and "model" in (cause.api_message or "")
    return cause.status_code in (400, 422) and cause.type == "invalid_request_error"


def _to_one_line(text: str) -> str:
    """Return the text of an error that is not the API's own, such as an HTML page, as one short line."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}…"


def _parse_retry_after(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None
