"""Responses to a call: one to send, and exceptions that end the call in another way."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

JSON_LINES = "application/x-jsonl"
"""Content type of the results of a batch."""

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Response:
    """Response to send. The pieces of its `body` are sent as they come; `should_close` ends the connection."""

    body: bytes | Iterable[bytes]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    should_close: bool = False


class ErrorResponse(Exception):
    """Error response to a call; `code` is the API's error_code, and `body` replaces the API's JSON.

    A header with an empty value is not sent.
    """

    def __init__(
        self, status: int, text: str, headers: dict[str, str] | None = None, *,
        code: str | None = None, body: bytes | None = None,
    ) -> None:  # fmt: skip
        super().__init__(text)
        self.status = status
        self.headers = headers or {}
        self.code = code
        self.body = body


class DropConnection(Exception):
    """Signal to close the connection without sending more."""


class HangConnection(Exception):
    """Signal to send nothing for the lag, then close the connection."""


class TrickleConnection(Exception):
    """Signal to send a response of one byte now and then for the lag, then close the connection."""


def json_response(
    value: object, *, status: int = 200, headers: dict[str, str] | None = None, indent: int | None = None
) -> Response:
    """Return a response with `value` as JSON. `headers` are added to those of its type and length."""
    body = json.dumps(value, indent=indent).encode()
    given = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    return Response(body, status, given)


def error_response(error: ErrorResponse) -> Response:
    """Return the response that an error sends: its own body, or an error object like the API's."""
    if error.body is not None:
        return Response(error.body, error.status, {"content-length": str(len(error.body)), **error.headers})
    shown: dict[str, object] = {"type": _ERROR_TYPES.get(error.status, "api_error"), "message": str(error)}
    if error.code is not None:
        shown["details"] = {"error_code": error.code}
    value = {"type": "error", "error": shown, "request_id": None}
    return json_response(value, status=error.status, headers=error.headers)
