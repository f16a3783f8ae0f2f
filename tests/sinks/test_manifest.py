"""The manifest of a run: equal inputs mean equal requests, and it says what came of them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import InputError, Summary, load_spec
from tests.support.projects import SPEC, write_job

RunJob = Callable[..., Summary]
MANIFEST = "out/manifest.json"


def manifest(root: Path, name: str = MANIFEST) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / name).read_text())
    return found


def requests(root: Path, run: str) -> dict[str, Any]:
    """The params of each row that a run has sent."""
    bodies = sorted((root / ".runner/runs" / run / "bodies").glob("*.json"))
    sent = [one for body in bodies for one in json.loads(body.read_bytes())["requests"]]
    return {one["custom_id"].rpartition("-")[2]: one["params"] for one in sent}


def inputs_and_requests(root: Path, run_job: RunJob, **changes: Any) -> tuple[Any, Any]:
    """The inputs in the manifest of a new run of the job with these changes, and its requests."""
    path = write_job(root, manifest=MANIFEST, reuse=False, **changes)
    summary = run_job(spec=path, new=True)
    return manifest(root)["inputs"], requests(root, summary.run)


def test_equal_inputs_mean_equal_requests(tmp_path: Path, run_job: RunJob) -> None:
    first = inputs_and_requests(tmp_path, run_job)
    again = inputs_and_requests(tmp_path, run_job, tags=["other"], batch={**SPEC["batch"], "max_requests": 5})
    assert len(first[1]) == 20
    assert again == first


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": {**SPEC["prompt"], "system": "Another one."}},
        {"params": {**SPEC["params"], "max_tokens": 99}},
        {"params": {**SPEC["params"], "model": "claude-haiku-4-5"}},
        {"rows": 19},
        {"source": {**SPEC["source"], "limit": 3}},
    ],
)
def test_other_requests_mean_other_inputs(tmp_path: Path, run_job: RunJob, changes: dict[str, Any]) -> None:
    first = inputs_and_requests(tmp_path, run_job)
    other = inputs_and_requests(tmp_path, run_job, **changes)
    assert other[1] != first[1]
    assert other[0] != first[0]


def test_edited_prompt_file_means_other_inputs(tmp_path: Path, run_job: RunJob) -> None:
    write_job(tmp_path)
    found = []
    for text in ("One {{ text }}", "Two {{ text }}", "Two {{ text }}"):
        (tmp_path / "prompts/user.j2").write_text(text)
        found.append(inputs_and_requests(tmp_path, run_job, prompt={"user": "user.j2"}))
    assert found[0][0]["prompts"] != found[1][0]["prompts"]
    assert found[1] == found[2]


def test_edited_attachment_means_other_inputs(tmp_path: Path, run_job: RunJob) -> None:
    write_job(tmp_path)
    prompt = {"user": [{"type": "document", "path": "note.txt"}, {"type": "text", "text": "{{ text }}"}]}
    found = []
    for text in ("one", "two"):
        (tmp_path / "note.txt").write_text(text)
        found.append(inputs_and_requests(tmp_path, run_job, prompt=prompt)[0])
    assert found[0]["attached"] != found[1]["attached"]
    assert {**found[0], "attached": None} == {**found[1], "attached": None}


def test_manifest_says_what_came_of_a_run(tmp_path: Path, run_job: RunJob) -> None:
    path = write_job(tmp_path, manifest=MANIFEST)
    summary, found = run_job(spec=path), manifest(tmp_path)
    assert (found["run"], found["rows"], found["outcomes"]) == (summary.run, 20, {"succeeded": 20})
    assert (found["cost"], found["is_simulated"]) == (summary.cost, False)
    assert found["spec"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    digests = [hashlib.sha256(Path(one["path"]).read_bytes()).hexdigest() for one in found["sinks"]]
    assert [one["sha256"] for one in found["sinks"]] == digests
    assert found["inputs"]["model"] == "claude-haiku-5-5"
    assert found["inputs"]["source"] == {
        "rows.csv": hashlib.sha256((tmp_path / "rows.csv").read_bytes()).hexdigest()
    }


def test_partial_run_leaves_the_manifest_of_a_complete_one(tmp_path: Path, run_job: RunJob) -> None:
    path = write_job(tmp_path, manifest=MANIFEST)
    whole = run_job(spec=path)
    part = run_job(spec=path, limit=3, new=True)
    assert manifest(tmp_path)["run"] == whole.run
    assert manifest(tmp_path, "out/manifest.partial.json")["run"] == part.run


def test_manifest_of_an_unchanged_run_stays(tmp_path: Path, run_job: RunJob) -> None:
    path = write_job(tmp_path, manifest=MANIFEST)
    run_job(spec=path)
    before = (tmp_path / MANIFEST).stat().st_mtime_ns
    run_job(spec=path)
    assert (tmp_path / MANIFEST).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("s3://bucket/m.json", "a file on this machine"),
        ("out/all.jsonl", "also the path of a sink"),
        ("../m.json", "outside the project folder"),
    ],
)
def test_place_of_a_manifest_is_checked(tmp_path: Path, written: str, message: str) -> None:
    path = write_job(tmp_path, manifest=written)
    with pytest.raises(InputError, match=message):
        load_spec(path)


def test_unwritable_manifest_is_found_before_anything_is_sent(tmp_path: Path, run_job: RunJob) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / MANIFEST).mkdir()
    path = write_job(tmp_path, manifest=MANIFEST)
    with pytest.raises(InputError, match="is a folder, not a file"):
        run_job(spec=path)
    assert not list((tmp_path / "api").glob("msgbatch_*"))
