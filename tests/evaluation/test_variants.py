"""Variants of a spec run in one command, share a cap, and are compared on the same rows."""

import json
import random
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runner.evaluation.metrics import mcnemar_p
from tests.support.outputs import records
from tests.support.processes import RUN, command
from tests.support.projects import SPEC, write_job
from tests.support.servers import webhook
from tests.support.simulator import accepted, end_batches, environ_without_key, paid, simulator

KEYS = environ_without_key()
VARIANTS = {
    "small": {"params.model": "claude-haiku-5-5"},
    "large": {"params.model": "claude-opus-5-5", "prompt.user": "Carefully: {{ text }}"},
}
EVALUATE = [{"name": "label", "expected": "row.gold", "actual": "output.label"}]


def write_variants(root: Path, *, rows: int = 40, **changes: Any) -> Path:
    """Write a job of two variants, with a label in every second row."""
    path = write_job(root, **{"variants": VARIANTS, "evaluate": EVALUATE, **changes})
    draw = random.Random(1)
    gold = [draw.choice(["good", "bad"]) if number % 2 else "" for number in range(rows)]
    lines = [f"r{number},text number {number},{label}\n" for number, label in enumerate(gold)]
    (root / "rows.csv").write_text("id,text,gold\n" + "".join(lines))
    return path


def compare(root: Path, *words: str) -> dict[str, Any]:
    """Run a command that ends with a comparison, and return that."""
    lines = command(root, KEYS, *words, "--json").stdout.splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def by_key(path: Path) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in records(path)}


@pytest.mark.parametrize("seed", range(20))
def test_mcnemar_equals_the_exact_test_of_scipy(seed: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    draw = random.Random(seed)
    first, second = draw.randint(0, 200), draw.randint(1, 200)
    expected = stats.binomtest(min(first, second), first + second, 0.5).pvalue
    assert mcnemar_p(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_without_differences_is_one() -> None:
    assert (mcnemar_p(0, 0), mcnemar_p(7, 7)) == (1.0, 1.0)


def test_both_variants_are_sent_before_one_is_waited_for(tmp_path: Path) -> None:
    write_variants(tmp_path, batch={**SPEC["batch"], "max_requests": 40})
    with simulator(tmp_path / "api", seconds=600) as environ:
        ended = command(tmp_path, environ, *RUN, "--no-wait")
        assert (ended.returncode, accepted(tmp_path / "api")) == (4, 2)
        table = ended.stderr.partition("plan of 2 variants\n")[2].splitlines()
        assert [line.split()[0] for line in table[:4]] == ["spec", "job@small", "job@large", "total"]
        assert ended.stderr.endswith("resume with: runner run job.yaml --yes\n")
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert sum(paid(tmp_path / "api").values()) == 80
    assert {one["variant"] for one in records(tmp_path / "out/all.large.jsonl")} == {"large"}


def test_comparison_counts_the_rows_that_differ(tmp_path: Path) -> None:
    write_variants(tmp_path)
    found = compare(tmp_path, "run", "job.yaml", "--simulate")
    out = tmp_path / "simulated/out"
    small, large = by_key(out / "all.small.jsonl"), by_key(out / "all.large.jsonl")
    right = {
        name: {key for key, one in own.items() if one["row"]["gold"] == one["output"]["label"]}
        for name, own in (("small", small), ("large", large))
    }
    best = max(right, key=lambda name: (len(right[name]), name == "small"))
    other = "large" if best == "small" else "small"
    shown = {one["variant"]: one for one in found["variants"]}
    [contrast] = [one for one in shown[other]["contrasts"] if one["criterion"] == "label"]
    counts = len(right[best] - right[other]), len(right[other] - right[best])
    assert (contrast["best"], contrast["only_best"], contrast["only_own"]) == (best, *counts)
    assert contrast["p"] == pytest.approx(mcnemar_p(*counts), abs=1e-6)
    assert [one["evaluation"][0]["labelled"] for one in found["variants"]] == [20, 20]
    assert shown["small"]["cost_per_thousand"] < shown["large"]["cost_per_thousand"]


def test_evaluate_compares_variants_again(tmp_path: Path) -> None:
    write_variants(tmp_path)
    first = compare(tmp_path, "run", "job.yaml", "--simulate")
    assert compare(tmp_path, "evaluate", "job.yaml") == first
    shown = command(tmp_path, KEYS, "evaluate", "job").stdout
    assert "job: 2 variants on the same 40 rows (simulated)\n" in shown
    assert shown.rstrip().endswith("(20 labelled rows, McNemar's test at 5 %)")


def test_variants_share_the_cap(tmp_path: Path) -> None:
    plan = command(tmp_path, KEYS, "plan", str(write_variants(tmp_path)), "--simulate", "--json").stdout
    most = [json.loads(line)["cost"]["max"] for line in plan.splitlines()]
    write_variants(tmp_path, limits={"max_cost": round(max(most) * 1.1, 6)})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "job.yaml")
    assert (ended.returncode, sum(paid(tmp_path / "api").values())) == (0, 80)
    assert "with the other variants" in ended.stderr


def test_cap_stops_variants_together(tmp_path: Path) -> None:
    write_variants(tmp_path, limits={"max_cost": 0.004})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "job.yaml")
        assert ended.returncode == 7
        assert "all variants together have cost up to" in ended.stderr
        sent = sum(paid(tmp_path / "api").values())
        assert 0 < sent < 80
        write_variants(tmp_path, limits={"max_cost": 5})
        assert command(tmp_path, environ, "run", "job.yaml").returncode == 0
    assert sum(paid(tmp_path / "api").values()) == 80


