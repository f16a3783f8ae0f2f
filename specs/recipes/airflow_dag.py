"""Run a spec in Airflow 3.2 or newer: start it, ask until it is finished, hand on its outputs.

The runner has an environment of its own, so that its packages need not fit those of Airflow. Its key is in
`.env` of the project, or in the environment of the workers. All workers must see the project folder, because the
state is there.
"""

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

RUNNER = os.environ.get("RUNNER", "/opt/runner/bin/runner")
PROJECT = Path(os.environ.get("RUNNER_PROJECT", "/srv/classify"))
SPEC = "classify.yaml"

FINISHED = {0, 3}  # 3: some rows failed. Without it, they fail the task
AGAIN = {4, 6}  # batches have not ended, or another runner uses the state


def go_on() -> bool:
    """Do what can be done now; return whether the run is finished."""
    command = [RUNNER, "run", SPEC, "--yes", "--no-wait", "-q"]
    code = subprocess.run(command, cwd=PROJECT, check=False).returncode
    if code in FINISHED | AGAIN:
        return code in FINISHED
    if code in {2, 5, 7, 8, 9}:
        raise AirflowFailException(f"exit code {code}: a person must look at it")
    raise RuntimeError(f"exit code {code}")


@dag(schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False, max_active_runs=1)
def classify():
    """Start the run, wait for it without holding a worker, and return its outputs."""

    @task(retries=3, retry_delay=timedelta(minutes=5))
    def start() -> None:
        go_on()

    @task.sensor(mode="reschedule", poke_interval=600, timeout=timedelta(hours=30).total_seconds(), retries=3)
    def wait_until_finished() -> bool:
        return go_on()

    @task
    def outputs() -> dict[str, int]:
        """Return the path of each output, and its number of rows."""
        command = [RUNNER, "status", SPEC, "--json"]
        shown = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE).stdout
        return {str(PROJECT / sink["path"]): sink["rows"] for sink in json.loads(shown)["sinks"]}

    start() >> wait_until_finished() >> outputs()


classify()
