"""Every call of the API ends, whatever the server does: a table of all calls and all misbehaviours."""

import inspect
import tracemalloc
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from runner.api.client import Api
from runner.api.limits import ApiLimits
from runner.errors import AcceptanceUnknown, AccessError, ApiError, RunnerError, Unavailable
from tests.support.hostile.misbehaviour import (
    BROKEN,
    CALLS,
    ENDLESS,
    FAST_LIMITS,
    MAX_BYTES,
    NOT_THE_API,
    STATUSES,
    TOO_LONG,
    misbehaving_api,
)
from tests.support.hostile.server import response
from tests.support.simulator import DEEP_JSON

Make = Callable[[], Iterable[bytes]]
MAY_BE_PAID = {"create_batch", "create_message"}
OWN_ERROR = b'{"type":"error","error":{"type":"api_error","message":"no"},"request_id":"req_1"}'
UNREAD = {"delete_file", "cancel_batch", "delete_batch"}
"""Calls whose answer says nothing but its status."""


def call_all(api: Api, folder: Path) -> dict[str, Any]:
    """The error of every call, made at the same time, or what it returned."""
    body = folder / "body"
    body.write_bytes(b'{"requests":[]}')

    def call(name: str) -> Any:
        try:
            return CALLS[name](api, body)
        except RunnerError as error:
            return error

    with ThreadPoolExecutor(len(CALLS)) as pool:
        return dict(zip(CALLS, pool.map(call, CALLS), strict=True))


def unexpected(found: dict[str, Any]) -> dict[str, Any]:
    """The calls that did not end as a call whose answer is lost."""
    return {
        name: error
        for name, error in found.items()
        if not isinstance(error, AcceptanceUnknown if name in MAY_BE_PAID else Unavailable)
    }


def test_every_call_of_the_client_is_in_the_table() -> None:
    methods = {name for name, _ in inspect.getmembers(Api, inspect.isfunction) if not name.startswith("_")}
    assert methods == set(CALLS)


@pytest.mark.parametrize("make", [*ENDLESS.values(), *BROKEN.values()], ids=[*ENDLESS, *BROKEN])
def test_answer_that_does_not_end_well_is_lost(tmp_path: Path, make: Make) -> None:
    with misbehaving_api(make) as api:
        assert unexpected(call_all(api, tmp_path)) == {}


@pytest.mark.parametrize("make", TOO_LONG.values(), ids=TOO_LONG)
def test_answer_that_is_too_long_takes_no_memory(tmp_path: Path, make: Make) -> None:
    with misbehaving_api(make) as api:
        tracemalloc.start()
        try:
            found = call_all(api, tmp_path)
            assert unexpected(found) == {}
            assert tracemalloc.get_traced_memory()[1] < len(CALLS) * MAX_BYTES * 10
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("make", NOT_THE_API.values(), ids=NOT_THE_API)
def test_answer_of_something_else_is_lost(tmp_path: Path, make: Make) -> None:
    with misbehaving_api(make) as api:
        found = call_all(api, tmp_path)
    assert isinstance(found.pop("stream_results"), int)
    assert unexpected({name: error for name, error in found.items() if name not in UNREAD}) == {}


@pytest.mark.parametrize("body", [OWN_ERROR, b"<html>no</html>", DEEP_JSON], ids=["json", "html", "deep"])
def test_error_status_is_an_error_of_the_runner(tmp_path: Path, body: bytes) -> None:
    status = 0
    with misbehaving_api(lambda: response(body, status=status, Location="http://127.0.0.1:9/")) as api:
        for status in STATUSES:
            found = call_all(api, tmp_path)
            assert isinstance(found.pop("create_message"), bytes | ApiError | AccessError)
            wrong = [name for name, error in found.items() if not isinstance(error, ApiError | AccessError)]
            assert (status, wrong) == (status, [])


@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)
def test_stop_signal_is_heard_during_every_call(tmp_path: Path, make: Make) -> None:
    with misbehaving_api(make) as api:
        patient = replace(FAST_LIMITS.read, seconds=600)
        paid = replace(patient, seconds_after_stop=0.1)
        api.limits = ApiLimits(read=patient, create=paid, message=paid, results=patient)
        Timer(0.3, api.stop.set).start()
        found = call_all(api, tmp_path)
    assert unexpected(found) == {}
    assert [name for name, error in found.items() if "stopped" not in str(error)] == []
