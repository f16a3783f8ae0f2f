"""Packages that are not installed are reported with the extra to install."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.projects import write_job


def without(folder: Path, *packages: str) -> None:
    """Fill a folder with the packages that are installed, but for these."""
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name.split("-")[0] not in packages and not entry.name.startswith("_message_batch_runner"):
            (folder / entry.name).symlink_to(entry)


@pytest.mark.parametrize(
    ("type", "path", "package", "extra"),
    [
        ("parquet", "t.parquet", "pyarrow", "data"),
        ("csv", "memory://t.csv", "fsspec", "data"),
        ("xlsx", "t.xlsx", "openpyxl", "xlsx"),
    ],
)
def test_missing_package_is_reported_with_its_extra(
    tmp_path: Path, type: str, path: str, package: str, extra: str
) -> None:
    without(tmp_path, package)
    program = (
        "import sys, pathlib; sys.path[:0] = sys.argv[1:3]\n"
        "from runner.sources.input_files import Inputs\n"
        "from runner.sources.read import read_rows\n"
        "from runner.spec.spec import Source\n"
        f"list(read_rows(Source({type!r}, None, {{'path': {path!r}}}), Inputs(pathlib.Path('.'))))"
    )
    command = [sys.executable, "-S", "-c", program, str(ROOT), str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    wanted = f"{package} is not installed: pip install '{ROOT}[{extra}]'"
    assert done.stderr.strip().endswith(wanted), done.stderr


def test_all_missing_packages_are_reported_at_once(tmp_path: Path) -> None:
    packages = {"documents": "PIL", "data": "pyarrow", "xlsx": "openpyxl", "sql": "sqlalchemy"}
    (tmp_path / "site").mkdir()
    without(tmp_path / "site", *packages.values())
    sinks = [{"type": type, "path": f"out/{type}"} for type in ("parquet", "xlsx")]
    sinks.append({"type": "sql", "path": "out/t.db", "table": "t"})
    write_job(tmp_path, prompt={"user": [{"type": "document", "path": "{{ id }}"}]}, sinks=sinks)
    program = (
        "import sys; sys.path[:0] = sys.argv[1:3]; from runner.cli import main; main(['validate', 'job.yaml'])"
    )
    repository = str(ROOT)
    command = [sys.executable, "-S", "-c", program, repository, str(tmp_path / "site")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    for extra, package in packages.items():
        assert f"{package} is not installed: pip install '{ROOT}[{extra}]'" in done.stderr


@pytest.mark.parametrize(("platform", "package"), [("aws", "boto3"), ("google", "google.auth")])
def test_missing_package_of_a_platform_is_reported(tmp_path: Path, platform: str, package: str) -> None:
    (tmp_path / "site").mkdir()
    without(tmp_path / "site", package.partition(".")[0])
    write_job(tmp_path, api={"platform": platform, "region": "us-east-1", "workspace_id": "wrkspc_1"})
    program = (
        "import sys; sys.path[:0] = sys.argv[1:3]; from runner.cli import main; main(['validate', 'job.yaml'])"
    )
    command = [sys.executable, "-S", "-c", program, str(ROOT), str(tmp_path / "site")]
    environ = {name: value for name, value in os.environ.items() if name != "ANTHROPIC_AWS_API_KEY"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=environ)
    assert done.returncode == 2
    assert f"api: {package} is not installed: pip install '{ROOT}[{platform}]'" in done.stderr


@pytest.mark.parametrize("words", [["status"], ["move"]])
def test_all_extras_of_a_shared_state_are_named_at_once(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "site").mkdir()
    without(tmp_path / "site", "psycopg", "obstore")
    write_job(tmp_path)
    (tmp_path / "runner.toml").write_text('state = "postgresql://db/ops"\nfiles = "file:///store"\n')
    program = f"import sys; sys.path[:0] = sys.argv[1:3]; from runner.cli import main; main({words})"
    command = [sys.executable, "-S", "-c", program, str(ROOT), str(tmp_path / "site")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    wanted = f"psycopg and obstore are not installed: pip install '{ROOT}[sql,objects]'"
    assert done.returncode == 2 and wanted in done.stderr, done.stderr


def test_an_install_outside_a_clone_names_the_package(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "runner", tmp_path / "site" / "runner", ignore=shutil.ignore_patterns("__pycache__"))
    program = "import sys; sys.path[:0] = ['site']; from runner.files.extras import install_command as i; "
    command = [sys.executable, "-S", "-c", f"{program} print(i('data'))"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "pip install 'message-batch-runner[data]'\n"


def test_heic_without_its_package_is_reported_with_its_extra(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    without(tmp_path / "site", "pillow_heif")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    block = {"type": "image", "path": "photo.heic", "convert": True}
    write_job(tmp_path, prompt={"user": [block, {"type": "text", "text": "{{ id }}"}]})
    program = "import sys; sys.path[:0] = sys.argv[1:3]; from runner.cli import main; main(['render', 'job.yaml'])"
    command = [sys.executable, "-S", "-c", program, str(ROOT), str(tmp_path / "site")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    wanted = f"photo.heic: a HEIC image: pillow_heif is not installed: pip install '{ROOT}[heic]' (row 1"
    assert done.returncode == 2 and wanted in done.stderr
