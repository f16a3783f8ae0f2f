"""Code of another package that fails is named, with its exception, and the state stays usable."""

from pathlib import Path

import pytest

from tests.support.outputs import errors
from tests.support.processes import PLUGIN_SPEC, RUN_SIMULATED, Ended, install_module, run_with

SOURCE_SPEC = PLUGIN_SPEC.replace("type: lines", "type: csv").replace('separator: "|", ', "")
SOURCE = """\
import datetime, sys

def entry(inputs, *, count, parity=""):
    for number in range(1, count + 1):
        BODY
        yield "numbers", number, {"number": number, "text": f"number {number}"}
"""
SINK = """\
import sys
from contextlib import contextmanager

@contextmanager
def entry(destination, columns, *, separator=" "):
    ENTER
    with destination.open_file() as file:
        def write(values):
            WRITE
            file.write(f"{values[0]}\\n".encode())
        yield write
    EXIT
"""
SINK_SPEC = PLUGIN_SPEC.replace("{type: numbers, count: 5, parity: odd}", "{type: csv, path: rows.csv}").replace(
    "row.number", "key"
)


def run_source(folder: Path, body: str, *words: str, count: int = 5) -> Ended:
    """Run a command with a source whose function contains `body`."""
    target = install_module(folder / "installed", "runner.sources", "numbers", SOURCE.replace("BODY", body))
    return run_with(target, folder, SOURCE_SPEC.replace("count: 5", f"count: {count}"), *words)


def run_sink(folder: Path, code: str, *words: str) -> Ended:
    """Run a command with a sink of this code."""
    (folder / "rows.csv").write_text("text\na\nb\n")
    target = install_module(folder / "installed", "runner.sinks", "lines", code)
    return run_with(target, folder, SINK_SPEC, *(words or RUN_SIMULATED))