def test_spec_of_the_chosen_variant_pays_nothing(tmp_path: Path) -> None:
    write_variants(tmp_path, params={name: value for name, value in SPEC["params"].items() if name != "model"})
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        chosen = {**SPEC["params"], "model": "claude-opus-5-5"}
        prompt = {**SPEC["prompt"], "user": "Carefully: {{ text }}"}
        write_variants(tmp_path, params=chosen, prompt=prompt, variants={"only": None})
        spec = json.loads((tmp_path / "job.yaml").read_text())
        del spec["variants"]
        (tmp_path / "job.yaml").write_text(json.dumps(spec))
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert sum(paid(tmp_path / "api").values()) == 80
    assert len(records(tmp_path / "out/all.jsonl")) == 40


def test_one_variant_is_selected_by_name(tmp_path: Path) -> None:
    write_variants(tmp_path)
    ended = command(tmp_path, KEYS, "run", "job.yaml", "--simulate", "--select", "variant:large")
    assert (ended.returncode, "job@large: 40 rows" in ended.stdout, "variants on" in ended.stdout) == (
        0,
        True,
        False,
    )
    wrong = command(tmp_path, KEYS, "run", "job.yaml", "--simulate", "--select", "variant:huge")
    assert "none of these specs has the variant 'huge': their variants are large, small" in wrong.stderr


def test_added_variant_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    write_variants(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        write_variants(tmp_path, variants={**VARIANTS, "third": {"prompt.user": "Third: {{ text }}"}})
        ended = command(tmp_path, environ, *RUN)
    assert (ended.returncode, sum(paid(tmp_path / "api").values())) == (0, 120)
    assert "job: 3 variants on the same 40 rows" in ended.stdout


def test_variant_without_run_is_left_out_of_evaluate(tmp_path: Path) -> None:
    write_variants(tmp_path, variants={**VARIANTS, "third": None})
    for name in ("small", "large"):
        command(tmp_path, KEYS, "run", "job.yaml", "--simulate", "--select", f"variant:{name}")
    found = compare(tmp_path, "evaluate", "job.yaml")
    assert found["left_out"] == {"third": "it has no run"}


def test_retry_of_variants_asks_for_one(tmp_path: Path) -> None:
    write_variants(tmp_path)
    assert command(tmp_path, KEYS, "run", "job.yaml", "--simulate").returncode == 0
    ended = command(tmp_path, KEYS, "retry", "job.yaml", "--simulate")
    assert (ended.returncode, "job.yaml has variants: name the run of one of them" in ended.stderr) == (2, True)


def test_status_shows_the_newest_run_of_each_variant(tmp_path: Path) -> None:
    write_variants(tmp_path)
    command(tmp_path, KEYS, "run", "job.yaml", "--simulate")
    command(tmp_path, KEYS, "run", "job.yaml", "--simulate", "--new")
    shown = [
        json.loads(line) for line in command(tmp_path, KEYS, "status", "job.yaml", "--json").stdout.splitlines()
    ]
    assert sorted(one["spec"] for one in shown) == ["job@large", "job@small"]
    assert all(first["run"] != second["run"] for first, second in pairwise(shown))


def test_pilot_sends_the_same_sample_of_each_variant(tmp_path: Path) -> None:
    write_variants(tmp_path)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "pilot", "job.yaml", "10", "--yes")
        assert (ended.returncode, sum(paid(tmp_path / "api").values())) == (0, 20)
        assert "pilots of job: 2 variants on the same 10 rows\n" in ended.stdout
        assert "job@large: 40 rows: about $" in ended.stdout
        assert ended.stdout.endswith(" run job.yaml\n")
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert sum(paid(tmp_path / "api").values()) == 80
    keys = [{one["key"] for one in records(tmp_path / f"out/all.{name}.pilot.jsonl")} for name in VARIANTS]
    assert keys[0] == keys[1]


