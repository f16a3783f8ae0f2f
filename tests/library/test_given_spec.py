"""A spec as a mapping or as YAML text."""

from pathlib import Path
from typing import Any

import pytest

from runner import InputError, load_spec

SMALL: dict[str, Any] = {
    "name": "small",
    "prompt": {"user": "{{ text }}"},
    "params": {"model": "claude-haiku-5-5", "max_tokens": 50},
}


def test_mapping_needs_neither_version_nor_source_nor_sinks(tmp_path: Path) -> None:
    spec = load_spec(SMALL, root=tmp_path)
    assert (spec.name, spec.source.type, spec.sinks, spec.root) == ("small", "rows", (), tmp_path)
    keyed = load_spec({**SMALL, "source": {"key": "id"}}, root=tmp_path)
    assert (keyed.source.type, keyed.source.key) == ("rows", "id")


def test_mapping_can_hold_paths_and_sinks(tmp_path: Path) -> None:
    sinks = [{"type": "jsonl", "path": Path("out") / "a.jsonl"}]
    spec = load_spec({**SMALL, "source": {"type": "csv", "path": Path("a.csv")}, "sinks": sinks}, root=tmp_path)
    assert (spec.source.path, spec.sinks[0].options) == ("a.csv", {"path": "out/a.jsonl"})


def test_text_of_several_lines_is_a_spec(tmp_path: Path) -> None:
    lines = ["version: 1", "name: text", "source: {type: csv, path: a.csv}", "prompt: {user: '{{ a }}'}"]
    lines += ["params: {model: m, max_tokens: 5}", "sinks: [{type: jsonl, path: a.jsonl}]"]
    assert load_spec("\n".join(lines), root=tmp_path).name == "text"
    with pytest.raises(InputError, match=r"^<spec>:5:\d+: "):
        load_spec("\n".join([*lines[:4], "params: {model: m}", lines[5]]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"promt": {}}, "unknown key 'promt'"),
        ({"params": {"model": "m", "max_tokens": "many"}}, "max_tokens"),
        ({"vars": {"when": object()}}, "not a mapping of plain values"),
    ],
)
def test_mistake_in_a_mapping_names_the_setting_and_no_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_spec({**SMALL, **changes})
    assert message in str(caught.value)
    assert {(one.path, one.line) for one in caught.value.problems} == {("<spec>", 0)}


def test_path_of_one_line_is_never_taken_for_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the spec"):
        load_spec(str(tmp_path / "none.yaml"))
