"""Parts that tests of several folders share."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
DATA = TESTS / "data"
SHIPPED = sorted((ROOT / "specs").glob("*.yaml"))
