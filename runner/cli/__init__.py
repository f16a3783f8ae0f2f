"""The `runner` command: words in, one call, words and an exit code out.

What a command needs is imported when it runs, so that `--help` is there at once.
"""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from runner.errors import InputError, Interrupted, RunnerError, StateError

if TYPE_CHECKING:
    from runner.cli.display import Progress
    from runner.lifecycle import Plan, Summary

_SPEC = click.Path(dir_okay=False, path_type=Path)


class _Commands(click.Group):
    """Ends every command that fails with its message and exit code; only a defect of ours shows a traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            return super().main(*args, **options)
        except OSError as error:
            _fail(_unusable(error))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RunnerError as error:
            _fail(error)


def _unusable(error: OSError) -> RunnerError:
    """What to say of a file that cannot be used; one without a name mostly is the output of the command."""
    if error.filename is not None:
        return StateError(f"{error.filename}: {error.strerror}")
    # What it still holds back would fail once more when the process ends.
    with suppress(OSError, ValueError):
        sys.stdout.close()
    return RunnerError(f"cannot write: {error.strerror or error}")


def _fail(error: RunnerError) -> NoReturn:
    # Where messages cannot be written either, the exit code still tells.
    with suppress(OSError):
        click.echo(str(error) if isinstance(error, InputError) else f"error: {error}", err=True)
    sys.exit(error.exit_code)


def _variables(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise click.BadParameter(f"{name!r} is not name=value", ctx, option)
    return {name: value for name, _, value in pairs}


_VAR = click.option(
    "--var",
    "variables",
    multiple=True,
    callback=_variables,
    metavar="NAME=VALUE",
    help="Override one of the spec's vars.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def _echo_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.encode(value))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="message-batch-runner", message="runner %(version)s")
def main() -> None:
    """Run declarative jobs on Anthropic's Message Batches API."""


@main.command()
@click.argument("specs", nargs=-1, required=True, type=_SPEC)
@_VAR
def validate(specs: tuple[Path, ...], variables: dict[str, str]) -> None:
    """Check specs, their templates, schemas and first rows; send nothing."""
    from runner.lifecycle import check
    from runner.spec import load_spec

    failed = False
    for path in specs:
        try:
            for finding in check(load_spec(path, vars=variables)).findings:
                click.echo(str(finding), err=True)
        except InputError as error:
            failed = True
            click.echo(str(error), err=True)
        else:
            click.echo(f"{path}: valid")
    sys.exit(2 if failed else 0)


@main.command()
@click.argument("spec", type=_SPEC)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N rows.")
@_VAR
def render(spec: Path, limit: int | None, variables: dict[str, str]) -> None:
    """Print the requests of a spec as JSON lines; send nothing."""
    from runner import lifecycle
    from runner.spec import load_spec

    for line in lifecycle.render(load_spec(spec, vars=variables), limit=limit):
        click.echo(line)


@main.command()
@click.argument("spec", type=_SPEC)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N rows.")
@click.option("--offline", is_flag=True, help="Estimate tokens instead of having the API count them, for free.")
@click.option("--simulate", is_flag=True, help="Plan a simulated run: the simulator counts tokens.")
@_VAR
@_JSON
def plan(
    spec: Path, *, limit: int | None, offline: bool, simulate: bool, variables: dict[str, str], as_json: bool
) -> None:
    """Show what a new run of a spec would send and cost; send nothing."""
    from runner import lifecycle
    from runner.cli import display
    from runner.spec import load_spec

    with _stopping() as stop, display.progress() as progress:
        made = lifecycle.plan(
            load_spec(spec, vars=variables),
            simulate=simulate,
            offline=offline,
            limit=limit,
            report=progress.report,
            stop=stop,
        )
    if as_json:
        _echo_json(made)
    else:
        click.echo(display.plan(made))
    sys.exit(2 if any(finding.severity == "error" for finding in made.findings) else 0)


class _Stop(Event):
    """Set by the first SIGINT or SIGTERM; a second one ends the process at once."""

    signal: int | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.signal = number
        # Not from here: the main thread may be inside `wait`, which holds the same lock.
        Thread(target=self.set).start()
        click.echo("stopping at the next safe moment; nothing is canceled (once more to stop now)", err=True)


@contextmanager
def _stopping() -> Iterator[_Stop]:
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        yield stop
    except Interrupted as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(128 + (stop.signal or signal.SIGINT))


def _ask(progress: "Progress", made: "Plan", *, is_agreed: bool) -> bool:
    from runner.cli import display

    with progress.paused():
        click.echo(display.plan(made), err=True)
        if is_agreed or made.max_cost is not None or made.new == 0:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            click.echo("without a terminal to ask on, `--yes` or `limits.max_cost` is needed to send it", err=True)
            return False
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return click.confirm("send it?", err=True)
        except click.Abort as error:
            raise Interrupted("nothing was sent") from error


