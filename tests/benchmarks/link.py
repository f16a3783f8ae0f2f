"""Measure how a slow link delays a run: `python -m tests.benchmarks.link [BATCHES] [ROWS]`.

A proxy between the runner and the simulator delays each answer by 50 ms, and lets 20 MB a second pass on each
connection. Prints the seconds from the first batch that has ended to the last that is read, beside what the link
alone would take.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from runner import load_spec, run
from runner.runs.events import RunEvent

LATENCY, BYTES_PER_SECOND, PIECE, SECONDS = 0.05, 20e6, 1 << 16, 30
SPEC = """\
version: 1
name: slow
source: {{type: csv, path: rows.csv}}
prompt: {{user: "{{{{ text }}}}"}}
params: {{model: claude-haiku-5-5, max_tokens: 100}}
batch: {{max_requests: {requests}, poll_seconds: 1}}
sinks: [{{type: jsonl, path: out/slow.jsonl}}]
"""


def carry(source: socket.socket, target: socket.socket, *, is_slow: bool) -> None:
    """Pass on what one side sends; slowly if it is the API's."""
    last = 0.0
    while data := source.recv(PIECE):
        if is_slow:
            if time.monotonic() - last > LATENCY:
                time.sleep(LATENCY)
            time.sleep(len(data) / BYTES_PER_SECOND)
            last = time.monotonic()
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def serve(host: str, port: int, listener: socket.socket) -> None:
    """Accept connections for ever, each with one of its own to the simulator."""
    while True:
        client, _ = listener.accept()
        server = socket.create_connection((host, port))
        for one, other, is_slow in ((client, server, False), (server, client, True)):
            threading.Thread(target=carry, args=(one, other), kwargs={"is_slow": is_slow}, daemon=True).start()


def main(batches: int, rows: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    times: list[float] = []

    def on_event(event: RunEvent) -> None:
        if event.name in ("ended", "collected"):
            times.append(time.monotonic())

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.yaml").write_text(SPEC.format(requests=rows))
        (folder / "rows.csv").write_text("text\n" + "".join(f"{row}\n" for row in range(batches * rows)))
        words = [sys.executable, "-m", "runner", "simulate", "--seconds", str(SECONDS)]
        with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            url = urlsplit(server.stdout.readline().decode().strip())
            threading.Thread(target=serve, args=(url.hostname, url.port, listener), daemon=True).start()
            slow = f"http://127.0.0.1:{listener.getsockname()[1]}"
            os.environ |= {"ANTHROPIC_BASE_URL": slow, "ANTHROPIC_API_KEY": "simulated"}
            spec = load_spec(folder / "job.yaml")
            run(spec, consent=True, wait=False)
            time.sleep(SECONDS)
            assert run(spec, consent=True, on_event=on_event).exit_code == 0
            server.terminate()
        size = sum(path.stat().st_size for path in folder.glob(".runner/runs/*/results/*"))
    link = size / BYTES_PER_SECOND + batches * LATENCY
    print(f"{batches} batches, {size / 1e6:.0f} MB of results: {times[-1] - times[0]:.1f} s until all were read;")
    print(f"the link alone takes {link:.1f} s one after the other, and {link / 4:.1f} s four at once")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers or [12, 20_000]))
