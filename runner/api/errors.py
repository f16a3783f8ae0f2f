"""Errors of the SDK and of the network, mapped to errors by what to do next.

A call that may have been carried out is told apart from one that certainly was not.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from runner.errors import AcceptanceUnknown, AccessError, NotFound, RequestRejected, RunnerError, Unavailable

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


def _never_has_side_effects(_: int) -> bool:
    return False


def may_have_created_batch(status: int) -> bool:
    """Return whether a create with this response status may have been accepted."""
    return status in (408, 409) or status >= 500


def may_have_created_message(status: int) -> bool:
    """Return whether a message with this response status may be billed.

    With these statuses a gateway stopped waiting for the answer. The API's own errors are free.
    """
    return status in (408, 409, 504) or 520 <= status < 529


@contextmanager
def map_errors(may_have_succeeded: Callable[[int], bool] = _never_has_side_effects) -> Iterator[None]:
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
    if status == 404 and may_have_succeeded is may_have_created_batch:
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
