"""Mistakes that are found before anything is sent."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import InputError
from tests.support.projects import write_job
from tests.support.simulator import accepted


def test_unwritable_sink_is_found_before_sending(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for path, why in (("folder", "is a folder"), ("file/x.jsonl", "is not a writable folder: move that file")):
        write_job(tmp_path, sinks=[{"type": "jsonl", "path": path}])
        with pytest.raises(InputError, match=why):
            run_job()
    assert accepted(tmp_path / "api") == 0


def test_all_kinds_of_mistakes_are_reported_at_once(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(
        tmp_path,
        prompt={"user": "{{ nope }}", "system": "no.j2"},
        output={"schema": {"$ref": "#/nowhere"}},
        sinks=[{"type": "jsonl", "path": "x.jsonl", "columns": {"a": "foo.b"}}],
        source={"type": "csv", "path": "rows.csv", "key": "nokey"},
    )
    with pytest.raises(InputError) as caught:
        run_job()
    assert [word in str(caught.value) for word in ("no.j2", "output.schema", "'foo'", "nokey")] == [True] * 4
