"""A part of the proof that rendering depends on the row alone; `tests.proofs.purity` does it all."""

from pathlib import Path

import pytest
from jinja2 import StrictUndefined

from runner.templates.module_state import find_stateful_templates
from runner.templates.sandbox import make_sandbox
from tests.proofs import purity
from tests.support.hostile.stateful_templates import MODULES
from tests.support.prompts import write_templates


@pytest.mark.slow
def test_rows_in_any_order_give_the_texts_of_each_alone(tmp_path: Path) -> None:
    assert purity.prove(tmp_path, 100) > 0


@pytest.mark.parametrize("name", sorted(MODULES))
def test_module_keeps_nothing_from_row_to_row(tmp_path: Path, name: str) -> None:
    found = write_templates(
        tmp_path, "x.j2", {**MODULES, "x.j2": f"{{% import '{name}' as m %}}{{{{ m.add(a) }}}}"}
    )
    render = found.make_renderer("prompt.user", "x.j2")
    first = render(found.variables({"a": "one."}))
    render(found.variables({"a": "two!"}))
    assert render(found.variables({"a": "one."})) == first


def test_only_templates_that_can_change_are_run_again() -> None:
    parse = make_sandbox({}, StrictUndefined).parse
    stateful = find_stateful_templates({name: parse(text) for name, text in MODULES.items()})
    assert sorted(set(MODULES) - set(stateful)) == ["plain.j2"]
