"""The clock of deadlines counts the time for which the machine is suspended."""

import subprocess
import sys

import pytest

READ_CLOCKS = """
import time
from runner.api.clock import read_boot_clock
print(read_boot_clock() - time.monotonic())
"""


def read_difference(*prefix: str) -> float:
    """The seconds by which the clock of deadlines is ahead of the one that stops in suspension."""
    words = [*prefix, sys.executable, "-c", READ_CLOCKS]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip(f"this machine has no time namespaces: {ended.stderr}")
    return float(ended.stdout)


def test_clock_of_deadlines_counts_suspended_time() -> None:
    # To a process in this time namespace, the machine seems to have been suspended for a day.
    suspended = ("unshare", "--user", "--map-root-user", "--time", "--boottime", "86400", "--monotonic", "0")
    assert read_difference(*suspended) - read_difference() == pytest.approx(86_400, abs=60)