def _command() -> str:
    """The command line that goes on with this run."""
    words = [word for word in sys.argv[1:] if word not in ("--new", "--no-wait")]
    if words[:1] == ["recover"]:
        words[0] = "run"
    called = Path(sys.argv[0])
    is_module, on_path = called.name == "__main__.py", shutil.which("runner")
    name = ["python", "-m", "runner"] if is_module else [str(called)]
    is_same = on_path is not None and Path(on_path).absolute() == called.absolute()
    return shlex.join([*(["runner"] if is_same else name), *words])


@main.command()
@click.argument("spec", type=_SPEC)
@click.option(
    "--simulate", is_flag=True, help="Use the bundled simulator: no key, no cost; outputs go below simulated/."
)
@click.option("--yes", is_flag=True, help="Send without asking.")
@click.option("--no-wait", is_flag=True, help="Do what can be done now and exit with 4; run again to go on.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N rows.")
@click.option("--resume", is_flag=True, help="Finish an unfinished run as recorded, whatever was edited since.")
@click.option("--new", is_flag=True, help="Start over, leaving an unfinished run as it is.")
@click.option("--accept-loss", is_flag=True, help="End rows whose results the API no longer has as missing.")
@click.option(
    "--poll-seconds", type=click.FloatRange(min=0, min_open=True), help="Seconds between two looks at a batch."
)
@_VAR
@_JSON
def run(
    spec: Path, *, simulate: bool, yes: bool, resume: bool, new: bool, as_json: bool,
    no_wait: bool, accept_loss: bool, limit: int | None, poll_seconds: float | None, variables: dict[str, str],
) -> None:  # fmt: skip
    """Run a spec, or go on with its unfinished run."""
    from runner import lifecycle
    from runner.cli import display
    from runner.spec import load_spec

    if resume and new:
        raise click.UsageError("--resume and --new exclude each other")
    _warn()
    with _stopping() as stop, display.progress() as progress:
        summary = lifecycle.run(
            load_spec(spec, vars=variables),
            simulate=simulate,
            consent=partial(_ask, progress, is_agreed=yes or simulate),
            wait=not no_wait,
            limit=limit,
            resume=resume,
            new=new,
            accept_loss=accept_loss,
            poll_seconds=poll_seconds,
            report=progress.report,
            stop=stop,
        )
    _conclude(summary, simulate=simulate, as_json=as_json)
    sys.exit(_exit_code(summary, stop))


def _warn() -> None:
    if os.environ.get("ANTHROPIC_LOG") == "debug":
        click.echo("warning: ANTHROPIC_LOG=debug prints every request, prompts included", err=True)


def _exit_code(summary: "Summary", stop: _Stop) -> int:
    interrupted = stop.signal is not None and summary.state != "finished"
    return 128 + (stop.signal or 0) if interrupted else summary.exit_code


def _conclude(summary: "Summary", *, simulate: bool, as_json: bool) -> None:
    from runner.cli import display

    if summary.state != "finished":
        click.echo(display.unfinished(summary, _command()), err=True)
    elif not as_json:
        click.echo(display.conclusion(summary, is_simulated=simulate))
    if as_json:
        _echo_json(summary)


@main.command()
@click.argument("target", required=False, metavar="[SPEC|RUN]")
@_JSON
def status(target: str | None, as_json: bool) -> None:
    """Show the runs of this project, or the newest run of a spec, or one run."""
    from runner import lifecycle
    from runner.cli import display

    found = lifecycle.runs(target)
    if target is not None:
        found = found[:1]
    if as_json:
        for run in found:
            _echo_json(run.summary)
        return
    if not found:
        click.echo("no runs yet", err=True)
        return
    from rich.console import Console

    # In a pipe there is no width to keep to.
    Console(width=None if sys.stdout.isatty() else 200).print(display.runs(found))


@main.command()
@click.argument("target", metavar="SPEC|RUN")
def cancel(target: str) -> None:
    """Cancel an unfinished run: batches under way are asked to end, the others are never sent."""
    from runner import lifecycle

    canceled, left = lifecycle.cancel(target)
    for line in left:
        click.echo(line, err=True)
    kind = "simulated run" if canceled.is_simulated else "run"
    collect = "" if canceled.summary.state == "abandoned" else "; run the spec again to collect what has finished"
    click.echo(f"{kind} {canceled.summary.run} is canceled{collect}")
    sys.exit(4 if left else 0)


@main.command()
@click.argument("target", metavar="RUN|SPEC")
@click.option("--adopt", metavar="BATCH_ID", help="This remote batch is the one that got no answer.")
@click.option(
    "--assume-not-sent", is_flag=True, help="What is not found was never accepted: the next run sends it."
)
def reconcile(target: str, *, adopt: str | None, assume_not_sent: bool) -> None:
    """Look for batches whose creation got no answer, or say what became of them."""
    from runner import lifecycle
    from runner.cli import display

    if adopt and assume_not_sent:
        raise click.UsageError("--adopt and --assume-not-sent exclude each other: give one after the other")
    _warn()
    with display.progress() as progress:
        found, unknown = lifecycle.reconcile_run(
            target, adopt=adopt, assume_not_sent=assume_not_sent, report=progress.report
        )
    for batch in unknown:
        click.echo(display.unknown(batch), err=True)
    if not unknown:
        click.echo(
            f"run {found.summary.run}: it is known of every batch whether it was accepted; run the spec again"
        )
    sys.exit(5 if unknown else 0)


