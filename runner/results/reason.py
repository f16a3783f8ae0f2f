"""The reason of a failed row: a short text that is the same for rows that failed for the same cause."""

import re
from collections.abc import Mapping

MAX_REASON_CHARS = 120

_WITHOUT_DETAIL = ("expired", "canceled", "missing", "refused")

_FILE_NAME = re.compile(r"^.*?\.\w{1,5}(?=:? )")
_VALUES = re.compile(
    r"'[^']*'|`[^`]*`|\"[^\"]*\""  # quoted
    r"|\S+://\S+"
    r"|\b(?:req|msg|msgbatch|file)_\w+"
)
_SETTING = re.compile(r"`[a-z_]+:(?= )")
_NUMBER = re.compile(r"(?<![A-Za-z0-9_])\d+(?:[.,]\d+)*")


def _leave_out_values(message: str) -> str:
    """Return a message without what differs from row to row: names, quoted values, ids and numbers."""
    return _NUMBER.sub("#", _VALUES.sub(_leave_out_value, message))


def _leave_out_value(match: re.Match[str]) -> str:
    """Return an ellipsis for a value; a setting, such as `convert: true`, is the same for all rows.

    Of a setting with a number, such as `pages: 2-3`, the name stays.
    """
    if match[0][0] != "`":
        return "…"
    if not any(map(str.isdigit, match[0])):
        return match[0]
    setting = _SETTING.match(match[0])
    return "…" if setting is None else f"{setting[0]} …`"


def describe_reason(outcome: str, cause: str, error: Mapping[str, str] | None) -> str:
    """Return the reason of a row that did not succeed, such as `invalid: label: it is not of type "string"`.

    `cause` says why an answer is not valid, without values of the row. Without it, the reason follows from the
    error.
    """
    detail = cause
    if not cause and error is not None and outcome not in _WITHOUT_DETAIL:
        message = error["message"]
        detail = _leave_out_values(_FILE_NAME.sub("…", message) if outcome == "rejected" else message)
        if error["type"] != outcome:
            detail = f"{error['type']}: {detail}"
    text = " ".join(f"{outcome}: {detail}".split()) if detail else outcome
    return text if len(text) <= MAX_REASON_CHARS else f"{text[: MAX_REASON_CHARS - 1]}…"
