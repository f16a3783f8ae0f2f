"""Jobs on other platforms of the Claude API: what leaves is signed or authorized, and complete."""

import os
import re
from pathlib import Path

import pytest

from runner import load_spec, run
from runner.api.connect import connect
from runner.errors import AccessError, NotAccepted, StateLocked, Unavailable
from runner.simulator.responses import ErrorResponse
from runner.spec.endpoint import Endpoint
from tests.support.outputs import records
from tests.support.processes import RUN, command
from tests.support.projects import EACH_ONCE, write_job
from tests.support.servers import Proxy, Received, proxy
from tests.support.simulator import ACCESS_KEY, SECRET_KEY, TOKEN, accepted, fail_at, paid, set_only, simulator

AWS, GOOGLE = Endpoint("aws"), Endpoint("google")
CALLS = {
    ("POST", "/v1/messages/batches"),
    ("GET", "/v1/messages/batches"),
    ("GET", "/v1/messages/batches/ID"),
    ("GET", "/v1/messages/batches/ID/results"),
}
"""The calls of a run, besides those that count tokens."""


def run_everything(root: Path, api: dict[str, str]) -> None:
    """Run a job to its end on a platform, and check its outputs and what was paid."""
    run(load_spec(write_job(root, api=api)), consent=True)
    assert [one["outcome"] for one in records(root / "out/all.jsonl")] == ["succeeded"] * 20
    assert paid(root / "api") == EACH_ONCE


def calls_of(passing: Proxy) -> set[tuple[str, str]]:
    """The calls that a proxy got, without the ids in their paths."""
    assert all(one.path.startswith(f"{passing.prefix}/v1/") for one in passing.got)
    paths = [one.path.removeprefix(passing.prefix).partition("?")[0] for one in passing.got]
    return {
        (one.method, re.sub("msgbatch_[^/]+", "ID", path)) for one, path in zip(passing.got, paths, strict=True)
    }


