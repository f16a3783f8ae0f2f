"""Simulated APIs for tests, their clients, and the bills they would send."""

import http.client
import json
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from anthropic.types.messages.batch_create_params import Request

from runner.simulator.batches import OutcomePicker
from runner.simulator.faults import Faults
from runner.simulator.server import serve
from tests.support.outputs import records

_PORTS: dict[Path, int] = {}


def _port(folder: Path) -> int:
    """The same free port for all servers on one folder: an unfinished run does not follow to another address."""
    if folder not in _PORTS:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            _PORTS[folder] = probe.getsockname()[1]
    return _PORTS[folder]


@contextmanager
def simulator(
    folder: Path,
    *,
    seconds: float = 0.2,
    mix: OutcomePicker = lambda _: "succeeded",
    on: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> Iterator[dict[str, str]]:
    """Serve the API; yield the environment in which the runner calls it."""
    with serve(folder, port=_port(folder), seconds=seconds, pick_outcome=mix, hook=on, **settings) as url:
        yield {**os.environ, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "simulated"}


def end_batches(folder: Path, *, in_seconds: float = 0, limit: int | None = None) -> None:
    """Have the batches of a folder, or some of them, end at this time, for the server that is started next."""
    for path in sorted(folder.glob("msgbatch_*.json"))[:limit]:
        path.write_text(json.dumps({**json.loads(path.read_text()), "ends_at": time.time() + in_seconds}))


def accepted(folder: Path) -> int:
    """The number of batches that a simulator has accepted."""
    return len(list(folder.glob("*.json")))


def answered(folder: Path) -> list[str]:
    """The last user turn of each synchronous request that a simulator has answered, and somebody has paid."""
    path = folder / "messages.jsonl"
    found = records(path) if path.exists() else []
    return [str(one["params"]["messages"][-1]["content"]) for one in found]


def paid(folder: Path) -> Counter[tuple[str, int]]:
    """Count the requests of each (round, row) that a simulator has accepted, by the custom_ids of its results."""
    ids = [record["custom_id"] for path in folder.glob("msgbatch_*.jsonl") for record in records(path)]
    parts = [one.split("-") for one in ids if not one.startswith("somebody")]
    return Counter((round, int(row)) for _, round, _, row in parts)


MAIN_ONLY = {"RUNNER_ACCOUNTS": "main=ANTHROPIC_API_KEY"}
_ACCOUNTS = ("main", "second")


@contextmanager
def two_accounts(
    root: Path, main: Sequence[str] | Faults = (), second: Sequence[str] | Faults = (), **settings: Any
) -> Iterator[dict[str, str]]:
    """Serve the accounts `main` and `second` with faults of each; yield the environment of the runner."""
    organizations = {"main": main, "second": second}
    with simulator(root / "api", organizations=organizations, **settings) as environ:
        keys = {"ANTHROPIC_API_KEY": "main", "SECOND_API_KEY": "second"}
        yield {**environ, **keys, "RUNNER_ACCOUNTS": "main=ANTHROPIC_API_KEY,second=SECOND_API_KEY"}


def sent_to(root: Path) -> tuple[int, int]:
    """The number of batches that each account has accepted."""
    main, second = (accepted(root / "api" / name) for name in _ACCOUNTS)
    return main, second


def paid_by_all(root: Path) -> Counter[tuple[str, int]]:
    """Count the requests of each (round, row) that the accounts have accepted together."""
    main, second = (paid(root / "api" / name) for name in _ACCOUNTS)
    return main + second


def end_all(root: Path) -> None:
    """Have the batches of both accounts end, for the server that is started next."""
    for name in _ACCOUNTS:
        end_batches(root / "api" / name)


def environ_without_key() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC_")}


ACCESS_KEY, SECRET_KEY, TOKEN = "AKIDEXAMPLE", "SECRETKEYEXAMPLE", "ya29.EXAMPLE"
"""Credentials of AWS, and the token that Google Cloud gives."""


def set_only(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Set variables, and unset all others that lead to a platform of the Claude API."""
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "AWS_", "GOOGLE_")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def fail_at(moment: str, error: Exception, *, times: int = 1) -> Callable[[str], None]:
    """Fail the first calls that reach a moment."""
    left = [times]

    def on(name: str) -> None:
        if name == moment and left[0]:
            left[0] -= 1
            raise error

    return on


MESSAGE_PARAMS: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Alpha bravo charlie delta"}],
}
BATCH_ITEM = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
DEEP_JSON = b"[" * 5000 + b"]" * 5000


def simulator_client(url: str, api_key: str = "a key") -> anthropic.Anthropic:
    """The SDK, talking to a simulator without retries and without a proxy."""
    # Reading the system's certificates takes longer than most tests, and loopback needs none.
    transport = anthropic.DefaultHttpxClient(trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    return anthropic.Anthropic(base_url=url, api_key=api_key, http_client=transport, max_retries=0)


def batch_request(custom_id: str, **params: Any) -> Request:
    """One request of a batch; `params` are added to what each has."""
    return {"custom_id": custom_id, "params": {**MESSAGE_PARAMS, **params}}  # type: ignore[typeddict-item]


def create_batch(api: anthropic.Anthropic, *ids: str, **params: Any) -> MessageBatch:
    """A batch of one request for each id."""
    return api.messages.batches.create(requests=[batch_request(id, **params) for id in ids])


def results_by_id(api: anthropic.Anthropic, batch: MessageBatch) -> dict[str, MessageBatchIndividualResponse]:
    """The results of a batch that has ended, by custom_id in the order of the file."""
    return {result.custom_id: result for result in api.messages.batches.results(batch.id)}


def answer_text(api: anthropic.Anthropic, schema: Any, text: str = "Alpha bravo charlie") -> str:
    """The text of the answer to one message whose system prompt states a JSON schema."""
    turns, system = [{"role": "user", "content": text}], f"Answer so. JSON schema:\n{json.dumps(schema)}"
    message = api.messages.create(**{**MESSAGE_PARAMS, "messages": turns, "system": system})
    return str(message.content[0].text)


def raw_call(
    api: anthropic.Anthropic, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, Any]:
    """The status and body of a call made by hand."""
    connection = http.client.HTTPConnection(str(api.base_url.host), api.base_url.port, timeout=10)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"x-api-key": "a key", **sent})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


# Published for claude-haiku-5-5, US dollars per million tokens: up to and above 100,000 tokens of prompt.
PRICES = {False: (0.10, 0.50, 0.125, 0.20, 0.01), True: (0.50, 2.50, 0.625, 1.00, 0.05)}


HIDDEN_TOKENS = 1000
"""The most that the API adds to a prompt with an output schema."""


def most_usage(params: bytes, usage: dict[str, Any]) -> dict[str, Any]:
    """The most that a request with an output schema can use, in the dearest region."""
    read = json.loads(params)
    tokens = {"input_tokens": len(params) + HIDDEN_TOKENS, "output_tokens": read["max_tokens"]}
    return {**usage, **tokens, "inference_geo": "us"}


def charge(usage: Any) -> float:
    """The synchronous price of one usage, computed without the code under test."""
    written = usage["cache_creation_input_tokens"]
    prompt = usage["input_tokens"] + usage["cache_read_input_tokens"] + written
    fresh, out, short, long, read = PRICES[prompt > 100_000]
    hour = usage["cache_creation"]["ephemeral_1h_input_tokens"]
    tokens = usage["input_tokens"] * fresh + usage["output_tokens"] * out + usage["cache_read_input_tokens"] * read
    region = 1.1 if usage["inference_geo"] == "us" else 1.0
    return float(tokens + hour * long + (written - hour) * short) * region / 1e6


def bill(folder: Path) -> float:
    """The bill of a simulator for all its answers."""
    total = 0.0
    for path in folder.glob("msgbatch_*.jsonl"):
        results = [line["result"] for line in records(path)]
        total += sum(charge(one["message"]["usage"]) / 2 for one in results if one["type"] == "succeeded")
    if (folder / "messages.jsonl").exists():
        total += sum(charge(one["usage"]) for one in records(folder / "messages.jsonl"))
    return total
