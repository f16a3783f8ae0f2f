"""Failures of one cause have one reason, which holds nothing of the row."""

import pytest

from runner.results.outcome import Outcome, make_rejected_line, parse_result
from runner.results.output_format import build_output_format
from runner.results.reason import MAX_REASON_CHARS
from runner.spec.spec import Check, Output
from tests.support.outputs import COUNT_SCHEMA, error_line, message_line, result_line

SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "label": {"enum": ["good", "bad"]},
        "lines": {"type": "array", "items": COUNT_SCHEMA},
    },
    "required": ["n"],
    "additionalProperties": False,
}
CHECKS = (Check("n > 0", "n is not positive"), Check("100 / n > 1", "n is too large"))
FORMAT = build_output_format(Output(schema=SCHEMA, checks=CHECKS))


def reason(line: bytes) -> str | None:
    return parse_result(line, FORMAT, {}).reason


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"n": 2}', None),
        ('{"n": "x"}', 'invalid: n: it is not of type "integer"'),
        ('{"n": 1, "label": "ugly"}', 'invalid: label: it is not one of "good" or "bad"'),
        ('{"n": 1, "lines": [{"n": 1}, {"n": null}]}', 'invalid: lines[].n: it is not of type "integer"'),
        ('{"n": 1, "q": 2}', "invalid: the answer: it has properties that are not allowed"),
        ("{}", 'invalid: the answer: "n" is a required property'),
        ("not", "invalid: not JSON"),
        ('{"n": -1}', "invalid: n is not positive"),
        ('{"n": 500}', "invalid: n is too large"),
    ],
)
def test_reason_of_an_invalid_answer_names_no_values(text: str, shown: str | None) -> None:
    assert reason(message_line(text)) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (message_line("{", stop_reason="max_tokens"), "truncated: max_tokens"),
        (message_line("no", stop_reason="refusal"), "refused"),
        (message_line("no", stop_reason="refusal", stop_details={"category": "bio"}), "refused: bio"),
        (result_line({"type": "expired"}), "expired"),
        (result_line({"type": "canceled"}), "canceled"),
        (error_line("overloaded_error", "Overloaded"), "errored: overloaded_error: Overloaded"),
    ],
)
def test_reason_names_the_outcome_then_its_cause(line: bytes, shown: str) -> None:
    assert reason(line) == shown


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        (
            error_line("invalid_request_error", "prompt is too long: 201,000 tokens > 200000 maximum"),
            error_line("invalid_request_error", "prompt is too long: 205000 tokens > 200000 maximum"),
            "errored: invalid_request_error: prompt is too long: # tokens > # maximum",
        ),
        (
            make_rejected_line("r-1", "scans/a 1.pdf cannot be read: no such file"),
            make_rejected_line("r-2", "scans/b.pdf cannot be read: no such file"),
            "rejected: … cannot be read: no such file",
        ),
        (
            make_rejected_line("r-1", "scans/a.tiff: it has 1 page, and `pages: 2-3` selects page 2"),
            make_rejected_line("r-2", "scans/b 2.png: it has 1 page, and `pages: 4-` selects page 4"),
            "rejected: …: it has # page, and `pages: …` selects page #",
        ),
        (
            error_line("api_error", "request req_011CX failed for base64"),
            error_line("api_error", "request req_99 failed for base64"),
            "errored: api_error: request … failed for base64",
        ),
    ],
)
def test_reason_is_the_same_for_rows_of_one_cause(one: bytes, other: bytes, shown: str) -> None:
    assert {reason(one), reason(other)} == {shown}


def test_reason_fits_on_a_line() -> None:
    found = reason(error_line("api_error", "a\n" + "very long " * 50))
    assert found is not None
    assert len(found) == MAX_REASON_CHARS
    assert "\n" not in found


def test_row_without_a_result_has_its_outcome_as_reason() -> None:
    error = {"type": "missing", "message": "the API returned no result for this request"}
    assert Outcome("", "missing", error=error).reason == "missing"


def test_reason_keeps_the_setting_that_helps() -> None:
    shown = [
        reason(make_rejected_line("1-1-1-1", f"scans/{name} is a TIFF image: set `convert: true` in its block"))
        for name in ("a.tiff", "b.tiff")
    ]
    assert shown == ["rejected: … is a TIFF image: set `convert: true` in its block"] * 2
