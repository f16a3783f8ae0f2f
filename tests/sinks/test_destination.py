"""The places of outputs: simulated folders, compressed files, and URLs."""

import bz2
import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from runner import load_spec, run
from runner.sinks.check import check_destination, check_sinks
from runner.sinks.destination import Destination, resolve_destination
from runner.sinks.open import open_sink
from tests.support.projects import write_job
from tests.support.servers import rows_of
from tests.support.sinks import outcome_record, spec_with, write_sink


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ("out/a", ".", "out/a"),
        ("out/a", "simulated", "simulated/out/a"),
        ("/tmp/a", ".", "/tmp/a"),  # noqa: S108 - nothing is written there
        ("/tmp/a", "simulated", "simulated/tmp/a"),  # noqa: S108
        ("s3://bucket/../a/b?.csv", "simulated", "simulated/s3/bucket/a/b_.csv"),
    ],
)
def test_a_simulated_run_writes_below_its_own_folder(tmp_path: Path, path: str, base: str, expected: str) -> None:
    (sink,) = spec_with(tmp_path, {"path": path}).sinks
    assert resolve_destination(sink, root=tmp_path, base=tmp_path / base).path == tmp_path / expected


@pytest.mark.parametrize(("suffix", "unpack"), [("bz2", bz2.decompress), ("xz", lzma.decompress)])
def test_an_output_is_compressed_by_its_suffix(tmp_path: Path, suffix: str, unpack: Any) -> None:
    spec = spec_with(tmp_path, {"columns": {"k": "key"}})
    write_sink(spec, Destination(tmp_path / f"o.jsonl.{suffix}"), outcome_record())
    assert unpack((tmp_path / f"o.jsonl.{suffix}").read_bytes()) == b'{"k":"k1"}\n'


@pytest.mark.parametrize("type", ["jsonl", "csv", "parquet", "xlsx"])
def test_output_at_a_url_appears_whole_or_not_at_all(tmp_path: Path, type: str) -> None:
    spec, store = spec_with(tmp_path, {"type": type, "path": "memory:///out/o", "columns": {"k": "key"}}), "/out/o"
    memory = fsspec.filesystem("memory")
    at = resolve_destination(spec.sinks[0], root=tmp_path, base=tmp_path)
    with pytest.raises(KeyboardInterrupt), open_sink(spec, 0, at, {}) as take:
        take(outcome_record(key=1))
        raise KeyboardInterrupt
    assert not memory.exists(store)
    write_sink(spec, at, outcome_record(key=1))
    write_sink(spec, Destination(tmp_path / "same"), outcome_record(key=1))
    assert memory.cat(store) == (tmp_path / "same").read_bytes()
    memory.rm(store)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://example.com/o.jsonl", "cannot write outputs to a web server"),
        ("s3://bucket/o.jsonl", "Install s3fs to access S3"),
        ("nosuch://bucket/o.jsonl", "Protocol not known: nosuch"),
        ("memory://", "is not a file"),
        ("memory:///out/", "is not a file"),
    ],
)
def test_unwritable_url_is_reported_before_sending(tmp_path: Path, url: str, words: str) -> None:
    problem = check_destination(spec_with(tmp_path, {"path": url}), 0, Destination(url=url))
    assert problem is not None and words in problem.message


def test_a_simulated_run_leaves_buckets_and_databases_alone(tmp_path: Path) -> None:
    sinks = [
        {"type": "sql", "table": "t", "url": "postgresql://me:secret@127.0.0.1:9/x"},
        {"type": "csv", "path": "s3://bucket/o.csv"},
    ]
    write_job(tmp_path, sinks=sinks)
    assert run(load_spec(tmp_path / "job.yaml"), simulate=True).exit_code == 0
    table = tmp_path / "simulated/postgresql/me_127.0.0.1_9/x.db"
    assert len(rows_of(f"sqlite:///{table}")) == 20
    assert len((tmp_path / "simulated/s3/bucket/o.csv").read_text().splitlines()) == 21


@pytest.mark.parametrize("type", ["parquet", "xlsx"])
def test_parquet_and_xlsx_reject_a_compression_suffix(tmp_path: Path, type: str) -> None:
    [problem] = check_sinks(spec_with(tmp_path, {"type": type, "path": "out/o.gz"}))
    assert problem.message == f"out/o.gz would be compressed twice ({type} files already are): remove the suffix"


@pytest.mark.parametrize("path", ["/tmp/../../../escaped", "a/../../escaped"])  # noqa: S108 - nothing is written
def test_simulated_run_cannot_leave_its_folder(tmp_path: Path, path: str) -> None:
    [sink] = spec_with(tmp_path, {"path": "x"}).sinks
    moved = resolve_destination(replace(sink, options={"path": path}), root=tmp_path, base=tmp_path / "simulated")
    assert moved.path is not None and moved.path.resolve().is_relative_to(tmp_path / "simulated")
