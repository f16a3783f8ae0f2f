"""Receivers are told of each event at least once, whatever they answer, and never hold a run up."""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from tests.support.processes import RUN, command
from tests.support.projects import SPEC, write_job
from tests.support.servers import Webhook, webhook
from tests.support.simulator import simulator

SECRET = "whsec_" + "q" * 40
ALL = ["finished", "flawed", "failed", "paused", "needs_person", "slow", "expiring"]


def hook_of(*events: str) -> dict[str, Any]:
    return {"on": list(events), "url": "${env:HOOK}"}


def signed(*events: str) -> dict[str, Any]:
    return {**hook_of(*events), "secret": "${env:HOOK_SECRET}"}


def with_hook(environ: dict[str, str], hook: Webhook) -> dict[str, str]:
    return {**environ, "HOOK": hook.url, "HOOK_SECRET": SECRET}


def data(hook: Webhook, index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hook.got[index].body)["data"]
    return found


def pending(root: Path) -> int:
    with sqlite3.connect(root / ".runner/state.db") as database:
        (count,) = database.execute("SELECT count(*) FROM event WHERE settled_at IS NULL").fetchone()
    database.close()
    return int(count)


def test_finished_run_is_told_with_a_valid_signature(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[signed("finished")])
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        ended = command(tmp_path, with_hook(environ, hook), *RUN)
    assert ended.returncode == 0, ended.stderr
    [(_, headers, body)] = hook.got
    assert Verifier(SECRET).verify(body, headers)["type"] == "finished"
    found = data(hook)
    assert (found["spec"], found["rows"], found["outcomes"]) == ("job", 20, {"succeeded": 20})
    assert (found["exit_code"], found["command"], found["is_simulated"]) == (0, None, False)
    assert [one["rows"] for one in found["sinks"]] == [20, 20]
    assert pending(tmp_path) == 0


def test_unchanged_run_is_not_told_again(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[hook_of(*ALL)])
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        for _ in range(2):
            assert command(tmp_path, with_hook(environ, hook), *RUN).returncode == 0
    assert hook.names() == ["finished"]


def test_failed_rows_are_told_of(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[hook_of(*ALL)])
    with simulator(tmp_path / "api", mix=lambda _: "refused") as environ, webhook() as hook:
        assert command(tmp_path, with_hook(environ, hook), *RUN).returncode == 3
    assert hook.names() == ["finished", "flawed"]
    assert data(hook, 1)["command"] == f"runner show {data(hook)['run']} --failed"


def test_pause_is_told_once_in_a_run(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[hook_of(*ALL)])
    with simulator(tmp_path / "api", seconds=600) as environ, webhook() as hook:
        for _ in range(3):
            assert command(tmp_path, with_hook(environ, hook), *RUN, "--no-wait").returncode == 4
    assert hook.names() == ["paused"]
    assert data(hook)["command"] == "runner run job.yaml"


def test_error_is_told_again_once_the_run_went_on(tmp_path: Path) -> None:
    notify, caps = [hook_of(*ALL)], (0.0001, 0.0001, 0.00012)
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        for cap in caps:
            write_job(tmp_path, notify=notify, limits={"max_cost": cap})
            assert command(tmp_path, with_hook(environ, hook), *RUN).returncode == 7
    assert hook.names() == ["failed", "failed"]
    assert "limits.max_cost" in data(hook)["message"]


def test_error_before_a_run_is_told_once(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[hook_of(*ALL)])
    (tmp_path / "rows.csv").unlink()
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        for _ in range(2):
            assert command(tmp_path, with_hook(environ, hook), *RUN).returncode == 2
    assert hook.names() == ["failed"]
    assert (data(hook)["run"], "rows.csv" in data(hook)["message"]) == (None, True)


def test_doubt_is_told_to_a_person(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[hook_of(*ALL)], batch={**SPEC["batch"], "on_unknown": "stop"})
    with simulator(tmp_path / "api", faults=["refuse-504"]) as environ, webhook() as hook:
        ended = command(tmp_path, with_hook(environ, hook), *RUN)
    assert (ended.returncode, hook.names()) == (5, ["needs_person"])