def test_unfinished_run_of_a_removed_variant_is_not_forgotten(tmp_path: Path) -> None:
    write_variants(tmp_path)
    with simulator(tmp_path / "api", seconds=600) as environ:
        command(tmp_path, environ, *RUN, "--no-wait")
        sent = accepted(tmp_path / "api")
        for variants in ({"small": VARIANTS["small"]}, {}):
            write_variants(tmp_path, variants=variants)
            ended = command(tmp_path, environ, *RUN, "--no-wait")
            assert (ended.returncode, accepted(tmp_path / "api")) == (2, sent)
            assert "is unfinished, and job.yaml does not have job@" in ended.stderr
        assert command(tmp_path, environ, *RUN, "--no-wait", "--new").returncode == 4
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4


def test_unfinished_run_is_not_forgotten_when_variants_come(tmp_path: Path) -> None:
    write_variants(tmp_path, variants={})
    with simulator(tmp_path / "api", seconds=600) as environ:
        command(tmp_path, environ, *RUN, "--no-wait")
        write_variants(tmp_path)
        ended = command(tmp_path, environ, *RUN, "--no-wait")
    assert (ended.returncode, "is unfinished, and job.yaml does not have job any more" in ended.stderr) == (
        2,
        True,
    )


def test_cost_of_a_variant_does_not_depend_on_what_was_reused(tmp_path: Path) -> None:
    again = {"params.model": SPEC["params"]["model"]}
    same = {"first": None, "other": {"prompt.user": "Twice: {{ text }}"}, "second": again}
    write_variants(tmp_path, variants=same, mode="auto")
    found = compare(tmp_path, "run", "job.yaml", "--simulate")
    costs = {one["variant"]: one["cost_per_thousand"] for one in found["variants"]}
    assert costs["first"] == costs["second"] > 0


def test_variant_with_older_rows_is_left_out_with_a_reason(tmp_path: Path) -> None:
    write_variants(tmp_path, variants={**VARIANTS, "third": {"prompt.user": "Third: {{ text }}"}})
    assert command(tmp_path, KEYS, "run", "job.yaml", "--simulate").returncode == 0
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("new,another text,good\n")
    for name in ("large", "third"):
        command(tmp_path, KEYS, "run", "job.yaml", "--simulate", "--select", f"variant:{name}")
    found = compare(tmp_path, "evaluate", "job.yaml")
    assert [one["variant"] for one in found["variants"]] == ["large", "third"]
    assert found["left_out"]["small"].startswith("its rows are not those of ")
    write_variants(tmp_path)
    shown = command(tmp_path, KEYS, "evaluate", "job.yaml").stdout
    assert "job: the variants cannot be compared\n  small is left out: its rows are not those of large" in shown


def test_specs_that_were_not_begun_keep_the_exit_code(tmp_path: Path) -> None:
    source = {"type": "run", "spec": "job.yaml", "variant": "large", "key": "key"}
    own: dict[str, Any] = {
        "source": source,
        "prompt": {"user": "{{ output }}"},
        "variants": {"one": None, "two": {"params.max_tokens": 50}},
    }
    write_job(tmp_path, name="second", **own).rename(tmp_path / "second.yaml")
    write_variants(tmp_path)
    with simulator(tmp_path / "api", seconds=600) as environ:
        ended = command(tmp_path, environ, "run", "job.yaml", "second.yaml", "--yes", "--no-wait")
    assert (ended.returncode, "resume with: runner run job.yaml second.yaml" in ended.stderr) == (4, True)


def test_variants_cannot_read_standard_input(tmp_path: Path) -> None:
    write_variants(tmp_path, source={"type": "csv", "path": "-", "key": "id"})
    ended = command(tmp_path, KEYS, "validate", "job.yaml")
    assert (ended.returncode, "standard input can be read only once" in ended.stderr) == (2, True)


