"""Names of receivers, for messages and for the state: none holds a secret."""

import hashlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from runner.spec.redact import redact_passwords
from runner.spec.run_settings import Receiver


def name_receiver(receiver: Receiver) -> str:
    """Return the name of a receiver in messages, which holds no secret."""
    if receiver.url is not None:
        return urlsplit(receiver.url).netloc
    if receiver.apprise is not None:
        return receiver.apprise.partition(":")[0]
    return receiver.command[0]


def identify(receivers: Sequence[Receiver]) -> list[str]:
    """Return a digest of each receiver by which the state knows it: without passwords, and different for each."""
    found: list[str] = []
    for one in receivers:
        address = redact_passwords(one.url or one.apprise or "\0".join(one.command))
        digest = hashlib.sha256(address.encode()).hexdigest()[:32]
        found.append(f"{digest}-{sum(other.startswith(digest) for other in found)}")
    return found
