"""A part of the proof that a delivery to PostgreSQL may be killed; `tests.proofs.postgres` does it all."""

from pathlib import Path

from tests.proofs import postgres


def test_killed_delivery_to_postgresql_resumes(tmp_path: Path) -> None:
    struck, _ = postgres.prove(tmp_path, 3_000, 2)
    assert struck == 2
