"""Copy a job that works: its spec, prompts, schema and first rows, with a .gitignore and a README."""

import csv
import io
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from runner.errors import UsageError
from runner.files.extras import missing_package_message
from runner.files.nearest import EDITOR_SCHEMA
from runner.sources.input_files import Inputs
from runner.spec.load import load_spec
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Spec
from runner.starters.editor_schema import SCHEMA_LINE, format_installed_schema
from runner.starters.own_data import Starter
from runner.templates.load import load_templates

DEFAULT = "classify"

_HERE = Path(__file__).parent
# The shipped jobs of the repository are inside the wheel; in a clone they are where they belong.
_JOBS = next(folder for folder in (_HERE / "jobs", _HERE.parents[1]) if (folder / "specs").is_dir())
_SPECS = {
    "classify": _HERE / "templates" / "classify" / "classify.yaml",
    "documents": _HERE / "templates" / "documents" / "documents.yaml",
    **{
        name: _JOBS / "specs" / f"{name}.yaml"
        for name in ("invoices", "contracts", "retrospectives", "question_bank")
    },
}
_MAX_ROWS = 10
_GITIGNORE = ".env\n.runner/\nsimulated/\nout/\n"


def list_templates() -> dict[str, str]:
    """Return what each template does, by its name."""
    return {name: load_spec(path).description for name, path in _SPECS.items()}


def next_commands(spec: str, program: Sequence[str] = ("runner",)) -> list[tuple[str, str]]:
    """Return the next commands for a new spec, each with what it does; `program` begins each."""
    return [
        (shlex.join([*program, "validate", spec]), "reports all mistakes, with lines and remedies"),
        (shlex.join([*program, "run", spec, "--simulate"]), "free: no key, invented answers"),
        (
            shlex.join([*program, "pilot", spec]),
            "sends at most 50 rows, after a question; needs ANTHROPIC_API_KEY, for example in .env",
        ),
        (shlex.join([*program, "run", spec]), "sends all other rows; shows the cost and asks"),
    ]


def _first_rows(kind: str, data: bytes) -> bytes:
    """Return the beginning of a data file, up to its tenth row."""
    if kind not in ("csv", "jsonl"):
        return data
    lines, count = data.splitlines(keepends=True), _MAX_ROWS
    if kind == "csv":
        reader = csv.reader(io.StringIO(data.decode(), newline=""))
        for _ in zip(range(_MAX_ROWS + 1), reader, strict=False):
            count = reader.line_num
    return b"".join(lines[:count])


def _describe(spec: Spec, name: str) -> str:
    found = next_commands(name)
    width = max(len(line) for line, _ in found)
    commands = "\n".join(f"    {line:{width}}   # {purpose}" for line, purpose in found)
    return (
        f"# {spec.name}\n\n{spec.description}.\n\nPut your own rows in place of `{spec.source.path}`. "
        "Change the texts in `prompts/` and the schema\n"
        f"`{spec.schema_path}` to what you want to know. Then:\n\n{commands}\n"
    )


def _find_files(spec: Spec) -> Iterator[tuple[str, bytes]]:
    """Yield the path and content of each file of a template; paths are relative to the project."""
    name = spec.path.relative_to(spec.root).as_posix()
    _, _, rest = spec.path.read_text("utf-8").partition("\n")
    yield name, f"{SCHEMA_LINE}\n{rest}".encode()
    yield str(Path(name).with_name(EDITOR_SCHEMA)), format_installed_schema().encode()
    for template, written in load_templates(spec).file_texts().items():
        yield f"prompts/{template}", written.encode()
    if spec.schema_path is not None:
        yield spec.schema_path, (spec.root / spec.schema_path).read_bytes()
    for path in Inputs(spec.root).find_files(spec.source.path)[:_MAX_ROWS]:
        yield path, _first_rows(spec.source.type, (spec.root / path).read_bytes())
    yield ".gitignore", _GITIGNORE.encode()
    yield "README.md", _describe(spec, name).encode()


def copy_template(name: str, folder: Path) -> Starter:
    """Copy a template into a folder; files that are there already stay as they are. Raises UsageError."""
    if name not in _SPECS:
        raise UsageError(
            f"no template {name!r}: {suggest_similar(name, _SPECS)}; `runner init --list` describes them. "
            f"A folder comes second: `runner init {DEFAULT} {name}`"
        )
    spec, written, left = load_spec(_SPECS[name]), list[Path](), list[Path]()
    for path, content in _find_files(spec):
        target = folder / path
        if target.exists():
            left.append(target)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        written.append(target)
    missing = missing_package_message("documents") if any(spec.prompt.blocks()) else None
    notes = [] if missing is None else [f"PDFs and images need a package: {missing}"]
    return Starter(folder / spec.path.relative_to(spec.root), written, left, notes)
