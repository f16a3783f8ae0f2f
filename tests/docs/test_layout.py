"""The rules of the folder tree: imports go one way, and one library is known to one module."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import DATA, ROOT, TESTS

PACKAGE = ROOT / "runner"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEST_MODULES = sorted(TESTS.rglob("*.py"))
MAX_LINES, MAX_FILES, MAX_NAME = 400, 12, 60
ORDER = (
    "errors", "text", "files", "workers", "io_types", "spec", "tabular", "templates", "results", "evaluation",
    "pricing", "sources", "requests", "rules", "sinks", "store", "telemetry", "api", "simulator", "runs", "notify",
    "lifecycle/prepare", "lifecycle/validate", "lifecycle/plan", "lifecycle/send", "lifecycle/deliver",
    "lifecycle/diff", "lifecycle/judge", "report", "lifecycle/follow", "lifecycle/run_options", "lifecycle/run",
    "lifecycle/run_all", "lifecycle/maintain", "library", "plugins", "__init__", "starters", "reference", "cli",
    "__main__",
)  # fmt: skip
"""Each may import only what stands before it."""
OWNERS = {
    "yaml": {"spec"},
    "jsonschema": {"spec"},
    "jinja2": {"templates", "report"},
    "sqlite3": {"store", "sources", "sinks", "tabular"},
    "filelock": {"store"},
    "anthropic": {"api"},
    "httpx2": {"api"},
    "httpcore2": {"api"},
    "jsonschema_rs": {"results", "simulator", "spec"},
    "click": {"cli"},
    "dotenv": {"cli"},
    "rich": {"cli"},
    "fsspec": {"files"},
    "obstore": {"files"},
    "pyarrow": {"tabular"},
    "openpyxl": {"sources", "sinks"},
    "sqlalchemy": {"tabular"},
    "psycopg": {"store", "tabular"},
    "apprise": {"notify"},
    "boto3": {"api", "files"},
    "distributed": {"workers"},
    "google": {"api"},
    "opentelemetry": {"telemetry"},
}


def part(path: Path) -> str:
    """The top-level folder or module of a file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(name: str) -> str:
    """The name in ORDER of a module, by its dotted name below the package."""
    parts = name.split(".")
    return "/".join(parts[:2]) if parts[0] == "lifecycle" and len(parts) > 1 else parts[0]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "runner":
            yield from (f"runner.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    own = layer(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    if own == "lifecycle/__init__":
        return
    names = {layer(name.removeprefix("runner.")) for name in imported(path) if name.startswith("runner.")}
    assert [name for name in names if ORDER.index(name) > ORDER.index(own)] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_is_imported_by_one_module(path: Path) -> None:
    libraries = {name.split(".")[0] for name in imported(path)} & set(OWNERS)
    assert [name for name in libraries if part(path) not in OWNERS[name]] == []


def test_only_the_cli_prints_or_exits() -> None:
    calls = {
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.exit", "exit", "os._exit")
    }
    assert {call for call in calls if not call.startswith(("cli/", "__main__.py"))} == set()


def test_no_test_file_imports_another() -> None:
    imports = {
        f"{path.relative_to(TESTS)}: {name}"
        for path in TEST_MODULES
        for name in imported(path)
        if name.startswith("tests.") and name.rpartition(".")[2].startswith(("test_", "conftest"))
    }
    assert imports == set()


def test_no_test_file_is_too_long() -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in TEST_MODULES}
    assert [path for path, count in lines.items() if count > MAX_LINES] == []


def test_no_test_folder_holds_too_many_files() -> None:
    files = (path for path in TESTS.rglob("*") if path.is_file() and DATA not in path.parents)
    counts = Counter(path.parent for path in files if path.suffix != ".pyc")
    assert [folder for folder, count in counts.items() if count > MAX_FILES] == []


def test_no_name_in_a_test_file_is_too_long() -> None:
    names = {
        node.name
        for path in TEST_MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    assert [name for name in sorted(names) if len(name) > MAX_NAME] == []
