"""The command that compares the answers of a run with labels: evaluate."""

import sys

import click

from runner.cli.common import JSON_OPTION, echo_json
from runner.cli.complete import TARGET
from runner.cli.echo import echo_text
from runner.cli.state_options import opens_state
from runner.cli.summaries import print_comparisons


@click.command()
@click.argument("target", metavar="RUN|SPEC", type=TARGET)
@JSON_OPTION
@opens_state
def evaluate(target: str, *, as_json: bool) -> None:
    """Compare answers with labels again.

    Uses the `evaluate` of the spec as it is now, sends nothing, and stores the scores with the run. If the source
    has changed since the run, its labels are taken as they are now, by key.
    RUN is a run id or its beginning; SPEC is the path or name of a spec, and means its newest run, or that of
    each of its variants, which are then compared.
    """
    from runner.cli.finish_command import say_if_simulated, say_if_unfinished
    from runner.cli.texts.evaluation import format_evaluation
    from runner.lifecycle.maintain.evaluate import evaluate_run, find_evaluated_runs
    from runner.runs.choose_specs import load_specs

    runs, path = find_evaluated_runs(target)
    code = 0
    say_if_simulated(runs[0], target)
    for info in runs:
        evaluated = evaluate_run(info, path)
        code = max(code, evaluated.exit_code)
        if as_json:
            echo_json(evaluated)
        else:
            echo_text(format_evaluation(evaluated))
        say_if_unfinished(info, " and do not count")
    if len(runs) > 1:
        print_comparisons(load_specs([path], vars={}), as_json=as_json)
    sys.exit(code)
