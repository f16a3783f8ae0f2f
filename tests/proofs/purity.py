"""Rendering depends on templates, variables and the row alone: `python -m tests.proofs.purity [SEQUENCES]`.

Each sequence renders rows in random order and with repetitions, with templates that use every construct of
Jinja that can hold state. Each text is compared with that of the same row rendered alone by fresh templates.
"""

import copy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import InputError
from runner.templates.templates import Templates
from tests.support.hostile.stateful_templates import ROWS, VARS, templates
from tests.support.prompts import write_templates

SYSTEM = "{% from 'namespace.j2' import add %}{{ add(text) }}{{ v|tojson }}"

sequences = st.tuples(templates(), st.lists(ROWS, min_size=1, max_size=4), st.lists(st.integers(0, 3), max_size=8))


def check(
    root: Path, user: str, files: Mapping[str, str], rows: Sequence[Mapping[str, Any]], order: Sequence[int]
) -> int:
    """Render rows in an order, compare each with a fresh rendering, and return how many were compared."""
    found = write_templates(root, {"system": SYSTEM, "user": user}, files, **copy.deepcopy(VARS))
    shared = {at: found.make_renderer(at, text) for at, text in found.spec.prompt.templates()}
    expected: dict[tuple[int, str], str] = {}
    for index in (number % len(rows) for number in order):
        for at, text in found.spec.prompt.templates():
            if (index, at) not in expected:
                fresh = Templates(replace(found.spec, vars=copy.deepcopy(VARS)), dict(found.texts))
                render = fresh.make_renderer(at, text)
                expected[index, at] = rendered(render, fresh.variables(copy.deepcopy(rows[index])))
            row = copy.deepcopy(rows[index])
            assert rendered(shared[at], found.variables(row)) == expected[index, at], (at, user, row)
            assert row == rows[index], "a template changed its row"
    assert found.spec.vars == VARS, "a template changed a variable"
    return 2 * len(order)


def rendered(render: Any, names: Mapping[str, Any]) -> str:
    """The text of a row, or the error that it gives."""
    try:
        return str(render(names))
    except InputError as error:
        return f"error: {error}"


def prove(root: Path, count: int) -> int:
    """Check so many random sequences; return how many texts were compared."""
    compared = 0

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(sequences)
    def run(one: Any) -> None:
        nonlocal compared
        (user, files), rows, order = one
        compared += check(root, user, files, rows, order)

    run()
    return compared


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
        texts = prove(Path(folder), wanted)
        print(f"{wanted:,} sequences, {texts:,} texts compared, no difference")
