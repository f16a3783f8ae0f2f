"""Make a client from the environment or from explicit settings."""

import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from runner.api.client import Api
from runner.errors import AccessError


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def may_have_credentials() -> bool:
    """Return whether the SDK may find credentials: a cheap check that does not import it."""
    named = any(name.startswith("ANTHROPIC_") and name != "ANTHROPIC_BASE_URL" for name in os.environ)
    profiles = Path(os.environ.get("ANTHROPIC_CONFIG_DIR", "~/.config/anthropic")).expanduser()
    return named or profiles.is_dir()


@contextmanager
def connect(
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    name: str | None = None,
    betas: Sequence[str] = (),
) -> Iterator[Api]:
    """Open a client; the SDK reads missing settings from the environment.

    `name` is recorded instead of the base URL, for a server whose address changes. `betas` are the beta features
    that every call requests.

    Raises AccessError if there are no credentials, or if the SDK's settings contradict each other.
    """
    import ssl

    import anthropic

    from runner.api.watched_network import watch_client

    url = base_url or os.environ.get("ANTHROPIC_BASE_URL")
    # A proxy from the environment would be used for loopback addresses too.
    direct = url is not None and _is_loopback(url)
    # Certificates are not loaded for a local address without TLS: that takes longer than several calls.
    is_plain = url is not None and direct and urlsplit(url).scheme == "http"
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_plain else True
    # A redirect must not decide where prompts go or where results come from.
    http_client = anthropic.DefaultHttpxClient(trust_env=not direct, follow_redirects=False, verify=verify)
    watch_client(http_client)
    try:
        client = anthropic.Anthropic(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            http_client=http_client,
            default_headers={"anthropic-beta": ",".join(betas)} if betas else None,
        )
    except (anthropic.AnthropicError, ValueError) as error:
        raise AccessError(f"the API client cannot be created: {error}") from error
    with client:
        found = client.api_key or client.auth_token or client.credentials
        if not found and "ANTHROPIC_CUSTOM_HEADERS" not in os.environ:
            raise AccessError(
                "no credentials: set ANTHROPIC_API_KEY, or write it into .env beside the spec; "
                "or try the job with --simulate"
            )
        yield Api(client, name)
