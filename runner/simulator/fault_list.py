"""The faults that can be injected, by the stage at which they happen. Each has a name and a description."""

from collections.abc import Callable

import msgspec

from runner.simulator.responses import DropConnection, ErrorResponse, HangConnection

HTML_PAGE = b"<!DOCTYPE html><html><body><h1>Welcome to the proxy</h1></body></html>"


# Without a request id, an error can come from anything between the runner and the API.
_BARE_500 = ErrorResponse(500, "Internal server error", {"request-id": ""})


def _expired_line(line: bytes, custom_id: str | None = None) -> bytes:
    found = custom_id or msgspec.json.decode(line)["custom_id"]
    return msgspec.json.encode({"custom_id": found, "result": {"type": "expired"}}) + b"\n"


CALL_FAULTS: dict[str, dict[str, tuple[str, Exception]]] = {
    "any": {
        "drop": ("connection closed before the call is handled", DropConnection()),
        "storm-429": ("429 with a retry-after header", ErrorResponse(429, "Rate limited", {"retry-after": "1"})),
        "storm-500": ("500 internal server error", ErrorResponse(500, "Internal server error")),
        "storm-529": ("529 overloaded", ErrorResponse(529, "Overloaded")),
        "html": ("200 with an HTML page", ErrorResponse(200, "", {"content-type": "text/html"}, body=HTML_PAGE)),
        "revoked-key": ("401 invalid API key", ErrorResponse(401, "invalid x-api-key")),
        "forbidden": ("403 no permission", ErrorResponse(403, "Your API key does not have permission")),
        "redirect": (
            "307 redirect to another host",
            ErrorResponse(307, "", {"location": "http://127.0.0.1:9/elsewhere"}),
        ),
    },
    "create": {
        "queue-full": (
            "429 because too many requests are in processing",
            ErrorResponse(429, "Number of batch requests in processing exceeds your limit", {"retry-after": "1"}),
        ),
        "spend-limit": (
            "429 for the monthly spend limit: waiting does not help",
            ErrorResponse(429, "You have reached your monthly limit", code="enforced_spend_limit_reached"),
        ),
        "on-hold": (
            "400 because the organization is on hold",
            ErrorResponse(400, "On hold", code="organization_on_hold"),
        ),
        "billing": (
            "402 because the credit balance is too low",
            ErrorResponse(402, "Your credit balance is too low"),
        ),
        "refuse": ("400 because of an unknown beta header", ErrorResponse(400, "anthropic-beta: unknown beta")),
        "too-large": (
            "413 from a proxy in front of the API",
            ErrorResponse(413, "", {"content-type": "text/html"}, body=HTML_PAGE),
        ),
        "refuse-500": ("500 without a request id, and the batch is not accepted", _BARE_500),
        "refuse-503": ("503 of the API, and the batch is not accepted", ErrorResponse(503, "Unavailable")),
        "refuse-529": ("529 of the API, and the batch is not accepted", ErrorResponse(529, "Overloaded")),
        "refuse-504": ("504, and the batch is not accepted", ErrorResponse(504, "Gateway timeout")),
    },
    "created": {
        "accept-then-drop": ("batch accepted, then the connection closes", DropConnection()),
        "accept-then-408": ("batch accepted, then 408", ErrorResponse(408, "Request timeout")),
        "accept-then-409": ("batch accepted, then 409", ErrorResponse(409, "Conflict")),
        "accept-then-500": ("batch accepted, then 500", ErrorResponse(500, "Internal server error")),
        "accept-then-504": ("batch accepted, then 504", ErrorResponse(504, "Gateway timeout")),
        "accept-then-529": ("batch accepted, then 529", ErrorResponse(529, "Overloaded")),
        "accept-then-hang": ("batch accepted, then no response for --fault-delay seconds", HangConnection()),
        "accept-then-cut": (
            "batch accepted, then 200 with half of the JSON",
            ErrorResponse(200, "", body=b'{"id":"msgbat'),
        ),
        "accept-then-html": (
            "batch accepted, then 200 with an HTML page",
            ErrorResponse(200, "", {"content-type": "text/html"}, body=HTML_PAGE),
        ),
    },
    "message": {
        "message-429": (
            "429 for a synchronous request",
            ErrorResponse(429, "Rate limited", {"retry-after": "0.1"}),
        ),
        "message-529": ("529 for a synchronous request", ErrorResponse(529, "Overloaded")),
        "message-500": ("500 of the API for a synchronous request", ErrorResponse(500, "Internal server error")),
        "message-503": ("503 of the API for a synchronous request", ErrorResponse(503, "Unavailable")),
        "message-400": ("400 for a synchronous request", ErrorResponse(400, "messages: something is wrong")),
    },
    "answered": {
        "answer-then-drop": (
            "synchronous request answered and billed, then the connection closes",
            DropConnection(),
        ),
        "answer-then-500": ("synchronous request answered and billed, then 500 without a request id", _BARE_500),
        "answer-then-502": (
            "synchronous request answered and billed, then 502 with an HTML page",
            ErrorResponse(502, "", {"content-type": "text/html"}, body=HTML_PAGE),
        ),
        "answer-then-503": (
            "synchronous request answered and billed, then 503 with an HTML page",
            ErrorResponse(503, "", {"content-type": "text/html"}, body=HTML_PAGE),
        ),
        "answer-then-504": (
            "synchronous request answered and billed, then 504",
            ErrorResponse(504, "Gateway timeout"),
        ),
        "answer-then-html": (
            "synchronous request answered and billed, then 200 with an HTML page",
            ErrorResponse(200, "", {"content-type": "text/html"}, body=HTML_PAGE),
        ),
    },
    "count_tokens": {
        "count-500": ("500 for token counting", ErrorResponse(500, "Internal server error")),
        "count-400": ("400 for token counting", ErrorResponse(400, "tools.0: something is wrong")),
        "count-no-model": ("404 for token counting: unknown model", ErrorResponse(404, "model: claude-of-old")),
        "count-401": ("401 for token counting", ErrorResponse(401, "invalid x-api-key")),
        "count-403": ("403 for token counting", ErrorResponse(403, "Your API key does not have permission")),
        "count-no-path": (
            "404 from a gateway that cannot count tokens",
            ErrorResponse(404, "", {"content-type": "text/html"}, body=HTML_PAGE),
        ),
    },
    "retrieve": {
        "retrieve-404": ("404 for a batch that exists", ErrorResponse(404, "message_batch_id: not found"))
    },
    "results": {"results-404": ("404 for results that exist", ErrorResponse(404, "results: not found"))},
}
"""Faults that make a call fail, by stage of the call: name, description and exception to raise."""

