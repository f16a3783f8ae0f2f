"""The JSON schema of specs, written beside a spec, so that an editor finds it wherever the project is copied."""

import json
from pathlib import Path

from runner.files.nearest import EDITOR_SCHEMA
from runner.io_types.plugins import add_all_plugins
from runner.spec.schema_errors import find_schema_error, schema_text

SCHEMA_LINE = f"# yaml-language-server: $schema={EDITOR_SCHEMA}"
"""The first line of a spec, by which editors check and complete it."""


def format_installed_schema() -> str:
    """Return the JSON schema of specs, with the types of sources and sinks from installed packages."""
    schema = json.loads(schema_text())
    add_all_plugins(schema, find_schema_error)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_editor_schema(folder: Path) -> tuple[Path, bool]:
    """Write the schema into a folder unless it is there; return its path, and whether it is new."""
    path = folder / EDITOR_SCHEMA
    if path.exists():
        return path, False
    path.write_text(format_installed_schema(), "utf-8")
    return path, True
