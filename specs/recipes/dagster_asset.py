"""A Dagster asset that is the outputs of a spec: `dagster dev -f dagster_asset.py`.

A process that ends while batches are under way loses nothing: the next materialization resumes the run.
"""

import os

import dagster as dg

from runner import RunEvent, run

SPEC = os.environ.get("RUNNER_SPEC", "/srv/classify/classify.yaml")


@dg.asset(
    pool="runner",  # the state is used by one run at a time: `dagster instance concurrency set runner 1`
    check_specs=[dg.AssetCheckSpec("rows_succeeded", asset="labels")],
    retry_policy=dg.RetryPolicy(max_retries=3, delay=300),
)
def labels(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """One label for each ticket."""

    def log(event: RunEvent) -> None:
        context.log.info(event.message)

    result = run(SPEC, consent=True, pending="finish", on_event=log)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": result.rows,
            "run": result.run,
            "outcomes": result.outcomes,
            "cost": result.cost["actual"],
            "outputs": [sink["path"] for sink in result.sinks],
        },
        check_results=[
            dg.AssetCheckResult(
                passed=result.exit_code == 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"failed": len(result.failed)},
            )
        ],
    )


daily = dg.ScheduleDefinition("daily_labels", target=dg.AssetSelection.assets("labels"), cron_schedule="0 5 * * *")

definitions = dg.Definitions(assets=[labels], schedules=[daily])
