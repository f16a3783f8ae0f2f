"""The HTTP of the simulator: keys, paths, sizes, limits, and ports."""

import json
from pathlib import Path

import anthropic
import pytest

from runner.simulator.server import serve
from tests.support.simulator import batch_request, raw_call


@pytest.mark.parametrize("length", ["abc", "-5"])
def test_invalid_content_length_is_a_bad_request(fast: anthropic.Anthropic, length: str) -> None:
    status, answer = raw_call(fast, "POST", "/v1/messages", content_length=length)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("call", ["retrieve", "cancel", "delete", "results"])
def test_unknown_id_is_not_found(fast: anthropic.Anthropic, call: str) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        getattr(fast.messages.batches, call)("msgbatch_unknown")
    assert (caught.value.type, caught.value.request_id is not None) == ("not_found_error", True)


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/models", "/v1/messages/batches/msgbatch_1"])
def test_a_call_without_a_key_is_not_authenticated(fast: anthropic.Anthropic, path: str) -> None:
    status, body = raw_call(fast, "GET", path, x_api_key="")
    assert (status, body["error"]["type"]) == (401, "authentication_error")


def test_a_bearer_token_is_a_key_too(fast: anthropic.Anthropic) -> None:
    assert raw_call(fast, "GET", "/v1/models", x_api_key="", authorization="Bearer t")[0] == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/messages/batches/a/b", "/"])
def test_unknown_path_is_not_found(fast: anthropic.Anthropic, path: str) -> None:
    status, body = raw_call(fast, "GET", path)
    assert (status, body["error"]["type"]) == (404, "not_found_error")


def test_a_body_over_256_megabytes_is_too_large(fast: anthropic.Anthropic) -> None:
    status, body = raw_call(fast, "POST", "/v1/messages/batches", content_length="256000001")
    assert (status, body["error"]["type"]) == (413, "request_too_large")


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1.5"])
def test_a_list_limit_outside_1_to_1000_is_refused(fast: anthropic.Anthropic, limit: str) -> None:
    status, body = raw_call(fast, "GET", f"/v1/messages/batches?limit={limit}")
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")


def test_a_chunked_body_is_read_whole(fast: anthropic.Anthropic) -> None:
    body = json.dumps({"requests": [batch_request("a"), batch_request("b")]}).encode()
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:99], body[99:])) + b"0\r\n\r\n"
    status, batch = raw_call(fast, "POST", "/v1/messages/batches", pieces, transfer_encoding="chunked")
    assert (status, batch["request_counts"]["succeeded"]) == (200, 2)


def test_only_the_requested_port_is_used(tmp_path: Path) -> None:
    with serve(tmp_path) as url:
        port = int(url.rsplit(":", 1)[1])
        assert url == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"), serve(tmp_path, port=port):
            raise AssertionError("two servers on one port")
