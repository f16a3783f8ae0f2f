"""Commands that take no spec and no run: schema, simulate and completion."""

import signal
from pathlib import Path
from threading import Event

import click


@click.command()
def schema() -> None:
    """Print the JSON schema of specs, for editors."""
    from runner.spec.schema_errors import schema_text

    click.echo(schema_text(), nl=False)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1 (default: a free one).")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Approximate duration of a batch.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME[:N|:P%]",
    help="Inject a fault: once, N times, or in P% of cases.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of faults with a percentage.")
@click.option(
    "--lag", type=click.FloatRange(min=0), default=5.0, show_default=True, help="Delay of late faults, in seconds."
)
@click.option("--list-faults", is_flag=True, help="List the faults and exit.")
def simulate(
    port: int, seconds: float, faults: tuple[str, ...], seed: int, lag: float, *, list_faults: bool
) -> None:
    """Serve a simulated API on this machine.

    For trials and tests. Logs each injected fault to simulated/server/faults.jsonl.
    """
    from runner.simulator.faults import FAULTS
    from runner.simulator.server import serve

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
        with serve(folder, port=port, seconds=seconds, faults=faults, seed=seed, fault_delay=lag) as url:
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
    """Print a shell completion script.

    To enable it: eval "$(runner completion bash)"
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is not None:
        click.echo(
            script(click.get_current_context().find_root().command, {}, "runner", "_RUNNER_COMPLETE").source()
        )
