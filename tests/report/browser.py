"""A headless Chromium that opens one page, driven by its own protocol over two pipes."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

WAIT_SECONDS = 120
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--remote-debugging-pipe", "--window-size=1280,1000",
)  # fmt: skip


def find_chromium() -> str | None:
    """The path of a Chromium, if one is installed."""
    return next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)


class Page:
    """One page of a browser. `problems` are the errors in its console and its exceptions, `requests` its loads."""

    def __init__(self, commands: RawIOBase | BinaryIO, answers: BinaryIO) -> None:
        self._write, self._read = commands, answers
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a method of the protocol."""
        self._number += 1
        session = {} if self._session is None else {"sessionId": self._session}
        message = {"id": self._number, "method": method, "params": params, **session}
        self._write.write(json.dumps(message).encode() + b"\0")
        while (found := self._receive()).get("id") != self._number:
            self._note(found)
        assert "error" not in found, found
        result: dict[str, Any] = found["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        text = bytearray()
        while (one := self._read.read(1)) != b"\0":
            assert one, "the browser has ended"
            text += one
        found: dict[str, Any] = json.loads(text)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.problems.append(json.dumps(params["args"]))
        elif method == "Page.javascriptDialogOpening":
            self.problems.append(f"a dialog: {params['message']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, path: Path, *, until: str = "document.readyState === 'complete'") -> None:
        """Open a file, and wait until an expression is true."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait(until)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + WAIT_SECONDS
        while not self.evaluate(expression):
            assert time.monotonic() < until, f"never true: {expression}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Press keys one after the other, by their names or letters."""
        codes = {"Tab": 9, "Enter": 13, "ArrowDown": 40, "End": 35, "Space": 32}
        for key in keys:
            text = {"Enter": "\r", "Space": " "}.get(key, key if len(key) == 1 else "")
            params = {"key": " " if key == "Space" else key, "windowsVirtualKeyCode": codes.get(key, 0)}
            if text:
                params["text"] = text
            self.call("Input.dispatchKeyEvent", type="keyDown", **params)
            self.call("Input.dispatchKeyEvent", type="keyUp", **params)

    def take_screenshot(self, path: Path, *, is_dark: bool, top: int = 0, height: int = 1000) -> None:
        """Write a picture of a part of the page."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        clip = {"x": 0, "y": top, "width": 1280, "height": height, "scale": 1}
        found = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def open_browser(chromium: str) -> Iterator[Page]:
    """Start a browser with one empty page, and end it."""
    (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()
    # The protocol's pipes are its descriptors 3 and 4, which a shell can name and Python cannot.
    line = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        words = ["bash", "-c", line, chromium, *_OPTIONS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(words, pass_fds=(to_read, from_write), stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        try:
            with os.fdopen(to_write, "wb", buffering=0) as commands, os.fdopen(from_read, "rb") as answers:
                yield Page(commands, answers)
        finally:
            process.terminate()
            process.wait()
