"""A command imports only the packages that it needs, so that it starts fast."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key, simulator

HEAVY = (
    "PIL", "anthropic", "dotenv", "fsspec", "httpx2", "importlib.metadata", "jinja2", "jsonschema",
    "jsonschema_rs", "openpyxl", "opentelemetry", "pyarrow", "pypdfium2", "requests", "rich", "sqlalchemy",
    "sqlite3", "ssl", "yaml",
)  # fmt: skip
CODE = f"""
import atexit, sys
from runner.cli import main
atexit.register(lambda: print("imported:", *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr))
main()
"""
CHECKS = "jinja2 jsonschema_rs sqlite3 yaml"
"""Packages that the check of a spec needs."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose only run is finished, and whose simulator has ended."""
    root = tmp_path_factory.mktemp("project")
    write_job(root)
    with simulator(root / "api") as environ:
        assert command(root, environ, *RUN).returncode == 0
    (root / "bad.yaml").write_text((root / "job.yaml").read_text().replace('"params"', '"parms"'))
    return root


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ("--help", ""),
        ("run --help", ""),
        ("explain few-rows", "jinja2 jsonschema_rs yaml"),
        ("init --list", CHECKS),
        ("status", "rich sqlite3"),
        ("status job", "rich sqlite3"),
        ("show job", "jsonschema_rs sqlite3"),
        ("diff job job", "jsonschema_rs sqlite3"),
        ("report job", CHECKS),
        ("costs", "sqlite3"),
        ("evaluate job", CHECKS),
        ("doctor", "sqlite3"),
        ("validate job.yaml", CHECKS),
        ("validate bad.yaml", f"{CHECKS} jsonschema"),
        ("render job.yaml", CHECKS),
        ("plan job.yaml --offline", CHECKS),
        ("run job.yaml", CHECKS),
        ("retry job", CHECKS),
    ],
)
def test_a_command_imports_only_what_it_needs(project: Path, words: str, needed: str) -> None:
    line, environ = [sys.executable, "-c", CODE, *words.split()], environ_without_key()
    # A command that does not call the API has nothing to tell a collector.
    environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    done = subprocess.run(line, cwd=project, env=environ, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    imported = done.stderr.splitlines()[-1].removeprefix("imported:").split()
    assert imported == sorted(needed.split()), done.stderr


def test_outputs_are_written_again_without_a_key(project: Path) -> None:
    (project / "out" / "labels.csv").unlink()
    done = command(project, environ_without_key(), *RUN)
    assert done.returncode == 0 and (project / "out" / "labels.csv").exists()
