"""Commands and services of Apprise are told of events."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from standardwebhooks.webhooks import Webhook as Verifier

from runner.notify.receiver_names import identify, name_receiver
from runner.notify.send import sign
from runner.spec.run_settings import Receiver
from tests.support.processes import RUN, command, start
from tests.support.projects import write_job
from tests.support.servers import webhook
from tests.support.simulator import simulator


def program(root: Path, lines: str) -> None:
    path = root / "load.sh"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)


def python_path() -> dict[str, str]:
    """The environment in which other processes of Python find the same packages."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def receiver(*arguments: str, **settings: Any) -> dict[str, Any]:
    return {"on": ["finished"], "command": ["./load.sh", *arguments], **settings}


def test_signature_is_that_of_the_public_library() -> None:
    secret, now = "whsec_" + "q" * 40, int(time.time())
    signature = sign(secret, "msg_1", now, "{}")
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature}
    assert Verifier(secret).verify("{}", headers) == {}


def test_command_gets_the_run_and_the_body(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[receiver("{run}", "{spec} {event} {exit_code}", "$HOME; true")])
    program(tmp_path, 'printf "%s\\n" "$PWD" "$@" "$CHANNEL" > told; cat > body; echo noise')
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, {**environ, "CHANNEL": "7"}, *RUN, "--json")
    assert ended.returncode == 0, ended.stderr
    summary, body = json.loads(ended.stdout), json.loads((tmp_path / "body").read_text())
    told = [str(tmp_path), summary["run"], "job finished 0", "$HOME; true", "7"]
    assert (tmp_path / "told").read_text().splitlines() == told
    assert (body["type"], body["data"]["run"]) == ("finished", summary["run"])


def test_failed_command_is_a_warning_and_repeated(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[receiver()])
    program(tmp_path, "echo x >> tries; echo no table >&2; exit 3")
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
        assert (ended.returncode, "ended with code 3: no table" in ended.stderr) == (0, True), ended.stderr
        program(tmp_path, "echo x >> tries")
        for _ in range(2):
            assert command(tmp_path, environ, *RUN).returncode == 0
    assert (tmp_path / "tries").read_text() == "x\nx\n"


def test_missing_command_is_a_warning(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[{"on": ["finished"], "command": ["no-such-program"]}])
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
    assert (ended.returncode, "it cannot be started: No such file" in ended.stderr) == (0, True), ended.stderr


def test_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[receiver(timeout="1s")])
    program(tmp_path, "sleep 600 & echo $! > child; wait")
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
    child = (tmp_path / "child").read_text().strip()
    assert (ended.returncode, "took more than 1 s" in ended.stderr) == (0, True), ended.stderr
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or ") Z " in state.read_text()


def test_command_can_run_another_spec_of_the_project(tmp_path: Path) -> None:
    write_job(tmp_path, name="next", reuse=False)
    (tmp_path / "job.yaml").rename(tmp_path / "next.yaml")
    write_job(tmp_path, notify=[receiver()])
    program(tmp_path, 'exec "$PYTHON" -m runner run next.yaml --yes')
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, {**environ, "PYTHON": sys.executable, **python_path()}, *RUN)
        assert (ended.returncode, "was told of 'finished'" in ended.stderr) == (0, True), ended.stderr
        assert "next" in command(tmp_path, environ, "status").stdout


def test_stop_ends_a_command_which_is_repeated(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[receiver()])
    program(tmp_path, "echo x >> tries; sleep 600")
    with simulator(tmp_path / "api") as environ:
        process = start(tmp_path, environ, *RUN)
        until = time.monotonic() + 60
        while not (tmp_path / "tries").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        process.terminate()
        process.join(60)
        assert process.exitcode == 0
        program(tmp_path, "echo x >> tries")
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert (tmp_path / "tries").read_text() == "x\nx\n"


def test_service_of_apprise_is_told(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[{"on": ["finished"], "apprise": "${env:SERVICE}"}])
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        address = hook.url.replace("http://", "json://")
        # A process of its own: Apprise makes warnings, which are errors in the others.
        words, paths = [sys.executable, "-m", "runner", *RUN], python_path()
        ended = subprocess.run(
            words, cwd=tmp_path, env={**environ, "SERVICE": address, **paths}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    [(_, _, body)] = hook.got
    assert "20 succeeded" in json.loads(body)["message"]
    assert "job: finished" in json.loads(body)["title"]
    assert "T0PSECRET" not in ended.stderr


def test_receivers_have_names_without_secrets() -> None:
    found = [
        Receiver((), url="https://hooks.example.com/T0/secret"),
        Receiver((), apprise="mailto://user:secret@example.com"),
        Receiver((), command=("./load.sh", "secret")),
    ]
    assert [name_receiver(one) for one in found] == ["hooks.example.com", "mailto", "./load.sh"]


def test_receivers_are_told_apart_without_their_passwords() -> None:
    def mail(password: str) -> Receiver:
        return Receiver((), apprise=f"mailto://user:{password}@example.com")

    assert identify([mail("a")]) == identify([mail("b")])
    assert len(set(identify([mail("a"), mail("b"), mail("c")]))) == 3