@pytest.mark.parametrize("status", [500, 302, 410])
def test_refused_event_is_sent_by_the_next_command(tmp_path: Path, status: int) -> None:
    write_job(tmp_path, notify=[hook_of("finished")])
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        hook.status = status
        ended = command(tmp_path, with_hook(environ, hook), *RUN)
        assert (ended.returncode, f"status {status}" in ended.stderr, pending(tmp_path)) == (0, True, 1)
        hook.status = 204
        assert command(tmp_path, with_hook(environ, hook), *RUN).returncode == 0
    assert (hook.names(), len(set(hook.ids())), pending(tmp_path)) == (["finished", "finished"], 1, 0)
    assert hook.got[0].body == hook.got[1].body


def test_hanging_receiver_does_not_keep_others_waiting(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[hook_of("finished"), {"on": ["finished"], "url": "${env:OTHER}"}])
    with simulator(tmp_path / "api") as environ, webhook() as hanging, webhook() as other:
        hanging.is_hanging.set()
        began = time.monotonic()
        ended = command(tmp_path, {**with_hook(environ, hanging), "OTHER": other.url}, *RUN)
        assert time.monotonic() - began < 50
        assert (ended.returncode, "has not answered yet" in ended.stderr) == (0, True), ended.stderr
        assert (other.names(), hanging.names(), pending(tmp_path)) == (["finished"], [], 1)


def test_address_and_secret_are_nowhere(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[signed("finished", "failed")])
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        hook.status = 500
        environ = with_hook(environ, hook)
        printed = [command(tmp_path, environ, *words) for words in (RUN, ("render", "job.yaml"), ("status",))]
        printed.append(command(tmp_path, {**environ, "HOOK": "T0PSECRET"}, *RUN))
        printed.append(command(tmp_path, {**environ, "HOOK_SECRET": "4242424242"}, *RUN))
        printed.append(command(tmp_path, {**environ, "HOOK": hook.url.replace("127", "no host")}, *RUN))
    texts = "".join(one.stdout + one.stderr for one in printed)
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in ("T0PSECRET", SECRET, "4242424242"):
        assert secret not in texts
        assert secret.encode() not in files
    assert [one.returncode for one in printed] == [0, 0, 0, 2, 2, 2]


def test_simulated_run_says_who_would_be_told(tmp_path: Path) -> None:
    hooks = [hook_of("finished"), hook_of("finished")]
    write_job(tmp_path, notify=[*hooks, {"on": ["finished"], "command": ["load"]}])
    with webhook() as hook:
        ended = command(tmp_path, with_hook({"PATH": "/usr/bin"}, hook), "run", "job.yaml", "--simulate")
    host = hook.url.split("/")[2]
    assert (ended.returncode, hook.names()) == (0, [])
    assert f"a real run would tell {host} (2 receivers), load" in ended.stderr


def test_edited_receivers_change_no_run(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=1) as environ, webhook() as hook:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        write_job(tmp_path, notify=[hook_of("finished")])
        ended = command(tmp_path, with_hook(environ, hook), *RUN)
    assert (ended.returncode, hook.names()) == (0, ["finished"])
    assert "changes" not in ended.stderr


def test_new_receiver_is_not_told_of_old_events(tmp_path: Path) -> None:
    write_job(tmp_path, notify=[hook_of("finished")])
    with simulator(tmp_path / "api") as environ, webhook() as old, webhook() as new:
        assert command(tmp_path, with_hook(environ, old), *RUN).returncode == 0
        assert command(tmp_path, with_hook(environ, new), *RUN).returncode == 0
    assert (old.names(), new.names()) == (["finished"], [])


def test_several_specs_tell_their_own_receivers(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_job(tmp_path, name=name, notify=[hook_of(*ALL)], reuse=False)
        (tmp_path / "job.yaml").rename(tmp_path / f"{name}.yaml")
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        ended = command(tmp_path, with_hook(environ, hook), "run", "one.yaml", "two.yaml", "--yes")
    assert ended.returncode == 0, ended.stderr
    assert sorted(data(hook, index)["spec"] for index in range(2)) == ["one", "two"]
    assert hook.names() == ["finished", "finished"]
