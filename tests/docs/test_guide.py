"""The documents are true: the snippets of the guide are valid, and links lead to files and headings."""

import re
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from runner import Plan, Summary, errors, load_spec
from runner.lifecycle.follow.next_step import STEPS
from runner.lifecycle.validate.destinations import find_invalid, find_places
from runner.templates.load import load_templates

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "specs" / "README.md", ROOT / "prompts" / "README.md"]
SNIPPETS = [
    pytest.param(f"{path.parent.name}-{number}", text, id=f"{path.parent.name}-{number}")
    for path in GUIDES
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", path.read_text("utf-8"), re.DOTALL), 1)
]
MINIMAL = """\
version: 1
name: snippet
source: {type: csv, path: specs/data/invoices.csv}
prompt: {user: Read this.}
params: {model: claude-haiku-5-5, max_tokens: 100}
sinks: [{type: jsonl, path: out/snippet.jsonl}]
"""
FOLDERS = ("specs", "prompts", "runner", "tests", ".github")
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")),
]
LINKS = [
    pytest.param(path, target, id=f"{path.relative_to(ROOT)}:{target}")
    for path in DOCUMENTS
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8"))
    if "://" not in target
]


def heading_anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("specs", "prompts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setenv("DB_PASSWORD", "secret")
    monkeypatch.setenv("HOOK", "https://hooks.example.com/runner")
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + "q" * 40)
    monkeypatch.setenv("SLACK", "slack://token")
    return tmp_path


@pytest.mark.parametrize(("name", "text"), SNIPPETS)
def test_snippet_is_part_of_a_valid_spec(project: Path, name: str, text: str) -> None:
    own = re.findall(r"^(\w+):", text, re.MULTILINE)
    others = [line for line in MINIMAL.splitlines() if line.partition(":")[0] not in own]
    path = project / "specs" / f"{name}.yaml"
    path.write_text("\n".join([*others, text]), "utf-8")
    spec = load_spec(path)
    assert text.count("\n") <= 12
    assert load_templates(spec).spec is spec
    assert find_invalid(spec, find_places(spec, project)) == []


@pytest.mark.parametrize(("document", "target"), LINKS)
def test_link_leads_to_a_file_and_heading(document: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = (document.parent / name).resolve() if name else document
    assert path.exists()
    assert not anchor or anchor in heading_anchors(path)


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text("utf-8").count("\n") <= 150


def test_the_house_shows_the_steps_of_a_batch_in_their_order() -> None:
    text = (ROOT / "runner" / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| .* \| ([A-Z_]+) \|$", text, re.MULTILINE)
    assert rows == [(state, step.name) for state, _, step in STEPS]


def test_the_house_shows_the_exit_code_of_every_error() -> None:
    table = (ROOT / "runner" / "README.md").read_text("utf-8").partition("## Exit codes")[2]
    rows = re.findall(r"^\| ([\d, ]+) \| ([\w, ]*) \|", table, re.MULTILINE)
    shown = {name: int(codes.split(",")[0]) for codes, names in rows for name in names.replace(",", " ").split()}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert shown == {kind.__name__: kind.exit_code for kind in kinds if issubclass(kind, errors.RunnerError)}


@pytest.mark.parametrize(("command", "kind"), [("`run`, `status`", Summary), ("`plan`", Plan)])
def test_the_guide_names_everything_that_json_output_has(command: str, kind: type) -> None:
    text = (ROOT / "specs" / "README.md").read_text("utf-8")
    assert f"| {command} | `{' '.join(one.name for one in fields(kind))}` |" in text
