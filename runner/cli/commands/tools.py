"""Commands that take no spec and no run: schema, reference, explain, simulate and completion."""

import re
import signal
from inspect import cleandoc
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from runner.cli.common import COMPLETE_VARIABLE
from runner.cli.complete import offer_rules
from runner.cli.echo import echo, echo_text
from runner.cli.shells import SHELLS

if TYPE_CHECKING:
    from runner.reference.page import CommandHelp


@click.command()
def schema() -> None:
    """Print the JSON schema of specs, for editors.

    It includes the types of sources and sinks from installed packages.
    """
    from runner.starters.editor_schema import format_installed_schema

    echo(format_installed_schema(), nl=False)


@click.command()
@click.argument("rule", required=False, shell_complete=offer_rules)
def explain(rule: str | None) -> None:
    """Explain a rule, or list all rules.

    RULE is the id of a rule or of a check: what a finding has in brackets, or under `rule` in its JSON.
    Prints what it finds, why, the source of the fact, an example and the remedy.
    """
    from textwrap import indent

    from runner.rules.explain.explain import explain_rule, list_finding_ids

    if rule is None:
        names = list_finding_ids()
        width = max(map(len, names))
        for name in names:
            found = explain_rule(name)
            echo_text(f"{name:{width}}  {found.severity:7}  {found.what}")
        return
    found = explain_rule(rule)
    echo_text(f"{found.rule} ({found.severity}): {found.what}")
    echo_text(f"why: {found.why}\nsource: {found.source}")
    echo(f"example:\n{indent(found.example, '  ')}")
    echo_text(f"remedy: {found.remedy}")


def _describe_commands() -> "list[CommandHelp]":
    """Return the help of every command."""
    from runner.reference.page import CommandHelp

    root = click.get_current_context().find_root()
    group = root.command
    found = []
    for name, command in group.commands.items() if isinstance(group, click.Group) else ():
        context = click.Context(command, info_name=name, parent=root)
        usage = " ".join(["runner", name, *command.collect_usage_pieces(context)])
        records = [option.get_help_record(context) for option in command.params]
        options = [record for record in records if record is not None and record[1]]
        found.append(CommandHelp(usage, cleandoc(command.help or ""), options))
    return found


@click.command()
@click.option(
    "--update", is_flag=True, help="Write the committed reference and JSON schema, in a repository clone."
)
def reference(*, update: bool) -> None:
    """Print the reference, as Markdown.

    It lists all keys of specs, commands, exit codes, outcomes, rules and faults of the simulator.
    """
    from runner.reference.page import format_reference
    from runner.reference.spec_schema import build_schema, format_schema

    text = format_reference(_describe_commands())
    if not update:
        echo(text, nl=False)
        return
    for path, content in (
        (Path("runner/spec/schema.json"), format_schema(build_schema())),
        (Path("specs/REFERENCE.md"), text),
    ):
        path.write_text(content, "utf-8")
        echo(f"wrote {path}")


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
    "--fault-delay",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Delay of late faults, in seconds.",
)
@click.option(
    "--organization",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Give this API key an organization of its own, with the same faults.",
)
@click.option("--lag", type=click.FloatRange(min=0), hidden=True)
@click.option("--list-faults", is_flag=True, help="List the faults and exit.")
def simulate(
    port: int,
    seconds: float,
    faults: tuple[str, ...],
    seed: int,
    fault_delay: float,
    keys: tuple[str, ...],
    lag: float | None,
    *,
    list_faults: bool,
) -> None:
    """Serve a simulated API on this machine.

    For trials and tests. Logs each injected fault to simulated/server/faults.jsonl.
    """
    from runner.simulator.fault_list import FAULTS
    from runner.simulator.server import serve

    if list_faults:
        width = max(map(len, FAULTS))
        echo_text("\n".join(f"{name:{width}}  {about}" for name, about in FAULTS.items()))
        return

    if lag is not None:
        echo_text("--lag is now called --fault-delay; version 0.3 no longer knows the old name", err=True)
        fault_delay = lag
    if unusable := [key for key in keys if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", key)]:
        raise click.UsageError(
            f"--organization: a simulated key has letters, digits, _ and -, not {unusable[0]!r}"
        )
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        Path("simulated").mkdir(exist_ok=True)
        (Path("simulated") / ".gitignore").write_text("*\n")
        folder = Path("simulated") / "server"
        how: dict[str, Any] = {"faults": faults, "seed": seed, "fault_delay": fault_delay}
        with serve(folder, port=port, seconds=seconds, organizations=dict.fromkeys(keys, faults), **how) as url:
            echo(url)
            echo(f"export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={(*keys, 'simulated')[0]}", err=True)
            stop.wait()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"cannot listen on port {port}: {error.strerror}") from error


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print a shell completion script.

    To enable it: eval "$(runner completion bash)"
    """
    root = click.get_current_context().find_root().command
    echo(SHELLS[shell](root, {}, "runner", COMPLETE_VARIABLE).source())
