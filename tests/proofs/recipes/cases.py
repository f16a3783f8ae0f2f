"""One case for each tool: it takes the environments of the tool and the runner, and says what it proved."""

import csv
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.proofs.recipes.environments import Environment, run
from tests.support import ROOT
from tests.support.servers import postgres, psql_variables, query_server
from tests.support.simulator import end_batches, paid, simulator

RECIPES = ROOT / "specs" / "recipes"
ROWS = 10


def write_project(runner: Environment, folder: Path) -> Path:
    """The job of `runner init`, which sends in batches and looks at them often; return its spec."""
    run([runner.program("runner"), "init"], cwd=folder)
    spec = folder / "classify.yaml"
    text = spec.read_text("utf-8")
    spec.write_text(text.replace("mode: auto", "batch: {poll_seconds: 0.5}\nmode: batch"), "utf-8")
    return spec


def count_outputs(folder: Path) -> str:
    """Say how many rows were written; assert that each was paid once."""
    with (folder / "out" / "classify.csv").open() as file:
        rows = len(list(csv.DictReader(file)))
    bill = paid(folder / "api")
    assert (rows, len(bill), set(bill.values())) == (ROWS, ROWS, {1})
    return f"{rows} rows, each paid once"


def run_airflow(tool: Environment, runner: Environment, folder: Path) -> str:
    """Run the DAG with `airflow dags test`; its sensor asks every five seconds instead of every ten minutes."""
    write_project(runner, folder)
    dag = (RECIPES / "airflow_dag.py").read_text("utf-8")
    assert "poke_interval=600" in dag
    (folder / "airflow" / "dags").mkdir(parents=True)
    (folder / "airflow" / "dags" / "dag.py").write_text(
        dag.replace("poke_interval=600", "poke_interval=5"), "utf-8"
    )
    with simulator(folder / "api", seconds=15) as environ:
        own = {
            **environ,
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "RUNNER": runner.program("runner"),
            "RUNNER_PROJECT": str(folder),
        }
        run([tool.program("airflow"), "db", "migrate"], cwd=folder, environ=own)
        log = run([tool.program("airflow"), "dags", "test", "classify", "2026-11-28"], cwd=folder, environ=own)
    assert "successful" in log and f"{folder}/out/classify.csv': {ROWS}" in log
    asked = log.count("marking task as UP_FOR_RESCHEDULE")
    assert asked
    return f"{count_outputs(folder)}; the sensor was rescheduled {asked} times"


def run_interrupted(words: list[str], folder: Path, environ: Mapping[str, str]) -> None:
    """Start a command, and kill it with all its processes once a batch is submitted."""
    own = {name: value for name, value in environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        words, cwd=folder, env=own, stdout=-1, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout is not None
    log = ""
    for line in process.stdout:
        log += line
        if "submitted as msgbatch_" in line:
            break
    else:
        raise AssertionError(f"it sent nothing:\n{log}")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def run_resumed(words: list[str], folder: Path, environ: Mapping[str, str]) -> str:
    """Kill a command while its batch is under way, and repeat it; return what that prints."""
    with simulator(folder / "api", seconds=600) as served:
        run_interrupted(words, folder, {**served, **environ})
    end_batches(folder / "api")
    with simulator(folder / "api") as served:
        return run(words, cwd=folder, environ={**served, **environ})


def run_dagster(tool: Environment, runner: Environment, folder: Path) -> str:
    """Materialize the asset, after a materialization that was killed."""
    spec = write_project(runner, folder)
    (folder / "dagster").mkdir()
    shutil.copy(RECIPES / "dagster_asset.py", folder)
    words = [tool.program("dagster"), "asset", "materialize", "-f", "dagster_asset.py", "--select", "labels"]
    log = run_resumed(words, folder, {"RUNNER_SPEC": str(spec), "DAGSTER_HOME": str(folder / "dagster")})
    assert "RUN_SUCCESS" in log and "Asset check 'rows_succeeded' on 'labels' passed" in log
    return f"{count_outputs(folder)}, after a kill; the asset check passed"


def run_prefect(tool: Environment, runner: Environment, folder: Path) -> str:
    """Run the flow with a server of its own, after a flow run that was killed."""
    spec = write_project(runner, folder)
    shutil.copy(RECIPES / "prefect_flow.py", folder)
    words = [tool.program("python"), "prefect_flow.py"]
    log = run_resumed(words, folder, {"RUNNER_SPEC": str(spec), "PREFECT_HOME": str(folder / "prefect")})
    assert "Finished in state Completed()" in log
    return f"{count_outputs(folder)}, after a kill"


def run_dbt(tool: Environment, runner: Environment, folder: Path) -> str:
    """Build the model, run the spec, build what reads its table, and build all again."""
    shutil.copytree(RECIPES / "dbt", folder, dirs_exist_ok=True)
    with postgres() as url, simulator(folder / "api") as served:
        environ = {**served, **psql_variables(url)}
        dbt = tool.program("dbt")
        before = run([dbt, "build", "--select", "+tickets_to_label"], cwd=folder, environ=environ)
        run([runner.program("runner"), "run", "labels.yaml", "--yes"], cwd=folder, environ=environ)
        after = run([dbt, "build", "--select", "source:runner+"], cwd=folder, environ=environ)
        run([dbt, "build"], cwd=folder, environ=environ)
        labelled = query_server(url, "SELECT count(label), count(*) FROM analytics.tickets_labelled")[0]
    assert tuple(labelled) == (3, 4) and "PASS=2" in before and "PASS=4" in after
    return "3 of 4 tickets labelled; 2 nodes built before, 4 after, 6 again"


def run_pre_commit(tool: Environment, runner: Environment, folder: Path) -> str:
    """Try the hook of this repository on a good and on a bad spec."""
    (folder / "specs").mkdir()
    write_project(runner, folder).rename(folder / "specs" / "classify.yaml")
    (folder / "specs" / "data").mkdir()
    (folder / "specs" / "data" / "no_spec.yaml").write_text("a: 1\n")
    run(["git", "init", "-q"], cwd=folder)
    words = [tool.program("pre-commit"), "try-repo", str(ROOT), "runner-validate", "--all-files", "--verbose"]
    environ = {**os.environ, "PRE_COMMIT_HOME": str(folder / "cache")}
    run(["git", "add", "."], cwd=folder)
    good = run(words, cwd=folder, environ=environ)
    spec = folder / "specs" / "classify.yaml"
    spec.write_text(spec.read_text("utf-8").replace("name:", "nmae:", 1), "utf-8")
    run(["git", "add", "."], cwd=folder)
    bad = run(words, cwd=folder, environ=environ, codes=(1,))
    assert "specs/classify.yaml: valid" in good and "exit code: 2" in bad and "did you mean 'name'" in bad
    return "passes for a good spec, fails for a bad one"
