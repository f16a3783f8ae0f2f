"""The platforms of the Claude API on loopback: credentials without a network, a proxy that sees all requests."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import Proxy, proxy
from tests.support.simulator import ACCESS_KEY, SECRET_KEY, TOKEN, set_only, simulator

GOOGLE_PREFIX = "/v1/projects/my-project-1/locations/global/workspaces/wrkspc_google/invoke"


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """Claude Platform on AWS, with credentials that sign requests; the parameter is how long a batch takes."""
    seconds = getattr(request, "param", 0.2)
    with (
        simulator(tmp_path / "api", seconds=seconds) as environ,
        proxy(environ["ANTHROPIC_BASE_URL"], "/aws") as passing,
    ):
        set_only(
            monkeypatch,
            AWS_ACCESS_KEY_ID=ACCESS_KEY,
            AWS_SECRET_ACCESS_KEY=SECRET_KEY,
            AWS_REGION="us-east-1",
            AWS_EC2_METADATA_DISABLED="true",
            AWS_CONFIG_FILE=os.devnull,
            AWS_SHARED_CREDENTIALS_FILE=os.devnull,
            ANTHROPIC_AWS_WORKSPACE_ID="wrkspc_aws",
            ANTHROPIC_AWS_BASE_URL=passing.url,
        )
        yield passing


class _TokenServer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        answer = json.dumps({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _make_private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    text: str = key.private_bytes(*form).decode()
    return text


@pytest.fixture
def service_account(tmp_path: Path) -> Iterator[Path]:
    """The file of a service account whose tokens come from loopback."""
    pytest.importorskip("google.auth", reason="google-auth is not installed")
    server = HTTPServer(("127.0.0.1", 0), _TokenServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    account: dict[str, Any] = {
        "type": "service_account",
        "project_id": "my-project-1",
        "private_key": _make_private_key(),
        "client_email": "runner@my-project-1.iam.gserviceaccount.com",
        "token_uri": f"http://127.0.0.1:{server.server_port}/token",
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    yield path
    server.shutdown()
    server.server_close()


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service_account: Path) -> Iterator[Proxy]:
    """Claude on Google Cloud, below the path that it has there, with a key of Anthropic that must not leave."""
    with simulator(tmp_path / "api") as environ, proxy(environ["ANTHROPIC_BASE_URL"], GOOGLE_PREFIX) as passing:
        set_only(
            monkeypatch,
            ANTHROPIC_API_KEY="sk-ant-of-anthropic",
            ANTHROPIC_GOOGLE_CLOUD_BASE_URL=passing.url,
            ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID="wrkspc_google",
            GOOGLE_APPLICATION_CREDENTIALS=str(service_account),
        )
        yield passing
