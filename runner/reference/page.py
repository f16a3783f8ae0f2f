"""The whole reference as one page of Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner import errors
from runner.reference.spec_keys import describe_spec
from runner.reference.spec_schema import build_schema
from runner.reference.tables import table
from runner.results.outcome_names import OUTCOMES
from runner.rules.finding import CHECKS
from runner.rules.run import OTHER_FINDINGS, RULES
from runner.runs.events import EVENTS
from runner.simulator.fault_list import FAULTS

_INTRODUCTION = """\
Printed by `runner reference`. Editors complete and check a spec with the JSON schema that `runner schema` prints:
start the file with `# yaml-language-server: $schema=` and the path of the schema.

Paths are relative to the project folder: the nearest folder above the spec that holds `prompts/` or `.runner/`, or
else the spec's own folder. `${env:NAME}` in a value is replaced by that environment variable.

[Spec](#spec) · [Other types](#types-of-other-packages) · [Commands](#commands) · [Exit codes](#exit-codes) ·
[Outcomes](#outcomes) · [Rules](#rules) · [Faults](#faults-of-the-simulator)"""


_PLUGINS = """\
Another package can add a type of source or sink. Each is one function, with names from `runner.plugins`:

- A source takes an `Inputs` and yields `(path, line, fields)` for each row.
- A sink is a context manager. It takes a `Destination` and the names of the columns, and yields a function that
  writes the values of one row.

Its parameters after `*` are the settings of the type. The lines below `Settings:` in its docstring describe them,
and `runner schema` prints them for editors. An entry point registers it:

```toml
[project.entry-points."runner.sources"]
numbers = "my_package:read_numbers"

[project.entry-points."runner.sinks"]
lines = "my_package:write_lines"
```

An exception of this code ends the command with an error that names it. For a message of your own, raise
`runner.errors.InputError`.

[tests/data/plugin_example](../tests/data/plugin_example/) is a complete example: `pip install` its folder."""


_EXIT_CODES = {
    0: "The command succeeded; all rows of a run succeeded.",
    3: "The run is finished, but rows failed or have contradicting results, or too many answers are wrong.",
    4: "The run is not finished: run the spec again to resume it.",
    143: "SIGTERM stopped the command; run the spec again to resume.",
}
"""Exit codes of commands that end without an error."""


_OUTCOMES = {
    "succeeded": "The answer has a valid output.",
    "invalid": "The output does not match the schema or a check.",
    "truncated": "The answer ended early, for example at max_tokens.",
    "refused": "The model refused to answer.",
    "errored": "The API answered the request with an error.",
    "expired": "The API did not process the request within 24 hours.",
    "canceled": "The batch was canceled before the request was processed.",
    "missing": "The API has no result for the request. If it counted the request, it is not sent again.",
    "rejected": "The request was never sent, because it could not be built.",
}


_EVENTS_INTRODUCTION = (
    "`runner run --log-format json` writes one event per line, and [every line has the same fields]"
    "(README.md#logs). From Python, `run(on_event=)` is called with each event but those of the command."
)
_COMMAND_EVENTS = {
    "planned": "of the command: the plan is made; `plan` holds it as `plan --json` prints it",
    "declined": "of the command: there is nobody to confirm the plan",
    "stopping": "of the command: a signal was received, and the run stops at the next safe moment",
    "unfinished": "of the command: the run is not finished; `command` resumes it",
}


@dataclass(frozen=True, slots=True)
class CommandHelp:
    """One command: its usage, its description, and its options with their help."""

    usage: str
    about: str
    options: Sequence[tuple[str, str]]


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").partition("\n")[0]


def _name_table(kind: str, meanings: Mapping[str, str]) -> str:
    return table((kind, "meaning"), [(f"`{name}`", meaning) for name, meaning in meanings.items()])


def _list_errors(kind: type[errors.RunnerError] = errors.RunnerError) -> Iterator[type[errors.RunnerError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _list_errors(below)


def _exit_codes() -> str:
    rows = [(code, "", meaning) for code, meaning in _EXIT_CODES.items()]
    rows += [(error.exit_code, f"`{error.__name__}`", _first_line(error)) for error in _list_errors()]
    ordered = sorted(rows, key=lambda row: row[0])
    return table(("code", "error", "meaning"), [(f"`{code}`", error, about) for code, error, about in ordered])


def _rules() -> str:
    rows = [(f"`{name}`", severity, _first_line(rule)) for name, (severity, rule) in RULES.items()]
    others = {**OTHER_FINDINGS, **CHECKS}
    rows += [(f"`{name}`", severity, about) for name, (severity, about) in others.items()]
    return table(("rule", "severity", "meaning"), rows)


def _commands(commands: Sequence[CommandHelp]) -> Iterator[str]:
    for command in commands:
        yield f"### `{command.usage}`"
        yield command.about
        if command.options:
            yield _name_table("option", dict(command.options))


def _paragraphs(commands: Sequence[CommandHelp]) -> Iterator[str]:
    yield from ("# Reference", _INTRODUCTION, "## Spec", *describe_spec(build_schema()))
    yield from ("## Types of other packages", _PLUGINS)
    yield from ("## Commands", *_commands(commands))
    yield from ("## Exit codes", _exit_codes())
    yield from ("## Outcomes", _name_table("outcome", {name: _OUTCOMES[name] for name in OUTCOMES}))
    yield from ("## Events", _EVENTS_INTRODUCTION, _name_table("event", {**EVENTS, **_COMMAND_EVENTS}))
    yield from ("## Rules", _rules())
    yield "Errors stop a run. Warnings do not; `allow` or a comment `# runner: allow rule-id` silences them."
    yield "The error `constant-prompt` can be allowed in the same way."
    yield "## Faults of the simulator"
    yield "`runner simulate --fault NAME` injects a fault once, `NAME:N` N times, `NAME:P%` in P% of cases."
    yield _name_table("fault", FAULTS)


def format_reference(commands: Sequence[CommandHelp]) -> str:
    """Return the reference as Markdown."""
    return "\n\n".join(_paragraphs(commands)) + "\n"