@main.command()
@click.argument("spec", type=_SPEC)
@click.option("--run", "run_id", metavar="RUN", help="The run to recover; default: the newest that is found.")
@click.option("--limit", type=click.IntRange(min=1), help="The --limit that the run was started with.")
@_VAR
def recover(spec: Path, *, run_id: str | None, limit: int | None, variables: dict[str, str]) -> None:
    """Rebuild the state of a run that is lost from the API's own batches, and go on with it."""
    from runner import lifecycle
    from runner.cli import display
    from runner.spec import load_spec

    _warn()
    loaded = load_spec(spec, vars=variables)
    with _stopping() as stop, display.progress() as progress:
        say = partial(click.echo, err=True)
        run = lifecycle.recover(loaded, limit=limit, run_id=run_id, stop=stop, say=say, report=progress.report)
        click.echo(f"run {run.id} is recovered", err=True)
        summary = lifecycle.run(loaded, limit=limit, report=progress.report, stop=stop)
    _conclude(summary, simulate=False, as_json=False)
    sys.exit(_exit_code(summary, stop))


@main.command()
@click.option("--remote", is_flag=True, help="Compare the batches of the workspace too; this needs a key.")
def doctor(*, remote: bool) -> None:
    """Check the state on disk, and say what the next runs would do. Nothing is changed."""
    from runner import lifecycle

    diagnosis = lifecycle.doctor(remote=remote)
    for line in (*diagnosis.findings, *diagnosis.plans):
        click.echo(line)
    wrong = len(diagnosis.findings)
    click.echo(f"{lifecycle.plural(diagnosis.runs, 'run')}, {lifecycle.plural(wrong, 'finding')}")
    sys.exit(8 if wrong else 0)


class _Age(click.ParamType[float]):
    """A time span in days or hours, in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number, unit = str(value)[:-1], str(value)[-1:]
        if unit not in ("d", "h") or not number.isdecimal():
            self.fail(f"{value!r} is not a number of days or hours, as 30d or 12h", param, ctx)
        return int(number) * (86_400.0 if unit == "d" else 3_600.0)


@main.command()
@click.argument("target", required=False, metavar="[RUN|SPEC]")
@click.option("--older-than", type=_Age(), metavar="30d", help="Every run that ended so long ago.")
@click.option("--remote", is_flag=True, help="Delete the API's copies too; this needs the key.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
def purge(target: str | None, *, older_than: float | None, remote: bool, yes: bool) -> None:
    """Remove the rows, requests and answers that ended runs keep. Outputs stay, and what was spent stays known."""
    from runner import lifecycle

    if target is None and older_than is None:
        raise click.UsageError("name a run or a spec, or give --older-than")
    found = lifecycle.purgeable(target, older_than=older_than or 0)
    names = ", ".join(run.summary.run for run in found)
    if found and not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.UsageError(f"this would purge {names}: without a terminal to ask on, `--yes` is needed")
        click.confirm(f"purge {names}? Their outputs cannot be written again", err=True, abort=True)
    for run in found:
        purged = lifecycle.purge(run, remote=remote)
        also = f", and {lifecycle.plural(purged.deleted, 'batch')} at the API" if remote else ""
        click.echo(f"run {purged.run.summary.run} is purged{also}")
    if not found:
        click.echo("no run to purge", err=True)


@main.command()
def schema() -> None:
    """Print the JSON schema of a spec, for editors."""
    from runner.spec import schema_text

    click.echo(schema_text(), nl=False)


@main.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The port on 127.0.0.1; default: a free one."
)
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=1.0, show_default=True, help="How long a batch takes."
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME[:N|:P%]",
    help="Go wrong so: once, N times, or in P % of cases.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="What faults with a percentage are drawn from."
)
@click.option(
    "--lag", type=click.FloatRange(min=0), default=5.0, show_default=True, help="Seconds of faults that are late."
)
@click.option("--list-faults", is_flag=True, help="List the faults and end.")
def simulate(
    port: int, seconds: float, faults: tuple[str, ...], seed: int, lag: float, *, list_faults: bool
) -> None:
    """Serve the Message Batches API on this machine, for trials and tests.

    What faults did is written to simulated/server/faults.jsonl.
    """
    from runner.simulator import FAULTS, serve

    if list_faults:
        width = max(map(len, FAULTS))
        click.echo("\n".join(f"{name:{width}}  {about}" for name, about in FAULTS.items()))
        return

    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        Path("simulated").mkdir(exist_ok=True)
        (Path("simulated") / ".gitignore").write_text("*\n")
        folder = Path("simulated") / "server"
        with serve(folder, port=port, seconds=seconds, faults=faults, seed=seed, lag=lag) as url:
            click.echo(url)
            click.echo(f"export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=simulated", err=True)
            stop.wait()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"cannot listen on port {port}: {error.strerror}") from error


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(runner completion bash)"."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is not None:
        click.echo(script(main, {}, "runner", "_RUNNER_COMPLETE").source())
