"""The places of a type of sink: a type has at least one, and a sink of it sets exactly one."""

from pathlib import Path

import pytest

from tests.support.outputs import errors
from tests.support.processes import RUN_SIMULATED, install_module, run_with

CODE = """\
from contextlib import contextmanager

from runner.plugins import SinkType

@contextmanager
def write(destination, columns):
    with destination.open_file() as file:
        yield lambda values: file.write(f"{values[0]}\\n".encode())

entry = SinkType(write, destinations=DESTINATIONS)
"""
SPEC = """\
version: 1
name: job
source: {type: csv, path: rows.csv}
prompt: {user: "{{ text }}"}
params: {model: claude-haiku-5-5, max_tokens: 100}
sinks:
  - {type: mine, columns: {n: row.text}PLACE}
"""


def run_mine(folder: Path, destinations: str, place: str, *words: str) -> tuple[int, str]:
    """The exit code and messages of a command on a spec with a sink of an installed type."""
    code = CODE.replace("DESTINATIONS", destinations)
    target = install_module(folder / "installed", "runner.sinks", "mine", code)
    (folder / "rows.csv").write_text("text\na\n")
    done = run_with(target, folder, SPEC.replace("PLACE", place), *(words or ("validate", "job.yaml")))
    return done.returncode, done.stderr


@pytest.mark.parametrize("place", ["", ', path: a.txt, url: "x://b"'])
def test_sink_with_two_destinations_needs_exactly_one(tmp_path: Path, place: str) -> None:
    code, messages = run_mine(tmp_path, '("path", "url")', place)
    assert (code, errors(messages)) == (2, ["job.yaml:7:5: a mine sink needs exactly one of `path` and `url`"])


@pytest.mark.parametrize("place", [", path: out.txt", ', url: "x://out.txt"'])
def test_sink_of_installed_type_writes_to_either_place(tmp_path: Path, place: str) -> None:
    code, messages = run_mine(tmp_path, '("path", "url")', place, *RUN_SIMULATED)
    assert code == 0, messages
    [written] = (tmp_path / "simulated").rglob("out.txt*")
    assert written.read_text() == "a\n"


@pytest.mark.parametrize("destinations", ["()", '("bucket",)', '"path"'])
def test_unusable_destinations_name_the_allowed_ones(tmp_path: Path, destinations: str) -> None:
    code, messages = run_mine(tmp_path, destinations, ", path: out.txt")
    assert code == 2
    assert errors(messages)[0].startswith(
        "job.yaml:7:12: the entry point mine = mine:entry in runner.sinks of the package mine cannot be imported: "
        "ValueError: the destinations of a SinkType must be a tuple of one or more of path, url, not "
    )


def test_place_that_is_no_destination_is_refused(tmp_path: Path) -> None:
    target = install_module(
        tmp_path / "installed", "runner.sinks", "mine", "def entry(to, columns, *, url): ...\n"
    )
    done = run_with(target, tmp_path, SPEC.replace("PLACE", ", path: a, url: b"), "validate", "job.yaml")
    assert done.returncode == 2
    assert "the setting `url` names a place: add it to the destinations of the SinkType" in done.stderr
