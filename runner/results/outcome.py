"""Parse one raw line of a results file into an Outcome, and validate its output."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from runner.results.json_answer import replace_surrogates
from runner.results.output_format import TEXT_FORMAT, AnswerBlock, OutputFormat, extract_citations, extract_text
from runner.results.reason import describe_reason

_FINAL_STOP_REASONS = ("end_turn", "stop_sequence", "tool_use")


PAUSE_TURN = "pause_turn"
"""The stop reason of a server-tool turn that continues when it is sent back."""


_TRUNCATED_STOP_REASONS = ("max_tokens", "model_context_window_exceeded", PAUSE_TURN)


_UNKNOWN_RESULT = "unknown_result"


# With these error types, the same request fails again (platform.claude.com, API errors, 2026-08).
_PERMANENT_ERRORS = frozenset(
    {
        "rejected",
        "authentication_error",
        "billing_error",
        "invalid_request_error",
        "not_found_error",
        "permission_error",
        "request_too_large",
        _UNKNOWN_RESULT,
    }
)


LOST_ANSWER = "no_answer"
"""The error type of a synchronous request whose answer was lost, and which may be billed."""


_ANSWERED = ("succeeded", "invalid", "truncated", "refused")


class Outcome(NamedTuple):
    """The outcome of one request; a NamedTuple for speed, because one is created per row.

    `output` is the answer in the form that the spec asks for, else its text. `error` is {type, message}. `usage`
    is the API's own JSON. `is_retryable` means that sending the request again could help. `citations` are those of
    the answer's text, in order. `cause` says why an answer is not valid, without values of the row.
    """

    custom_id: str
    outcome: str
    output: Any = None
    error: dict[str, str] | None = None
    usage: msgspec.Raw | None = None
    stop_reason: str | None = None
    model: str | None = None
    is_retryable: bool = True
    citations: Sequence[Any] = ()
    cause: str = ""

    @property
    def reason(self) -> str | None:
        """The reason of a failure, which is equal for rows of the same cause; None if the row succeeded."""
        return None if self.outcome == "succeeded" else describe_reason(self.outcome, self.cause, self.error)

    @property
    def may_be_billed(self) -> bool:
        """True if the request was answered, or has a result that this version does not know."""
        return self.outcome in _ANSWERED or (self.error is not None and self.error["type"] == _UNKNOWN_RESULT)


class _StopDetails(msgspec.Struct):
    category: str | None = None
    explanation: str | None = None


class _Message(msgspec.Struct):
    content: list[AnswerBlock]
    model: str
    usage: msgspec.Raw
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None


class _Error(msgspec.Struct):
    type: str
    message: str = ""


class _ErrorResponse(msgspec.Struct):
    error: _Error


class _AnyLine(msgspec.Struct):
    custom_id: str
    result: dict[str, Any]


class _Result(msgspec.Struct):
    type: str
    message: _Message | None = None
    error: _ErrorResponse | None = None


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_decode = msgspec.json.Decoder(_Line).decode


def _parse_line(line: bytes) -> _Line:
    try:
        return _decode(line)
    except msgspec.ValidationError as error:
        # This version does not know the shape of the result.
        other = msgspec.json.decode(replace_surrogates(line), type=_AnyLine)
        message = f"a {other.result.get('type')!r} result of a shape that is not known to this version: {error}"
        return _Line(other.custom_id, _Result("errored", error=_ErrorResponse(_Error(_UNKNOWN_RESULT, message))))
    except msgspec.DecodeError:
        # A model can emit half of a surrogate pair, which UTF-8 cannot encode: U+FFFD replaces it.
        repaired = replace_surrogates(line)
        if repaired == line:
            raise
        return _parse_line(repaired)


def _outcome_of_answer(
    line: _Line, message: _Message, output_format: OutputFormat, row: Mapping[str, Any] | None
) -> Outcome:
    reason, problem = message.stop_reason, None
    if reason in _FINAL_STOP_REASONS:
        output, problem = output_format.parse_answer(message.content, reason, row)
    else:
        output = extract_text(message.content)
    name, why, cause, again = "invalid", None, "", True
    if reason == "refusal":
        details = message.stop_details or _StopDetails()
        name, why = "refused", details.explanation or details.category or "the model refused to answer"
        cause = details.category or ""
    elif reason in _TRUNCATED_STOP_REASONS:
        name, why, cause = "truncated", f"the answer stopped at {reason}", reason
    elif reason not in _FINAL_STOP_REASONS:
        why, again = f"the stop_reason {reason!r} is not known to this version", False
        cause = why
    elif problem is None:
        name, again = "succeeded", False
    else:
        why, cause = problem
    error = None if why is None else {"type": name, "message": why}
    usage, citations = _readable_usage(message), extract_citations(message.content)
    return Outcome(line.custom_id, name, output, error, usage, reason, message.model, again, citations, cause)


def _readable_usage(message: _Message) -> msgspec.Raw | None:
    # msgspec does not check raw JSON, and invalid JSON here would break the writing of all outputs.
    try:
        msgspec.json.decode(message.usage)
    except (ValueError, RecursionError):
        return None
    return message.usage


def parse_result(
    line: bytes, output_format: OutputFormat = TEXT_FORMAT, row: Mapping[str, Any] | None = None
) -> Outcome:
    """Read one line of a results file into an outcome, and validate the answer against `output_format`.

    Raises ValueError if it is not a line of a results file. A result that this version does not know never counts
    as success.
    """
    try:
        parsed = _parse_line(line)
    except RecursionError as too_deep:
        raise ValueError("nested too deep") from too_deep
    result = parsed.result
    if result.type == "succeeded" and result.message is not None:
        return _outcome_of_answer(parsed, result.message, output_format, row)
    if result.type in ("errored", "rejected") and result.error is not None:
        error = {"type": result.error.error.type, "message": result.error.error.message}
        return Outcome(
            parsed.custom_id, result.type, error=error, is_retryable=error["type"] not in _PERMANENT_ERRORS
        )
    if result.type in ("expired", "canceled"):
        error = {"type": result.type, "message": f"the API {result.type} the request"}
        return Outcome(parsed.custom_id, result.type, error=error, is_retryable=result.type == "expired")
    error = {
        "type": _UNKNOWN_RESULT,
        "message": f"the result type {result.type!r} is not known to this version",
    }
    return Outcome(parsed.custom_id, "errored", error=error, is_retryable=False)


class _Type(msgspec.Struct):
    type: str


_decode_type = msgspec.json.Decoder(_Type).decode


def parse_result_type(result: bytes) -> str:
    """Return the type of a result: succeeded, errored, canceled or expired."""
    return _decode_type(result).type


def make_rejected_line(custom_id: str, message: str) -> bytes:
    """Return a line in the form of a results file for a row that cannot be sent."""
    error = {"type": "error", "error": {"type": "rejected", "message": message}}
    return msgspec.json.encode({"custom_id": custom_id, "result": {"type": "rejected", "error": error}}) + b"\n"
