"""Rules about outputs that would overwrite something, and about prices."""

from pathlib import Path

import pytest

from runner import load_spec
from runner.errors import InputError
from runner.rules.run import run_rules
from tests.support.processes import command
from tests.support.projects import write_job


@pytest.mark.parametrize(
    "sink",
    ["rows.csv", "./data/../rows.csv", "sink-overwrites-input.good.yaml", ".", "schema.json", "out/../a.jsonl"],
)
def test_sink_cannot_overwrite_an_input_or_output(project: Path, sink: str) -> None:
    (project / "schema.json").write_text("{}")
    path = project / "sink-overwrites-input.good.yaml"
    sinks = f"[{{type: jsonl, path: a.jsonl}}, {{type: csv, path: {sink}}}]"
    path.write_text(
        path.read_text().replace("[{type: csv, path: out/rows.csv}]", sinks) + "output: {schema: schema.json}\n"
    )
    [one] = [one for one in run_rules(load_spec(path)) if one.rule == "sink-overwrites-input"]
    assert f"{sink} would overwrite" in one.message


@pytest.mark.parametrize(
    ("sink", "owner"),
    [("prompts/u.j2", "a template"), ("ln/rows.csv", "source.path"), (".runner/state.db", "the state")],
)
def test_sink_cannot_overwrite_templates_source_or_state(project: Path, sink: str, owner: str) -> None:
    (project / "prompts").mkdir()
    (project / "ln").symlink_to(project)
    path = project / "sink-overwrites-input.good.yaml"
    path.write_text(path.read_text().replace("out/rows.csv", sink))
    [one] = [one for one in run_rules(load_spec(path)) if one.rule == "sink-overwrites-input"]
    assert f"{sink} would overwrite {owner}" in one.message


@pytest.mark.parametrize(
    ("source", "folder", "is_found"),
    [
        ("data/rows.csv", "data", True),
        ("data/*.csv", "data", True),
        ("in/*/part-*.jsonl", "in/a", True),
        ("s3://bucket/in/*.jsonl", "s3://bucket/in", True),
        ("data/rows.csv", "data/out", False),
        ("s3://bucket/in/*.jsonl", "s3://bucket/out", False),
    ],
)
def test_folder_of_parts_cannot_replace_an_input(project: Path, source: str, folder: str, is_found: bool) -> None:
    path = project / "sink-overwrites-input.good.yaml"
    text = path.read_text().replace(
        "{type: csv, path: out/rows.csv}", f"{{type: jsonl, path: {folder}, parts: true}}"
    )
    path.write_text(text.replace("{type: csv, path: rows.csv", f"{{type: jsonl, path: '{source}'"))
    found = [one.message for one in run_rules(load_spec(path)) if one.rule == "sink-overwrites-input"]
    assert found == [f"{folder} is a folder of parts, and would replace source.path in it"] * is_found


def test_folder_of_parts_cannot_replace_an_output(project: Path) -> None:
    path = project / "sink-overwrites-input.good.yaml"
    sinks = "[{type: jsonl, path: out, parts: true}, {type: csv, path: out/rows.csv}]"
    path.write_text(path.read_text().replace("[{type: csv, path: out/rows.csv}]", sinks))
    [one] = [one for one in run_rules(load_spec(path)) if one.rule == "sink-overwrites-input"]
    assert one.message == "out is a folder of parts, and would replace sinks.1 in it"


def test_absurd_prices_are_rejected(project: Path) -> None:
    path = project / "sampling.good.yaml"
    path.write_text(path.read_text() + "prices: {input: 1e308, output: 1}\n")
    with pytest.raises(InputError, match="must be at most 1000000"):
        load_spec(path)


@pytest.mark.parametrize(("allow", "code"), [([], 2), (["constant-prompt"], 0)])
def test_constant_prompt_stops_a_command_unless_allowed(tmp_path: Path, allow: list[str], code: int) -> None:
    write_job(tmp_path, prompt={"user": "Say a word."}, allow=allow)
    done = command(tmp_path, {}, "validate", "job.yaml")
    assert (done.returncode, "uses nothing of its row" in done.stderr) == (code, code == 2)


@pytest.mark.parametrize(
    ("user", "is_found"),
    [
        ("{{ text }} {{ gold }}", True),
        ("{{ text }} {{ row['gold'] | upper }}", True),
        ("{{ row.get('gold') }}", True),
        ("{% if gold %}{{ text }}{% endif %}", True),
        ("{% for name, value in row.items() %}{{ name }}: {{ value }}{% endfor %}", True),
        ("{{ row | tojson }}", True),
        ("{% include 'shared.j2' %}", True),
        ("{{ text }} {{ row.golden }}", False),
        ("{{ row.get('text') }}", False),
        ("{% if 'gold' in row %}{{ text }}{% endif %}", False),
        ("{% for gold in text.split() %}{{ gold }}{% endfor %}", False),
    ],
)
def test_label_that_the_prompt_sends_is_found(tmp_path: Path, user: str, is_found: bool) -> None:
    evaluate = [{"name": "label", "expected": "row.gold", "actual": "output.label"}]
    path = write_job(tmp_path, prompt={"user": user}, evaluate=evaluate)
    (tmp_path / "prompts/shared.j2").write_text("{{ text }}\n{{ gold }}")
    found = [one.message for one in run_rules(load_spec(path)) if one.rule == "label-in-prompt"]
    assert [("gold, the right answer" in message) for message in found] == [True] * is_found


def test_nested_label_is_told_from_its_neighbours(tmp_path: Path) -> None:
    evaluate = [{"name": "label", "expected": "row.input.gold", "actual": "output.label"}]
    users = ["{{ input.text }}", "{{ input.gold }}", "{{ input | tojson }}"]
    specs = [load_spec(write_job(tmp_path, prompt={"user": user}, evaluate=evaluate)) for user in users]
    assert ["label-in-prompt" in {one.rule for one in run_rules(spec)} for spec in specs] == [False, True, True]


@pytest.mark.parametrize(
    ("setting", "file", "owner"),
    [("manifest", "rows.csv", "source.path"), ("report", "prompts/page.html", "a template")],
)
def test_manifest_and_report_overwrite_no_input(project: Path, setting: str, file: str, owner: str) -> None:
    (project / "prompts").mkdir()
    path = project / "sink-overwrites-input.good.yaml"
    path.write_text(f"{path.read_text()}{setting}: {file}\n")
    [one] = [one for one in run_rules(load_spec(path)) if one.rule == "sink-overwrites-input"]
    assert f"{file} would overwrite {owner}" in one.message
