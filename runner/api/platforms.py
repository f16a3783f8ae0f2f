"""The platforms of the Claude API that carry Message Batches: what leads to each, and its client.

What a spec leaves open, the SDK reads from the environment (SDK 2.14: lib/aws, lib/google_cloud).
"""

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from runner.errors import AccessError
from runner.files.extras import missing_package_message
from runner.spec.endpoint import Endpoint

if TYPE_CHECKING:
    import anthropic

_BASE_URLS = {
    "anthropic": "ANTHROPIC_BASE_URL",
    "aws": "ANTHROPIC_AWS_BASE_URL",
    "google": "ANTHROPIC_GOOGLE_CLOUD_BASE_URL",
}

_REGION = re.compile("[a-z0-9-]+")

_AWS_KEY = "ANTHROPIC_AWS_API_KEY"

_SETTINGS = {
    "aws": {
        "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        "workspace_id": ("ANTHROPIC_AWS_WORKSPACE_ID",),
    },
    "google": {
        "project": ("ANTHROPIC_GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT"),
        "workspace_id": ("ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID",),
    },
}
"""The settings that a platform needs, and the variables that can give them."""


_GOOGLE_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def find_base_url(endpoint: Endpoint) -> str | None:
    """Return the base URL that the environment gives in place of that of a platform."""
    return os.environ.get(_BASE_URLS[endpoint.platform]) or None


def _is_signed() -> bool:
    """Return whether requests to AWS are signed: the SDK prefers an API key in the environment."""
    return _AWS_KEY not in os.environ


def _needs(endpoint: Endpoint, name: str) -> bool:
    if find_base_url(endpoint) is None:
        return True
    return endpoint.platform == "aws" and (name == "workspace_id" or _is_signed())


def find_missing(endpoint: Endpoint) -> Iterator[str]:
    """Yield what is missing to reach a platform: settings that the environment does not give either, packages."""
    for name, variables in _SETTINGS.get(endpoint.platform, {}).items():
        value = getattr(endpoint, name) or next(filter(None, map(os.environ.get, variables)), None)
        if value is None and _needs(endpoint, name):
            yield f"{name} is not known: set api.{name}, or {' or '.join(variables)} in the environment"
        # It is a part of the host that credentials are sent to.
        if value is not None and name == "region" and not _REGION.fullmatch(value):
            yield f"{value!r} is not a region of AWS"
    if endpoint.platform == "google" or (endpoint.platform == "aws" and _is_signed()):
        missing = missing_package_message(endpoint.platform)
        if missing is not None:
            yield missing


def _open_aws(endpoint: Endpoint, **options: Any) -> "anthropic.AnthropicAWS":
    import anthropic

    if _is_signed():
        import boto3

        # The SDK looks for them with the first request; without them its error has no type of its own.
        if boto3.Session().get_credentials() is None:
            raise AccessError(
                f"no credentials of AWS: set {_AWS_KEY}, or log in so that the AWS CLI works, with "
                "AWS_PROFILE or `aws sso login`; or try the job with --simulate"
            )
    return anthropic.AnthropicAWS(aws_region=endpoint.region, workspace_id=endpoint.workspace_id, **options)


def _open_google(endpoint: Endpoint, **options: Any) -> "anthropic.AnthropicGoogleCloud":
    import anthropic
    import google.auth

    # The SDK would look for them with the first request, after the rows are read.
    credentials, _ = google.auth.default(scopes=_GOOGLE_SCOPES)
    return anthropic.AnthropicGoogleCloud(
        project=endpoint.project,
        location=endpoint.region,
        workspace_id=endpoint.workspace_id,
        credentials=credentials,
        **options,
    )


def open_platform_client(endpoint: Endpoint, **options: Any) -> "anthropic.Anthropic":
    """Return the client of a platform other than that of Anthropic itself; `options` are those of every client.

    Raises AccessError if something is missing that leads to it, and errors of the SDK and of the packages that
    find credentials.
    """
    if (missing := next(find_missing(endpoint), None)) is not None:
        raise AccessError(f"{endpoint.platform}: {missing}")
    return (_open_aws if endpoint.platform == "aws" else _open_google)(endpoint, **options)
