"""Make a client from the environment or from explicit settings."""

import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner.api.client import Api
from runner.api.errors import AccountKey, credential_errors
from runner.api.platforms import find_base_url, open_platform_client
from runner.errors import AccessError
from runner.spec.endpoint import Endpoint
from runner.telemetry.trace import start_recording

if TYPE_CHECKING:
    import anthropic

ANTHROPIC = Endpoint()
"""The API of Anthropic itself."""


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def may_have_credentials(endpoint: Endpoint = ANTHROPIC) -> bool:
    """Return whether the SDK may find credentials: a cheap check that does not import it.

    Those of another platform can be anywhere.
    """
    if endpoint != ANTHROPIC:
        return True
    named = any(name.startswith("ANTHROPIC_") and name != "ANTHROPIC_BASE_URL" for name in os.environ)
    profiles = Path(os.environ.get("ANTHROPIC_CONFIG_DIR", "~/.config/anthropic")).expanduser()
    return named or profiles.is_dir()


def _check_key(client: "anthropic.Anthropic") -> None:
    """Raise AccessError if a client of Anthropic's own API has no credentials."""
    found = client.api_key or client.auth_token or client.credentials
    if not found and "ANTHROPIC_CUSTOM_HEADERS" not in os.environ:
        raise AccessError(
            "no credentials: set ANTHROPIC_API_KEY, or write it into .env beside the spec; "
            "or try the job with --simulate"
        )


@contextmanager
def connect(
    endpoint: Endpoint = ANTHROPIC,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    account: AccountKey | None = None,
    name: str | None = None,
    betas: Sequence[str] = (),
) -> Iterator[Api]:
    """Open a client of the Claude API on a platform; the SDK reads missing settings from the environment.

    `base_url` and `api_key` are for the API of Anthropic itself, and errors name the `account` of the key. `name`
    is recorded instead of the base URL, for a server whose address changes. `betas` are the beta features that
    every call requests.

    Raises AccessError if there are no credentials, or if the SDK's settings contradict each other.
    """
    import ssl

    import anthropic

    from runner.api.watched_network import watch_client

    url = base_url or find_base_url(endpoint)
    # A proxy from the environment would be used for loopback addresses too.
    direct = url is not None and _is_loopback(url)
    # Certificates are not loaded for a local address without TLS: that takes longer than several calls.
    is_plain = url is not None and direct and urlsplit(url).scheme == "http"
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_plain else True
    # A redirect must not decide where prompts go or where results come from.
    http_client = anthropic.DefaultHttpxClient(trust_env=not direct, follow_redirects=False, verify=verify)
    watch_client(http_client)
    options: dict[str, Any] = {
        "max_retries": 0,
        "http_client": http_client,
        "default_headers": {"anthropic-beta": ",".join(betas)} if betas else None,
        # Else each call would have a second span, if the process has a tracer of its own besides.
        "open_telemetry": False if start_recording() else None,
    }
    try:
        if endpoint.platform == "anthropic":
            client = anthropic.Anthropic(base_url=base_url, api_key=api_key, **options)
        else:
            client = open_platform_client(endpoint, **options)
    except (anthropic.AnthropicError, ValueError) as error:
        raise AccessError(f"the API client cannot be created: {error}") from error
    except credential_errors() as error:
        raise AccessError(f"the credentials cannot be used: {error}") from error
    with client:
        if endpoint.platform == "anthropic":
            _check_key(client)
        yield Api(client, name, account)
