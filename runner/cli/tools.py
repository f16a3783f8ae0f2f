"""Commands for what surrounds a job: the schema for editors, the simulator, the completion of a shell."""

import signal
from pathlib import Path
from threading import Event

import click


@click.command()
def schema() -> None:
    """Print the JSON schema of a spec, for editors."""
    from runner.spec import schema_text

    click.echo(schema_text(), nl=False)


@click.command()
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


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(runner completion bash)"."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is not None:
        click.echo(
            script(click.get_current_context().find_root().command, {}, "runner", "_RUNNER_COMPLETE").source()
        )
