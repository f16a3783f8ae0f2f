"""The column types of a sink that lists no columns."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner import Summary
from tests.support.projects import write_job


@pytest.mark.parametrize("type", ["parquet", "sql", "xlsx"])
def test_typed_sink_without_columns_takes_source_columns(
    tmp_path: Path, run_job: Callable[..., Summary], type: str
) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "n": [1, None]}), tmp_path / "in.parquet")
    sink = {"type": type, "path": "out/o", **({"table": "t"} if type == "sql" else {})}
    source = {"type": "parquet", "path": "in.parquet", "key": "id"}
    write_job(tmp_path, source=source, prompt={"user": "{{ id }}"}, sinks=[sink])
    assert run_job().exit_code == 0
    if type == "parquet":
        assert pq.read_table(tmp_path / "out/o").column("row").to_pylist() == [
            {"id": "a", "n": 1}, {"id": "b", "n": None}
        ]  # fmt: skip
