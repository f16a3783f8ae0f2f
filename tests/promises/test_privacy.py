"""The key, the rows and all calls stay where they belong."""

import os
import stat
from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import simulator

CANARY = "sk-ant-api03-CANARY-" + "7" * 60


def modes(root: Path) -> dict[str, int]:
    """The modes of everything in a state folder."""
    folder = root / ".runner"
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_state_is_readable_only_by_its_owner(tmp_path: Path, umask: int) -> None:
    write_job(tmp_path)
    before = os.umask(umask)
    try:
        with simulator(tmp_path / "api", seconds=9, faults=["accept-then-drop"]) as environ:
            assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    finally:
        os.umask(before)
    found = modes(tmp_path)
    assert {name for name, mode in found.items() if mode & 0o077} == set()
    assert {"state.db", "spec.json", "rows.jsonl", "1-1.json", "1-1.sent"} <= {Path(name).name for name in found}


def test_state_permissions_are_restored(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / ".runner").mkdir(mode=0o755)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert modes(tmp_path)[".runner"] == 0o700


@pytest.mark.parametrize(
    "faults",
    [[], ["revoked-key:99"], ["accept-then-500", "errored:2", "line-malformed:2"], ["refuse:99"], ["html:99"]],
    ids=" ".join,
)
def test_api_key_is_never_written_or_printed(tmp_path: Path, faults: list[str]) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "on_unknown": "stop"})
    with simulator(tmp_path / "api", faults=faults) as environ:
        environ = {**environ, "ANTHROPIC_API_KEY": CANARY, "ANTHROPIC_LOG": "debug"}
        words = ("--no-wait",) if "html:99" in faults else ()
        ended = command(tmp_path, environ, *RUN, *words)
        for other in (("status",), ("status", "--json"), ("doctor", "--remote"), ("reconcile", "job.yaml")):
            command(tmp_path, environ, *other)
            assert CANARY not in (tmp_path / "stdout").read_text() + (tmp_path / "stderr").read_text()
    assert CANARY not in ended.stdout + ended.stderr
    holders = [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert holders == []


def test_unsendable_key_is_not_shown(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, {**environ, "ANTHROPIC_API_KEY": f"{CANARY}\n"}, *RUN)
    assert (ended.returncode, CANARY in ended.stderr) == (7, False)


def test_debug_logging_of_prompts_gives_a_warning(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        quiet = command(tmp_path, environ, *RUN)
        loud = command(tmp_path, {**environ, "ANTHROPIC_LOG": "debug"}, *RUN, "--new")
    warning = "ANTHROPIC_LOG=debug prints every request"
    assert (warning in quiet.stderr, warning in loud.stderr) == (False, True)


def test_results_come_only_from_the_configured_address(tmp_path: Path) -> None:
    # Behind a gateway the API's own address stands in `results_url`; a redirect leads elsewhere too.
    write_job(tmp_path)
    with simulator(tmp_path / "api", faults=["redirect:99"]) as environ:
        ended = command(tmp_path, environ, *RUN)
        assert (ended.returncode, "redirects" in ended.stderr) == (7, True)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
