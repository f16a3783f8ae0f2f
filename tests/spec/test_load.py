"""Loading a spec: the project root, paths, variables, and places of problems."""

from pathlib import Path

import pytest

from runner.errors import InputError
from runner.spec.load import load_spec
from runner.spec.spec import Spec
from tests.support import ROOT, SHIPPED
from tests.support.projects import MINIMAL_SPEC, load_lines, load_problems


def test_the_project_root_does_not_depend_on_the_current_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_lines(project)
    monkeypatch.chdir(project / "specs")
    spec = load_spec("s.yaml")
    assert (spec.root, spec.path) == (project, Path("s.yaml"))


@pytest.mark.parametrize("path", ["../x.csv", "..", "a/../../x", "a/b/../../../x", "./../x", "*/../../x*.csv"])
def test_a_path_that_leaves_the_project_is_refused(project: Path, path: str) -> None:
    [found] = load_problems(project, base=MINIMAL_SPEC.replace("data/in.csv", f"'{path}'"))
    assert found.message.startswith(f"{path} is outside the project folder {project}")
    assert (found.line, found.column) == (3, 27)


@pytest.mark.parametrize(
    "path", ["/elsewhere/x.csv", "a/..", "a/../x.csv", "./x.csv", "..x.csv", "...", "a..b/x", "-"]
)
def test_absolute_path_and_path_inside_the_project_are_allowed(project: Path, path: str) -> None:
    assert load_lines(project, base=MINIMAL_SPEC.replace("data/in.csv", path)).source.options["path"] == path


def test_sibling_folder_with_a_longer_name_is_outside(project: Path) -> None:
    found = load_problems(project, base=MINIMAL_SPEC.replace("out.jsonl", f"../{project.name}2/x"))
    assert "is outside the project folder" in found[0].message


def test_a_var_override_is_text(project: Path) -> None:
    with pytest.raises(InputError, match=r"^--var: the value of a is not UTF-8 text$"):
        load_lines(project, "vars: {a: 1}", vars={"a": "x\udcff"})


def test_a_var_override_replaces_only_that_variable(project: Path) -> None:
    spec = load_lines(project, "vars: {a: 1, b: [2]}", vars={"a": "x"})
    assert spec.vars == {"a": "x", "b": [2]}
    assert load_lines(project, "vars: {a: 1, b: [2]}").vars == {"a": 1, "b": [2]}


def test_unknown_var_overrides_are_reported_with_other_mistakes(project: Path) -> None:
    found = load_problems(
        project, "vars: {a: 1}", base=MINIMAL_SPEC.replace("data/in.csv", "../x"), vars={"z": "", "a": "", "y": ""}
    )
    assert found[2].line == 3
    assert [p.path for p in found[:2]] == ["--var", "--var"]
    assert ["'y'" in found[0].message, "'z'" in found[1].message] == [True, True]


@pytest.mark.parametrize("name", ["nope.yaml", "specs", "nope/s.yaml"])
def test_a_spec_that_cannot_be_read_is_an_input_error(project: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot read the spec") as caught:
        load_spec(project / name)
    assert caught.value.problems[0].path == str(project / name)


@pytest.mark.parametrize("name", ["tickets.csv", "my tickets.jsonl.gz", "T.XLSX"])
def test_data_file_in_place_of_a_spec_names_init(project: Path, name: str) -> None:
    (project / name).write_bytes(b"id,text\n1,\xff\n")
    with pytest.raises(InputError, match=r"this is a data file, and no spec: `runner init --from '?/.*` writes"):
        load_spec(project / name)


def test_long_text_in_place_of_a_mapping_is_cut(project: Path) -> None:
    [problem] = load_problems(project, "word " * 1000, base="")
    assert "the spec must be a mapping, not the text 'word word" in problem.message
    assert len(problem.message) < 300


def test_a_problem_in_a_block_text_points_at_its_line(project: Path) -> None:
    spec = load_lines(project, base=MINIMAL_SPEC.replace("{user: hi}", "\n  user: |\n    one\n    two"))
    assert str(spec.problem("prompt.user", "wrong", line=2)) == f"{spec.path}:7: wrong"
    assert str(spec.problem("prompt.user", "wrong")) == f"{spec.path}:6: wrong"
    assert str(spec.problem("nowhere", "wrong")) == f"{spec.path}: wrong"


def test_a_problem_in_a_quoted_text_points_at_its_beginning(project: Path) -> None:
    spec = load_lines(project, base=MINIMAL_SPEC.replace("hi}", '"a\\n\\n{{ b"}'))
    line, column = spec.positions["prompt.user"]
    assert str(spec.problem("prompt.user", "wrong", line=3)) == f"{spec.path}:{line}:{column}: wrong"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_spec_loads(path: Path) -> None:
    spec = load_spec(path)
    assert (spec.name, spec.root) == (path.stem, ROOT)
    assert spec.output.schema is not None


def test_there_are_five_shipped_specs() -> None:
    assert [p.stem for p in SHIPPED] == ["contracts", "invoices", "judge", "question_bank", "retrospectives"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_spec_has_labels(path: Path) -> None:
    assert load_spec(path).evaluate


@pytest.mark.parametrize("at", ["source", "sink", "schema"])
def test_link_out_of_the_project_is_not_followed(tmp_path: Path, at: str) -> None:
    root, outside = tmp_path / "project", tmp_path / "outside"
    (root / "prompts").mkdir(parents=True)
    outside.mkdir()
    (outside / "x.json").write_text("{}")
    (root / "link").symlink_to(outside)
    paths = {"source": "in.csv", "sink": "out.jsonl", "schema": "s.json"}
    (root / "s.json").write_text("{}")

    def load() -> Spec:
        (root / "job.yaml").write_text(
            f"version: 1\nname: job\nsource: {{type: csv, path: {paths['source']}}}\nprompt: {{user: hi}}\n"
            f"params: {{model: m, max_tokens: 5}}\noutput: {{schema: {paths['schema']}}}\n"
            f"sinks: [{{type: jsonl, path: {paths['sink']}}}]\n"
        )
        return load_spec(root / "job.yaml")

    assert load().name == "job"
    paths[at] = "link/x.json"
    with pytest.raises(InputError, match="is outside the project folder"):
        load()
    paths[at] = str(outside / "x.json")
    assert load().name == "job"


def test_specs_in_place_of_a_missing_one_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".pre-commit-config", *(f"spec{number}" for number in range(10))):
        (tmp_path / f"{name}.yaml").touch()
    with pytest.raises(InputError, match=r"there are spec0\.yaml, .*, spec7\.yaml and 2 more") as caught:
        load_spec("zzzzzzzz.yaml")
    assert "pre-commit" not in str(caught.value)
