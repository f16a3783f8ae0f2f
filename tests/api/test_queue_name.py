"""The name of the API's queue: an organization has one, whatever the key."""

from pathlib import Path

import pytest

from runner.api.client import Api
from tests.support.simulator import simulator, simulator_client


@pytest.mark.parametrize(
    ("organization", "account", "named"),
    [("org_1", None, " org_1"), ("org_1", "second", " org_1"), ("", "second", " second"), ("", None, "")],
)
def test_queue_is_named_by_its_organization(
    tmp_path: Path, organization: str, account: str | None, named: str
) -> None:
    with (
        simulator(tmp_path / "api", organization=organization) as environ,
        simulator_client(environ["ANTHROPIC_BASE_URL"]) as client,
    ):
        api = Api(client)
        assert api.name_queue(account) == f"{api.base_url}{named}"
