"""Parts of the proofs, which are commands of their own."""

import ast
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proofs import chain, double_pay, endpoints, kills, mutations, postgres
from tests.proofs.ephemeral import kills as vanishing
from tests.proofs.ephemeral import suspended, together
from tests.proofs.ephemeral.machines import WAIT, shared_services
from tests.proofs.operations.proof import Proof, prove
from tests.proofs.power_loss import TracedRun, find_harm, list_losses, name_sync, trace_run

pytestmark = pytest.mark.slow


@pytest.mark.server
def test_killed_delivery_to_postgresql_resumes(tmp_path: Path) -> None:
    struck, _ = postgres.prove(tmp_path, 3_000, 2)
    assert struck == 2


@pytest.fixture(scope="module")
def shared() -> Iterator[dict[str, str]]:
    with shared_services() as found:
        yield found


@pytest.mark.server
@pytest.mark.parametrize("kind", ["retry round", "warm-up", "sync"])
def test_run_goes_on_after_its_machines_vanish(tmp_path: Path, shared: dict[str, str], kind: str) -> None:
    assert vanishing.job(tmp_path, kind, 2, random.Random(1), shared)["kills"] > 0


@pytest.mark.server
@pytest.mark.parametrize("number", range(4))
def test_suspended_runner_creates_nothing_twice(tmp_path: Path, shared: dict[str, str], number: int) -> None:
    assert suspended.try_case(tmp_path, number, shared)


@pytest.mark.server
def test_runners_with_the_same_specs_take_turns(tmp_path: Path, shared: dict[str, str]) -> None:
    assert together.try_case(tmp_path, 2, "all", WAIT, shared) == [0, 0]


@pytest.mark.parametrize("first", [1, 4, 7, 10])
def test_run_killed_before_any_operation_resumes(tmp_path: Path, first: int) -> None:
    assert prove(Proof(), tmp_path, range(first, 180, 20)).total() == len(range(first, 180, 20))


@pytest.mark.parametrize("first", [1, 7, 13])
def test_sync_run_killed_before_any_operation_resumes(tmp_path: Path, first: int) -> None:
    assert prove(Proof("sync"), tmp_path, range(first, 120, 24)).total() == len(range(first, 120, 24))


@pytest.mark.server
@pytest.mark.parametrize("after", [None, 318])
def test_shared_run_killed_before_any_operation_resumes(
    tmp_path: Path, shared: dict[str, str], after: int | None
) -> None:
    numbers = range(90, 600 if after is None else 300, 170)
    assert prove(Proof("batch", shared, after), tmp_path, numbers, workers=2).total() == len(numbers)


@pytest.mark.parametrize("seed", [1, 2])
def test_run_killed_at_random_under_faults_resumes(tmp_path: Path, seed: int) -> None:
    assert kills.job(tmp_path, 8, random.Random(seed)) > 0


def test_chain_killed_at_random_under_faults_resumes(tmp_path: Path) -> None:
    assert chain.job(tmp_path, 8, random.Random(1)) > 0


def test_mutants_are_programs_with_one_small_change() -> None:
    source = "def charge(a, b):\n    if a < b and (not b):\n        refuse(1)\n    return a + b\n"
    mutants = dict(mutations.find_mutants(source))
    assert {about.partition(": ")[2] for about in mutants} == {
        "a < b and (not b) → a < b or not b",
        "a < b → a <= b",
        "not b → b",
        "refuse(1) → pass",
        "1 → 2",
        "return a + b → return None",
        "a + b → a - b",
    }
    assert len({ast.dump(ast.parse(mutated)) for mutated in (*mutants.values(), source)}) == 8


@pytest.mark.parametrize("fault", double_pay.FAULTS)
def test_fault_of_a_create_or_download_is_paid_once(tmp_path: Path, fault: str) -> None:
    ended = double_pay.try_case(tmp_path, fault, "middle", 0.0)
    assert (ended.paid, ended.is_finished, ended.is_asked) == (1.0, True, False)


def test_misbehaviour_at_every_stage_is_survived(tmp_path: Path) -> None:
    assert endpoints.prove(tmp_path, endpoints.short_table(), workers=4) == {}


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TracedRun]:
    with pytest.MonkeyPatch.context() as environ:
        # `find_harm` sets them.
        environ.setenv("ANTHROPIC_BASE_URL", "")
        environ.setenv("ANTHROPIC_API_KEY", "")
        yield trace_run(tmp_path_factory.mktemp("traced").resolve())


@needs_strace
def test_power_loss_pays_nothing_twice(traced: TracedRun) -> None:
    after_create = [loss for loss in list_losses(traced) if loss.created]
    chosen = [*after_create[::8], after_create[-1]]
    assert {loss: harm for loss in chosen if (harm := find_harm(traced, loss)) is not None} == {}


@needs_strace
@pytest.mark.parametrize("name", ["", ".runner/state.db-wal", ".runner/runs/RUN/bodies"])
def test_power_loss_without_a_sync_goes_wrong(traced: TracedRun, name: str) -> None:
    losses = list_losses(traced, lambda call: name_sync(call, traced.root) == name)
    assert any(find_harm(traced, loss) is not None for loss in losses if loss.created)
