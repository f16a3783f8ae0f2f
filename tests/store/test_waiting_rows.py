"""Rows wait on disk for their partner, in the order in which they came."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from runner.store.temporary.waiting_rows import WaitingRows
from tests.support import ROOT

FILL = """
from runner.store.temporary.waiting_rows import WaitingRows
from tests.support.processes import no_room

no_room(1 << 20)
rows = WaitingRows()
for number in range(200):
    rows.put(str(number), bytes(200_000))
"""


@given(st.lists(st.text(), unique=True), st.sets(st.integers(0, 20)))
def test_rows_that_are_left_keep_their_order(keys: list[str], taken: set[int]) -> None:
    rows = WaitingRows()
    for key in keys:
        rows.put(key, f"row {key}".encode("utf-8", "surrogatepass"))
    for index, key in enumerate(keys):
        if index in taken:
            assert rows.pop(key) == f"row {key}".encode("utf-8", "surrogatepass")
            assert rows.pop(key) is None
    left = [f"row {key}".encode("utf-8", "surrogatepass") for index, key in enumerate(keys) if index not in taken]
    assert list(rows) == left
    rows.close()


def test_full_disk_is_an_error_with_a_remedy() -> None:
    ended = subprocess.run([sys.executable, "-c", FILL], cwd=ROOT, capture_output=True, text=True, check=False)
    last = ended.stderr.splitlines()[-1]
    assert "StateError: a temporary file cannot hold the rows" in last
    assert last.endswith("set SQLITE_TMPDIR to a folder with more room")