def make_sink(enter: str = "", write: str = "", exit: str = "") -> str:
    """The code of a sink that runs these statements."""
    parts = {"ENTER": enter, "WRITE": write, "EXIT": exit}
    code = SINK
    for name, statement in parts.items():
        code = code.replace(name, statement or "pass")
    return code


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{}['color']", "KeyError: 'color' ("),
        ("1 / 0", "ZeroDivisionError: division by zero ("),
        ("raise ConnectionError('refused')", "ConnectionError: refused ("),
        ("sys.exit(0)", "SystemExit: 0 ("),
        ("yield 5", "it must yield (path, line, fields) for each row, not 5; "),
        (
            "yield 'numbers', 1, None",
            "it must yield (path, line, fields) for each row, not ('numbers', 1, None); ",
        ),
        ("yield 'numbers', 1, {2: 3}", "numbers:1: the name of a field must be text, not 2; "),
        ("yield 'numbers', 1, {'a': object()}", "numbers:1: the field a is a object, which JSON cannot express"),
    ],
)
def test_failing_source_is_named_with_its_exception(tmp_path: Path, body: str, expected: str) -> None:
    done = run_source(tmp_path, body, "validate", "job.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith(f"job.yaml:3:16: source.type: the type 'numbers' failed: {expected}")
    assert "it is the entry point numbers = mine:entry in runner.sources of the package mine; " in done.stderr


def test_source_that_fails_late_names_its_last_row(tmp_path: Path) -> None:
    done = run_source(tmp_path, "number == 150 and {}['color']", *RUN_SIMULATED, count=200)
    assert done.returncode == 2
    at = "job.yaml:3:16: source.type: after numbers:149, the type 'numbers' failed: KeyError: 'color' ("
    assert errors(done.stderr)[-1].startswith(f"{at}{tmp_path / 'installed' / 'mine.py'}:5)")


def test_run_succeeds_once_the_source_is_corrected(tmp_path: Path) -> None:
    assert run_source(tmp_path, "number == 150 and 1 / 0", *RUN_SIMULATED, count=200).returncode == 2
    (tmp_path / "installed" / "mine.py").write_text(SOURCE.replace("BODY", "pass"))
    done = run_with(tmp_path / "installed", tmp_path, SOURCE_SPEC, *RUN_SIMULATED)
    assert done.returncode == 0, done.stderr


def test_values_of_a_source_become_json(tmp_path: Path) -> None:
    body = "yield 'numbers', 1, {'number': datetime.date(2026, 1, 2), 'text': ('a', 1)}"
    done = run_source(tmp_path, body, "render", "job.yaml", count=1)
    assert done.returncode == 0, done.stderr
    assert "['a', 1]" in done.stdout


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            make_sink(enter="{}['color']"),
            "cannot write simulated/out.txt: the type 'lines' failed: KeyError: 'color' (",
        ),
        (
            make_sink(write="1 / 0"),
            "cannot write the row 1: the type 'lines' failed: ZeroDivisionError: division by",
        ),
        (make_sink(write="sys.exit(0)"), "cannot write the row 1: the type 'lines' failed: SystemExit: 0 ("),
        (
            make_sink(exit="[][0]"),
            "cannot write simulated/out.txt: the type 'lines' failed: IndexError: list index",
        ),
        (
            "def entry(to, columns, *, separator): ...\n",
            "cannot write simulated/out.txt: the type 'lines' failed: ",
        ),
    ],
)
def test_failing_sink_is_named_and_corrected_later(tmp_path: Path, code: str, expected: str) -> None:
    done = run_sink(tmp_path, code)
    assert done.returncode == 2
    message = errors(done.stderr)[-1].replace(f"{tmp_path}/", "")
    assert message.startswith("job.yaml:6:") and expected in message
    assert (
        "; it is the entry point lines = mine:entry in runner.sinks of the package mine; fix the sink" in message
    )
    (tmp_path / "installed" / "mine.py").write_text(make_sink())
    again = run_with(tmp_path / "installed", tmp_path, SINK_SPEC, *RUN_SIMULATED)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "simulated" / "out.txt").read_text() == "1\n2\n"
    assert len(list((tmp_path / "simulated" / ".runner" / "runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("expressions=lambda: 1 / 0", "ZeroDivisionError: division by zero ("),
        ("expressions=lambda: ['n']", "`expressions` must return texts by the names of columns, not ['n']; "),
    ],
)
def test_failing_expressions_of_a_sink_are_located(tmp_path: Path, given: str, expected: str) -> None:
    code = f"{make_sink()}\nfrom runner.plugins import SinkType\nentry = SinkType(entry, {given})\n"
    (tmp_path / "rows.csv").write_text("text\na\n")
    target = install_module(tmp_path / "installed", "runner.sinks", "lines", code)
    text = SINK_SPEC.replace(", columns: {n: key, outcome: outcome}", "")
    done = run_with(target, tmp_path, text, "validate", "job.yaml")
    assert done.returncode == 2
    assert errors(done.stderr)[0].startswith(f"job.yaml:6:16: the type 'lines' failed: {expected}")


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("raise ValueError('too long')", "rows.csv:2:1: column 'n' of row 1: too long"),
        ("raise KeyError('x')", "rows.csv:2:1: column 'n' of row 1: the type 'lines' failed: KeyError: 'x' ("),
    ],
)
def test_failing_check_of_a_value_names_the_row(tmp_path: Path, check: str, expected: str) -> None:
    code = f"{make_sink()}\nfrom runner.plugins import SinkType\ndef check(value):\n    {check}\n"
    done = run_sink(tmp_path, f"{code}entry = SinkType(entry, check_value=check)\n")
    assert done.returncode == 2
    assert expected in done.stderr


LIMIT = """
from runner.plugins import SinkType, TextLimit
entry = SinkType(entry, limit=TextLimit("a line", most=2, measure=lambda text: MEASURE))
"""


@pytest.mark.parametrize(
    ("measure", "overflow", "expected"),
    [
        ("len(text)", "cut", "cut     simulated/out.txt: 1 cell of outcome"),
        ("len(text)", "error", "column 'outcome': a line can hold at most 2 characters, but this text has 9"),
        ("1 // 0", "cut", "the row 1: the type 'lines' failed: ZeroDivisionError"),
    ],
)
def test_limit_of_a_sink_is_kept(tmp_path: Path, measure: str, overflow: str, expected: str) -> None:
    (tmp_path / "rows.csv").write_text("text\na\n")
    code = make_sink() + LIMIT.replace("MEASURE", measure)
    target = install_module(tmp_path / "installed", "runner.sinks", "lines", code)
    spec = SINK_SPEC.replace("columns:", f"overflow: {overflow}, columns:")
    done = run_with(target, tmp_path, spec, *RUN_SIMULATED)
    assert expected in f"{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr


def test_sink_that_changes_its_values_changes_no_other_output(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\na\n")
    code = make_sink(write="[value.clear() for value in values if isinstance(value, dict)]")
    target = install_module(tmp_path / "installed", "runner.sinks", "lines", code)
    spec = SINK_SPEC.replace("outcome: outcome}}]", "row: row}}, {type: jsonl, path: out/all.jsonl}]")
    assert run_with(target, tmp_path, spec, *RUN_SIMULATED).returncode == 0
    assert '"row":{"text":"a"}' in (tmp_path / "simulated" / "out" / "all.jsonl").read_text()
