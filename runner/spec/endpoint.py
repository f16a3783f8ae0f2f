"""The platform of the Claude API that a job runs on, and what leads to it there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

BATCH_BYTES, _SIGNED_BATCH_BYTES = 200_000_000, 32_000_000
"""The usual limits of a batch in bytes: in general, and where its body is signed as a whole, in memory."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A platform of the Claude API that carries Message Batches: anthropic, aws or google.

    Of the other settings, those that are None come from the environment.
    """

    platform: str = "anthropic"
    region: str | None = None
    workspace_id: str | None = None
    project: str | None = None

    @property
    def max_batch_bytes(self) -> int:
        """The usual limit of a batch in bytes."""
        return _SIGNED_BATCH_BYTES if self.platform == "aws" else BATCH_BYTES


def check_endpoint(value: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the settings that contradict the platform, as (dotted path, message)."""
    platform = value.get("platform")
    for name in ("region", "workspace_id", "project"):
        if name in value and platform == "anthropic":
            other = "google" if name == "project" else "aws` or `platform: google"
            yield (
                f"api.{name}",
                f"`{name}` needs `platform: {other}`: an API key of Anthropic has its own workspace",
            )
    if "project" in value and platform == "aws":
        yield "api.project", "`project` is for `platform: google`: on AWS, `region` and `workspace_id` are enough"
