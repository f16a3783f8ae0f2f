"""A job behind a proxy whose URL has a path, as gateways such as LiteLLM have: nothing goes past it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from runner import Summary, load_spec, run
from runner.errors import NotFound
from tests.support.outputs import records
from tests.support.projects import BATCHES, EACH_ONCE, write_job
from tests.support.servers import Proxy, proxy
from tests.support.simulator import paid, set_only, simulator

PREFIX = "/proxy/anthropic"


def run_behind(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, prefix: str = PREFIX, removed: Sequence[str] = ()
) -> tuple[Summary, Proxy]:
    """The job of a project, run through a proxy that removes headers from answers."""
    with simulator(root / "api") as environ, proxy(environ["ANTHROPIC_BASE_URL"], PREFIX, removed) as passing:
        url = passing.url.removesuffix(PREFIX) + prefix
        set_only(monkeypatch, ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY="sk-of-the-proxy")
        return run(load_spec(write_job(root)), consent=True), passing


@pytest.mark.parametrize("removed", [(), ("anthropic-workspace-id", "request-id")], ids=["whole", "no ids"])
def test_whole_run_goes_through_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: tuple[str, ...]
) -> None:
    done, passing = run_behind(tmp_path, monkeypatch, removed=removed)
    assert (done.outcomes, paid(tmp_path / "api")) == ({"succeeded": 20}, EACH_ONCE)
    assert [one["outcome"] for one in records(tmp_path / "out/all.jsonl")] == ["succeeded"] * 20
    assert all(one.path.startswith(f"{PREFIX}/v1/messages") for one in passing.got)
    assert all("sk-of-the-proxy" in str(one.headers) for one in passing.got)
    # The URL of results in an answer leads past the proxy.
    assert sum(one.path.endswith("/results") for one in passing.got) == BATCHES


def test_wrong_path_of_a_proxy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match=r"something before it: check the base URL \(HTTP 404"):
        run_behind(tmp_path, monkeypatch, prefix="/proxy")
    assert paid(tmp_path / "api") == {}