def test_real_runs_are_not_compared_by_simulated_ones(tmp_path: Path) -> None:
    write_variants(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        assert command(tmp_path, environ, "run", "job.yaml", "--simulate").returncode == 0
        again = command(tmp_path, environ, *RUN)
    assert "job: 2 variants on the same 40 rows\n" in again.stdout


def test_plan_says_that_pilots_of_variants_are_sent_first(tmp_path: Path) -> None:
    write_variants(tmp_path, pilot=5, limits={"max_cost": 1})
    with simulator(tmp_path / "api") as environ:
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
        assert "  job@large: a sample of 5 rows is sent first" in planned
        ended = command(tmp_path, environ, "run", "job.yaml")
    assert "all rows are planned after that, if its pilot is good enough" in ended.stderr
    assert (ended.returncode, "its changes" in ended.stderr) == (0, False)


def test_one_lost_variant_is_recovered_by_its_run(tmp_path: Path) -> None:
    write_variants(tmp_path)
    with simulator(tmp_path / "api") as environ:
        shown = command(tmp_path, environ, *RUN, "--json").stdout.splitlines()
        run = next(one["run"] for one in map(json.loads, shown) if one.get("spec") == "job@large")
        shutil.rmtree(tmp_path / ".runner")
        ended = command(tmp_path, environ, "recover", "job.yaml", "--run", run)
    assert (ended.returncode, f"run {run} was recovered" in ended.stderr) == (0, True)
    assert "no batch" not in ended.stderr


def test_lost_variants_are_recovered_together(tmp_path: Path) -> None:
    write_variants(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        before = [(tmp_path / f"out/all.{name}.jsonl").read_bytes() for name in VARIANTS]
        shutil.rmtree(tmp_path / ".runner")
        shutil.rmtree(tmp_path / "out")
        ended = command(tmp_path, environ, "recover", "job.yaml")
        assert (ended.returncode, ended.stderr.count(" was recovered")) == (0, 2)
        assert "2 variants on the same 40 rows" in ended.stdout
        assert [(tmp_path / f"out/all.{name}.jsonl").read_bytes() for name in VARIANTS] == before
        again = command(tmp_path, environ, "recover", "job.yaml")
        assert (again.returncode, "is not lost: `runner run job.yaml`" in again.stderr) == (2, True)
    assert sum(paid(tmp_path / "api").values()) == 80


def test_variants_that_are_still_lost_are_named(tmp_path: Path) -> None:
    write_variants(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN, "--select", "variant:small").returncode == 0
    with simulator(tmp_path / "api", seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--select", "variant:large", "--no-wait").returncode == 4
        shutil.rmtree(tmp_path / ".runner")
        stopped = command(tmp_path, environ, "recover", "job.yaml")
    assert (stopped.returncode, "not recovered yet: job@large. Recover again" in stopped.stderr) == (4, True)
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "recover", "job.yaml")
        assert (ended.returncode, "is not lost: `runner run job.yaml` goes on" in ended.stderr) == (0, True)
        assert command(tmp_path, environ, "run", "job.yaml").returncode == 0
    assert sum(paid(tmp_path / "api").values()) == 80


def test_each_variant_writes_its_own_report_and_manifest(tmp_path: Path) -> None:
    write_variants(tmp_path, report="out/report.html", manifest="out/manifest.json")
    assert command(tmp_path, KEYS, "run", "job.yaml", "--simulate").returncode == 0
    out = tmp_path / "simulated/out"
    for name, model in (("small", "claude-haiku-5-5"), ("large", "claude-opus-5-5")):
        page = (out / f"report.{name}.html").read_text()
        assert f"job@{name}: report of run" in page and model in page
        # The first one to finish is written again, to compare it with the last.
        assert 'id="variants"' in page
        manifest = json.loads((out / f"manifest.{name}.json").read_text())
        assert manifest["spec"]["name"] == f"job@{name}" and manifest["run"] in page
    assert not (out / "report.html").exists() and not (out / "manifest.json").exists()


def test_receivers_are_told_once_of_each_variant(tmp_path: Path) -> None:
    write_variants(tmp_path, notify=[{"on": ["finished"], "url": "${env:HOOK}"}])
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        assert command(tmp_path, {**environ, "HOOK": hook.url}, *RUN).returncode == 0
        assert command(tmp_path, {**environ, "HOOK": hook.url}, *RUN).returncode == 0
    assert sorted(json.loads(one.body)["data"]["spec"] for one in hook.got) == ["job@large", "job@small"]
    assert len(set(hook.ids())) == 2
