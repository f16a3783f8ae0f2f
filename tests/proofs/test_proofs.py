"""A part of the proof that a delivery to PostgreSQL may be killed; `tests.proofs.postgres` does it all."""

import random
from pathlib import Path

import pytest

from tests.proofs import chain, kills, operations, postgres

pytestmark = [pytest.mark.slow, pytest.mark.server]


def test_killed_delivery_to_postgresql_resumes(tmp_path: Path) -> None:
    struck, _ = postgres.prove(tmp_path, 3_000, 2)
    assert struck == 2


@pytest.mark.parametrize("first", [1, 4, 7, 10])
def test_run_killed_before_any_operation_resumes(tmp_path: Path, first: int) -> None:
    assert operations.prove(tmp_path, range(first, 180, 12)) == len(range(first, 180, 12))


@pytest.mark.parametrize("first", [1, 7, 13])
def test_sync_run_killed_before_any_operation_resumes(tmp_path: Path, first: int) -> None:
    assert operations.prove(tmp_path, range(first, 120, 18), "sync") == len(range(first, 120, 18))


@pytest.mark.parametrize("seed", [1, 2])
def test_run_killed_at_random_under_faults_resumes(tmp_path: Path, seed: int) -> None:
    assert kills.job(tmp_path, 8, random.Random(seed)) > 0


def test_chain_killed_at_random_under_faults_resumes(tmp_path: Path) -> None:
    assert chain.job(tmp_path, 8, random.Random(1)) > 0
