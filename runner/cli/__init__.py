"""The `runner` command line: one subcommand per task.

A command imports what it needs when it runs, so that `--help` responds at once.
"""

import click

from runner.cli.commands import (
    costs,
    diff,
    evaluate,
    move,
    pilot,
    recover,
    report,
    rows,
    runs,
    send,
    specs,
    start,
    tools,
)
from runner.cli.common import RunnerGroup
from runner.cli.help import with_help


@click.group(cls=RunnerGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="message-batch-runner", message="runner %(version)s")
def main() -> None:
    """Run declarative jobs on Anthropic's Message Batches API.

    `runner COMMAND --help` shows the options, examples and exit codes of a command.
    """


for command in (
    start.init, specs.validate, specs.render, specs.plan, pilot.pilot, send.run, send.retry, recover.recover,
    runs.status, rows.show, evaluate.evaluate, diff.diff, report.report, costs.costs,
    runs.cancel, runs.reconcile, runs.doctor, runs.purge, move.move,
    tools.schema, tools.reference, tools.explain, tools.simulate, tools.completion,
):  # fmt: skip
    main.add_command(with_help(command))
