"""Two and four runners that start at once, each on a machine of its own, with one spec or with several."""

from collections.abc import Mapping
from pathlib import Path

from tests.proofs.ephemeral.machines import WAIT, as_project, make_machine
from tests.support.processes import end, start
from tests.support.projects import BATCHES, ROWS, write_job
from tests.support.simulator import accepted, paid, simulator

_NAMES = ("first", "second", "third", "fourth")
CASES = [
    (runners, specs, wait) for runners in (2, 4) for specs in ("one", "one each", "all") for wait in ((), WAIT)
]
"""The number of runners; if they run one spec, one each, or all of them, each in another order; how they wait."""


def _write_specs(machine: Path, count: int) -> None:
    for name in _NAMES[:count]:
        sinks = [{"type": "jsonl", "path": f"out/{name}.jsonl"}]
        # Of its own, since an answer to the same request would be reused.
        prompt = {"user": f"{name}: {{{{ text }}}}"}
        write_job(machine, name=name, sinks=sinks, prompt=prompt).rename(machine / f"{name}.yaml")


def _choose_specs(specs: str, number: int, runners: int) -> list[str]:
    names = [f"{name}.yaml" for name in _NAMES[:runners]]
    return {"one": names[:1], "one each": [names[number]], "all": names[number:] + names[:number]}[specs]


def try_case(root: Path, runners: int, specs: str, wait: tuple[str, ...], shared: Mapping[str, str]) -> list[int]:
    """Start so many runners at once; return their exit codes, once every row of each spec was paid once."""
    with simulator(root / "api", seconds=0.5) as found:
        environ, processes = {**found, **as_project(shared)}, []
        for number in range(runners):
            machine = make_machine(root, number)
            _write_specs(machine, runners)
            words = ("run", *_choose_specs(specs, number, runners), "--yes", *wait)
            processes.append((machine, start(machine, environ, *words)))
        ended = [end(machine, process) for machine, process in processes]
    codes = [one.returncode for one in ended]
    assert set(codes) <= {0} if wait or specs == "one each" else set(codes) <= {0, 6}, [
        one.stderr for one in ended
    ]
    jobs = 1 if specs == "one" else runners
    bill, batches = paid(root / "api"), accepted(root / "api")
    # Without waiting, each of several runners may be refused a spec that another one holds.
    if 0 in codes or wait:
        assert bill == {("1", row): jobs for row in range(1, ROWS + 1)}, codes
        assert batches == jobs * BATCHES
    assert max(bill.values(), default=0) <= jobs
    return codes
