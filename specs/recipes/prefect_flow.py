"""A Prefect flow that runs a spec: `python prefect_flow.py`.

A process that ends while batches are under way loses nothing: the next flow run resumes the run.
"""

import os

from prefect import flow, get_run_logger, task

from runner import RunnerError, run

SPEC = os.environ.get("RUNNER_SPEC", "/srv/classify/classify.yaml")
AGAIN = {4, 6}  # the exit codes of errors that pass: the API cannot be reached, or another runner uses the state


def passes(_task, _run, state) -> bool:
    """Return whether an error goes away by itself."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, RunnerError) and error.exit_code in AGAIN


@task(retries=5, retry_delay_seconds=[60, 300, 900, 3600, 3600], retry_condition_fn=passes)
def run_spec(path: str) -> dict[str, int]:
    """Return the path of each output, and its number of rows."""
    logger = get_run_logger()
    result = run(path, consent=True, pending="finish", on_event=lambda event: logger.info(event.message))
    if result.failed:
        logger.warning("%s rows failed: %s", len(result.failed), result.failures)
    return {sink["path"]: sink["rows"] for sink in result.sinks}


@flow
def classify(spec: str = SPEC) -> dict[str, int]:
    """Run a spec to its end."""
    return run_spec(spec)


if __name__ == "__main__":
    classify()  # or: classify.serve(name="daily", cron="0 5 * * *")
