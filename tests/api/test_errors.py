"""An error response is judged by who sent it: the API itself, or something in between."""

from pathlib import Path

import pytest

from runner.api.connect import connect
from runner.api.errors import Call, Verdict, judge_response
from runner.errors import FileChanged, NotAccepted, RunnerError, StateLocked
from tests.support.simulator import accepted, simulator

OWN, ANONYMOUS, PAGE = (True, True), (True, False), (False, True)
PERHAPS, NOT_NOW, REJECTED = Verdict.PERHAPS_ACCEPTED, Verdict.NOT_ACCEPTED, Verdict.REJECTED


def judge(call: Call, status: int, sender: tuple[bool, bool], kind: str | None = None) -> Verdict:
    is_api_error, has_request_id = sender
    return judge_response(call, status, is_api_error=is_api_error, has_request_id=has_request_id, error_type=kind)


@pytest.mark.parametrize("call", [Call.CREATE, Call.MESSAGE])
@pytest.mark.parametrize("status", [500, 503, 520, 529])
@pytest.mark.parametrize("sender", [ANONYMOUS, PAGE, (False, False)])
def test_server_error_of_a_stranger_proves_nothing(call: Call, status: int, sender: tuple[bool, bool]) -> None:
    assert judge(call, status, sender, "overloaded_error") == PERHAPS


@pytest.mark.parametrize(
    ("status", "kind", "create", "message"),
    [
        (529, "overloaded_error", NOT_NOW, NOT_NOW),
        (503, "api_error", NOT_NOW, NOT_NOW),
        (500, "overloaded_error", NOT_NOW, NOT_NOW),
        (500, "api_error", PERHAPS, NOT_NOW),
        (504, "timeout_error", PERHAPS, PERHAPS),
        (502, "api_error", PERHAPS, PERHAPS),
        (408, "timeout_error", PERHAPS, PERHAPS),
        (409, "conflict_error", PERHAPS, PERHAPS),
        (429, "rate_limit_error", NOT_NOW, NOT_NOW),
        (400, "invalid_request_error", REJECTED, REJECTED),
        (413, "request_too_large", REJECTED, REJECTED),
    ],
)
def test_error_of_the_api_is_judged(status: int, kind: str, create: Verdict, message: Verdict) -> None:
    assert (judge(Call.CREATE, status, OWN, kind), judge(Call.MESSAGE, status, OWN, kind)) == (create, message)


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_client_error_of_a_gateway_rejects_too(status: int) -> None:
    assert judge(Call.CREATE, status, PAGE) == judge(Call.MESSAGE, status, PAGE) == REJECTED


@pytest.mark.parametrize("error", [FileChanged, NotAccepted, StateLocked])
def test_error_that_cuts_a_body_short_is_raised(tmp_path: Path, error: type[RunnerError]) -> None:
    def confirm() -> None:
        raise error("cut short")

    with (
        simulator(tmp_path) as environ,
        connect(base_url=environ["ANTHROPIC_BASE_URL"], api_key="a key") as api,
        pytest.raises(error, match="cut short"),
    ):
        api.create_batch([b"{}"], 2, confirm)
    assert accepted(tmp_path) == 0
