"""Parts that tests of several folders share."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
DATA = TESTS / "data"
SHIPPED = sorted((ROOT / "specs").glob("*.yaml"))
JUDGE = ROOT / "specs" / "judge.yaml"
FIRST_JOBS = [path for path in SHIPPED if path != JUDGE]
"""The shipped jobs that do not read the outputs of another one."""