def sign_again(request: Received) -> tuple[str, str]:
    """The signature of a request, and the one that botocore makes for what arrived."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    scope = f"{ACCESS_KEY}/{request.headers['x-amz-date'][:8]}/us-east-1/aws-external-anthropic/aws4_request"
    form = rf"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=(\S+), Signature=(\w+)"
    found = re.fullmatch(form, request.headers["authorization"])
    assert found is not None, request.headers["authorization"]
    signed = {name: request.headers[name] for name in found[1].split(";")}
    assert {"host", "anthropic-version", "anthropic-workspace-id", "x-amz-date"} <= signed.keys()
    again = AWSRequest(request.method, f"http://{signed['host']}{request.path}", signed, request.body)
    again.context["timestamp"] = signed["x-amz-date"]
    signer = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "aws-external-anthropic", "us-east-1")
    return found[2], signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)


@pytest.fixture
def _boto() -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed")


needs_boto = pytest.mark.usefixtures("_boto")


@needs_boto
def test_each_request_of_a_run_on_aws_is_signed(tmp_path: Path, aws: Proxy) -> None:
    run_everything(tmp_path, {"platform": "aws"})
    assert calls_of(aws) >= CALLS
    for request in aws.got:
        given, computed = sign_again(request)
        assert given == computed
        assert request.headers["anthropic-workspace-id"] == "wrkspc_aws"
        assert "x-api-key" not in request.headers


@needs_boto
def test_body_of_many_blocks_is_signed_as_a_whole(tmp_path: Path, aws: Proxy) -> None:
    blocks = [b'{"requests":[', b" " * 3_000_000, b'{"custom_id":"a","params":{}}]}']
    with connect(AWS) as api:
        api.create_batch(blocks, sum(map(len, blocks)), lambda: None)
    [request] = aws.got
    given, computed = sign_again(request)
    assert (request.body, given) == (b"".join(blocks), computed)
    assert accepted(tmp_path / "api") == 1


@needs_boto
@pytest.mark.usefixtures("aws")
def test_signed_body_is_cut_short_once_the_lock_is_lost(tmp_path: Path) -> None:
    left = iter([None] * 4)

    def confirm() -> None:
        if next(left, StateLocked) is StateLocked:
            raise StateLocked("another process has taken over")

    with connect(AWS) as api, pytest.raises(StateLocked):
        api.create_batch([b" " * 3_000_000], 3_000_000, confirm)
    assert (next(left, "none"), accepted(tmp_path / "api")) == ("none", 0)


@needs_boto
def test_missing_credentials_of_aws_are_named(aws: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(AccessError, match="no credentials of AWS: set ANTHROPIC_AWS_API_KEY"), connect(AWS):
        pass
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(AccessError, match=r"cannot be used: .*nobody"), connect(AWS):
        pass
    assert aws.got == []


def test_api_key_of_aws_needs_no_package(tmp_path: Path, aws: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_AWS_API_KEY", "key of aws")
    run_everything(tmp_path, {"platform": "aws", "workspace_id": "wrkspc_of_spec"})
    assert calls_of(aws) >= CALLS
    assert all("key of aws" in str(one.headers) for one in aws.got)
    assert {one.headers["anthropic-workspace-id"] for one in aws.got} == {"wrkspc_of_spec"}


def test_each_request_of_a_run_on_google_has_the_token(tmp_path: Path, google: Proxy) -> None:
    run_everything(tmp_path, {"platform": "google"})
    assert calls_of(google) >= CALLS
    assert {one.headers["authorization"] for one in google.got} == {f"Bearer {TOKEN}"}
    assert "sk-ant-of-anthropic" not in str(google.got)


def test_credentials_of_google_that_cannot_be_had_are_named(google: Proxy, service_account: Path) -> None:
    service_account.write_text(
        re.sub("http://127.0.0.1:[0-9]+", "http://127.0.0.1:9", service_account.read_text())
    )
    with connect(GOOGLE) as api, pytest.raises(Unavailable, match="the credentials cannot be used"):
        api.fetch_workspace_info()
    service_account.write_text("{}")
    with pytest.raises(AccessError, match="the credentials cannot be used"), connect(GOOGLE):
        pass
    assert google.got == []


@needs_boto
def test_refused_create_is_not_repeated(tmp_path: Path, aws: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = fail_at("create", ErrorResponse(529, "busy"), times=9)
    with simulator(tmp_path / "busy", on=refuse) as environ, proxy(environ["ANTHROPIC_BASE_URL"]) as busy:
        monkeypatch.setenv("ANTHROPIC_AWS_BASE_URL", busy.url)
        with connect(AWS) as api, pytest.raises(NotAccepted, match="busy"):
            api.create_batch([b"{}"], 2, lambda: None)
        assert len(busy.got) == 1
    assert aws.got == []


@needs_boto
@pytest.mark.parametrize("platform", ["aws", "google"])
def test_credentials_are_never_written_or_printed(
    tmp_path: Path, platform: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(platform)
    write_job(tmp_path, api={"platform": platform})
    environ, printed = {**os.environ, "ANTHROPIC_LOG": "debug"}, ""
    for words in (RUN, ("status", "--json"), ("doctor", "--remote")):
        ended = command(tmp_path, environ, *words)
        assert ended.returncode == 0, ended.stderr
        printed += ended.stdout + ended.stderr
    state = b"".join(path.read_bytes() for path in (tmp_path / ".runner").rglob("*") if path.is_file())
    for secret in (SECRET_KEY, TOKEN, "PRIVATE KEY", "AWS4-HMAC"):
        assert secret not in printed and secret.encode() not in state


def test_region_of_the_environment_cannot_change_the_host(aws: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "evil.example.com/")
    monkeypatch.setenv("ANTHROPIC_AWS_API_KEY", "key of aws")
    with pytest.raises(AccessError, match="is not a region of AWS"), connect(AWS):
        pass
    assert aws.got == []


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (Endpoint("aws", "eu-west-1", "w"), "https://aws-external-anthropic.eu-west-1.api.aws"),
        (
            Endpoint("google", None, "w", "p"),
            "https://claude.googleapis.com/v1/projects/p/locations/global/workspaces/w/invoke/",
        ),
        (
            Endpoint("google", "europe-west1", "w", "p"),
            "https://claude.googleapis.com/v1/projects/p/locations/europe-west1/workspaces/w/invoke/",
        ),
    ],
)
def test_base_url_follows_from_the_settings(
    endpoint: Endpoint, url: str, service_account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"ANTHROPIC_AWS_API_KEY": "key of aws", "GOOGLE_APPLICATION_CREDENTIALS": str(service_account)}
    set_only(monkeypatch, **variables)
    with connect(endpoint) as api:
        assert api.base_url == url
