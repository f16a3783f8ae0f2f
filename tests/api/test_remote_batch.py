"""Batches as the API shows them: what is counted, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from runner import Summary
from runner.errors import AcceptanceUnknown, Unavailable
from tests.support.hostile.server import batch, hostile_api, response
from tests.support.projects import ROWS

ODD_IDS = ["", "a b", "../x", "msgbatch_1\n", "\x1b[2Jx", "msgbatch_é", "a" * 300]


@pytest.mark.parametrize("id", ODD_IDS)
def test_batch_with_an_odd_id_is_refused(id: str) -> None:
    listed = {"data": [batch(id)], "has_more": False}
    answer: dict[str, Any] = {"GET": listed, "POST": batch(id)}
    with hostile_api(lambda method, _: response(answer[method])) as api:
        with pytest.raises(AcceptanceUnknown):
            api.create_batch([b"{}"], 2, lambda: None)
        with pytest.raises(Unavailable):
            list(api.list_batches(created_after=0))


def test_answer_about_another_batch_is_refused() -> None:
    with hostile_api(lambda _, __: response(batch("msgbatch_2"))) as api, pytest.raises(Unavailable, match="_2"):
        api.retrieve_batch("msgbatch_1")


@pytest.mark.parametrize("extra", [{"total": 2}, {"queued": None}, {"detail": {"a": 1}}])
def test_only_the_five_known_counts_are_summed(extra: dict[str, Any]) -> None:
    counts = {"processing": 1, "succeeded": 1, **extra}
    with hostile_api(lambda _, __: response(batch(request_counts=counts))) as api:
        assert api.retrieve_batch("msgbatch_1").requests == 2


def test_added_count_does_not_delay_a_run(run_job: Callable[..., Summary]) -> None:
    assert run_job(faults=["count-added:100%", "accept-then-drop"]).outcomes == {"succeeded": ROWS}