OUTCOME_FAULTS = {
    "errored": "request ends as errored with api_error",
    "overloaded": "request ends as errored with overloaded_error",
    "expired": "request ends as expired",
    "canceled": "request ends as canceled",
    "invalid": "response does not match its schema",
    "stubborn": "invalid response until the request contains an earlier one",
    "truncated": "response stops at max_tokens",
    "empty": "response ends without any content",
    "paused": "response pauses twice, like a server-tool turn",
    "refused": "response is a refusal",
    "missing": "request has no result, though request_counts count it",
    "uncounted": "request has no result, and request_counts do not count it",
    "future-result": "result has a type that does not exist yet",
}
"""Faults of the result of one request."""

LINE_FAULTS: dict[str, tuple[str, Callable[[bytes], list[bytes]]]] = {
    "line-blank": ("blank line in the results", lambda line: [b"\n", line]),
    "line-malformed": ("line of the results cut in half", lambda line: [line[: len(line) // 2] + b"\n"]),
    "line-duplicate": ("duplicate line in the results", lambda line: [line, line]),
    "line-conflict": ("second line that contradicts the first", lambda line: [line, _expired_line(line)]),
    "line-conflict-first": (
        "line that contradicts the next one, which is right",
        lambda line: [_expired_line(line), line],
    ),
    "line-missing": ("line missing from the results", lambda _: []),
    "line-foreign": (
        "line of another client's batch in the results",
        lambda line: [line, _expired_line(line, "somebody-1-1-1")],
    ),
    "line-bad-utf8": ("line that is not valid UTF-8", lambda line: [line[:-4] + b"\xff" + line[-4:]]),
}
"""Faults of one line of the results: description, and function from the line to the lines sent instead."""

DOWNLOAD_FAULTS = {
    "cut-length": "download ends before its Content-Length",
    "cut-chunked": "chunked download ends without its last chunk",
    "cut-line": "download of unknown length ends after a complete line",
    "cut-inside-line": "download of unknown length ends inside a line",
    "cut-short": "download with missing lines, and a Content-Length to match",
    "results-html": "200 with an HTML page instead of the results",
}
"""Faults of the download of results."""

OTHER_FAULTS = {
    "late-commit": "create is cut off, and its batch appears --fault-delay seconds later",
    "list-lag": "batch is listed --fault-delay seconds late",
    "foreign-batch": "another client creates a batch of the same size just before",
    "future-status": "batch has a processing_status that does not exist yet",
    "answer-laid-out": "synchronous response is indented JSON, as from a gateway",
    "batch-hang": "batch does not end until it is canceled",
    "cancel-half": "half of a batch is answered before it is canceled",
    "batch-expired": "all requests of a batch expire",
    "archived": "results of a batch are archived when it ends",
    "deleted": "batch is deleted when it ends",
    "list-no-cursor": "list of batches is empty, and has more, but no last_id",
    "list-unordered": "list of batches begins with the oldest",
    "ended-ahead": "ended_at of a batch is in the year 2099",
    "count-added": "request_counts have a sixth number, which is their sum",
}
"""Faults of batches, of other clients, and of the format of a response."""

LIMIT_FAULTS = {
    "max-requests": "400 for a batch of more than N requests",
    "max-bytes": "413 for a body of more than N bytes",
    "max-queue": "429 if more than N requests would be in processing",
    "date-ahead": "Date header of every response is N seconds ahead",
    "date-behind": "Date header of every response is N seconds behind",
    "refused-row": "400 that names the request, if the batch contains row N",
    "refused-unnamed-row": "400 that names no request, if the batch contains row N",
}
"""Limits on a create, and shifts of the clock; they hold for every call."""

FAULTS: dict[str, str] = {
    **{name: about for failures in CALL_FAULTS.values() for name, (about, _) in failures.items()},
    **OTHER_FAULTS,
    **{name: about for name, (about, _) in LINE_FAULTS.items()},
    **DOWNLOAD_FAULTS,
    **OUTCOME_FAULTS,
    **LIMIT_FAULTS,
}
"""All faults: name and description."""
