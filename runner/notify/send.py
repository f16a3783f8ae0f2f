"""Send an event to one receiver: a signed webhook, a command, or a service of Apprise.

Nothing here shows an address: in a URL of a chat, the path is the password.
"""

import base64
import hmac
import http.client
import logging
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import IO, Any, NamedTuple

import msgspec

from runner.files.extras import missing_package_message
from runner.notify.body import format_text
from runner.spec.receivers import fill_placeholders
from runner.spec.run_settings import Receiver
from runner.store.event_log import StoredEvent

_SOCKET_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_MAX_SHOWN = 200


class NotTold(Exception):
    """A receiver could not be told; the message says why, without its address."""


class Place(NamedTuple):
    """The folder in which a command of a receiver runs, and the event `stop` that ends it."""

    folder: Path
    stop: Event


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect must not decide who is told."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def sign(secret: str, id: str, timestamp: int, body: str) -> str:
    """Return the signature of a body, as the specification of Standard Webhooks says."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{id}.{timestamp}.{body}".encode(), "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def _post(receiver: Receiver, event: StoredEvent) -> None:
    now = int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": "message-batch-runner",
        "webhook-id": event.id,
        "webhook-timestamp": str(now),
    }
    if receiver.secret is not None:
        headers["webhook-signature"] = sign(receiver.secret, event.id, now, event.body)
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        # Its scheme is http or https: the schema of specs admits no other.
        request = urllib.request.Request(receiver.url or "", event.body.encode(), headers)  # noqa: S310
        with opener.open(request, timeout=_SOCKET_SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise NotTold(f"it answered with status {error.code}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        known = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
        raise NotTold(known) from None


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1][:_MAX_SHOWN]}" if lines else ""


def _call(receiver: Receiver, event: StoredEvent, place: Place) -> None:
    data = msgspec.json.decode(event.body)["data"]
    values = {"event": event.name, "id": event.id}
    values |= {name: "" if data[name] is None else str(data[name]) for name in ("run", "spec", "exit_code")}
    words = [fill_placeholders(word, values) for word in receiver.command]
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(event.body.encode())
        given.seek(0)
        streams: dict[str, Any] = {"stdin": given, "stdout": subprocess.DEVNULL, "stderr": errors}
        try:
            # The user's own program. A group of its own, so that all of it can be ended.
            process = subprocess.Popen(words, cwd=place.folder, start_new_session=True, **streams)  # noqa: S603
        except OSError as error:
            raise NotTold(f"it cannot be started: {error.strerror}") from None
        _wait_for(process, receiver.timeout, place.stop)
        if process.returncode != 0:
            raise NotTold(f"it ended with code {process.returncode}{_last_line(errors)}")


def _wait_for(process: "subprocess.Popen[bytes]", seconds: float, stop: Event) -> None:
    """Wait until a command ends; end it when its time is up, or at `stop`."""
    until = time.monotonic() + seconds
    while process.poll() is None:
        if stop.wait(_LOOK_SECONDS) or time.monotonic() > until:
            _end_group(process)
            why = "this command was stopped" if stop.is_set() else f"it took more than {seconds:g} s"
            raise NotTold(f"it was ended, because {why}")


def _call_apprise(receiver: Receiver, event: StoredEvent) -> None:
    if missing := missing_package_message("notify"):
        raise NotTold(missing)
    import apprise

    # Its log can show addresses.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    title, text = format_text(event.body)
    service = apprise.Apprise()
    try:
        is_known = service.add(receiver.apprise or "")
        is_told = is_known and service.notify(title=title, body=text)
    except Exception as error:  # noqa: BLE001 - each of its hundred services has code of its own
        raise NotTold(f"Apprise failed with {type(error).__name__}") from None
    if not is_known:
        raise NotTold("Apprise does not know such an address")
    if not is_told:
        raise NotTold("the service refused the message, or did not answer")


def send_event(receiver: Receiver, event: StoredEvent, place: Place) -> None:
    """Send an event to a receiver. Raises NotTold, and then it may or may not have it."""
    if receiver.url is not None:
        _post(receiver, event)
    elif receiver.apprise is not None:
        _call_apprise(receiver, event)
    else:
        _call(receiver, event, place)
