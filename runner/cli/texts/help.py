"""The parts of help pages that click has no place for: order, groups, examples and exit codes."""

COMMAND_GROUPS = {
    "Write a spec": ("init", "validate", "render"),
    "Run it": ("plan", "pilot", "run", "status", "show", "evaluate", "diff", "report", "costs", "retry", "cancel"),
    "When something goes wrong": ("doctor", "reconcile", "recover"),
    "Look up": ("explain", "schema", "reference"),
    "Set up and clean up": ("completion", "simulate", "move", "purge"),
}
"""Commands in the order of their use."""

OPTION_GROUPS = {
    "Rows and variables": (
        "failed",
        "wrong",
        "outcome",
        "reason",
        "key",
        "limit",
        "select",
        "variables",
        "env_file",
        "run_id",
    ),
    "Sending": ("simulate", "yes", "no_wait", "max_wait", "poll_seconds"),
    "Unfinished and earlier runs": ("resume", "new", "pending", "accept_loss", "overwrite"),
    "Where the state is": ("state", "files", "project"),
    "What is printed": ("has_request", "verbose", "as_json", "quiet", "log_format"),
}
"""Options of commands that have many, by the names of their parameters."""

EXAMPLES = {
    "init": (
        ("init", "the smallest spec, here"),
        ("init --from tickets.csv --ask 'label each ticket as bug, billing or howto'", "for own data"),
    ),
    "validate": (
        ("validate specs/invoices.yaml", "check one spec"),
        ("validate specs/", "check all specs of a folder, for example in CI"),
        ("validate specs/invoices.yaml --online", "also ask the API, which is free"),
    ),
    "render": (("render specs/invoices.yaml --limit 1", "the first request, as it would be sent"),),
    "plan": (
        ("plan specs/invoices.yaml", "what a run would send and cost"),
        ("plan specs/invoices.yaml -v --limit 100", "with the basis of the estimates, for 100 rows"),
    ),
    "pilot": (
        ("pilot specs/invoices.yaml 20", "20 rows drawn by chance, as a batch"),
        ("pilot specs/invoices.yaml 20 --by gold_type", "of each type its share"),
        ("pilot specs/invoices.yaml 20 --sync", "at once, at the full price"),
    ),
    "run": (
        ("run specs/invoices.yaml --simulate", "try it without a key"),
        ("run specs/invoices.yaml --limit 10", "the first ten rows, for real"),
        ("run specs/invoices.yaml", "start, or resume what was not finished"),
        ("run specs/invoices.yaml --yes --no-wait -q", "for cron: exits with 4 until the run is finished"),
        ("run specs/invoices.yaml --yes --json --log-format json", "for programs"),
    ),
    "status": (
        ("status", "all runs"),
        ("status specs/invoices.yaml", "the newest run of a spec"),
        ("status specs/", "the newest run of each spec in a folder"),
    ),
    "show": (
        ("show specs/invoices.yaml --failed", "the rows that failed, and why"),
        ("show specs/invoices.yaml --wrong", "the rows whose answers are not those of their labels"),
        ("show specs/invoices.yaml --key INV-1042 --request", "one row: what was sent and came back"),
    ),
    "diff": (
        ("diff specs/invoices.yaml", "the last two finished runs of a spec"),
        ("diff tp5w9in31jr4u tq8c2vk40bd1x --csv changes.csv", "two runs, with all rows that differ"),
        ("diff specs/invoices.yaml --fail-on regressed", "for CI: 3 if a row succeeded before and fails now"),
    ),
    "costs": (
        ("costs --by model --since 30d", "the last 30 days, by model"),
        ("costs --by label:team --json", "by the label `team` of the specs, for programs"),
    ),
    "evaluate": (
        ("evaluate specs/invoices.yaml", "the scores of its newest run, class by class"),
        ("evaluate specs/invoices.yaml --json", "for programs"),
    ),
    "report": (
        ("report specs/invoices.yaml -o report.html", "a page about its newest run"),
        ("report specs/invoices.yaml --no-rows", "without anything of single rows, for sharing"),
        ("report specs/invoices.yaml --md", "the judgement, for a pull request"),
    ),
    "retry": (("retry specs/invoices.yaml", "send the rows again that did not succeed"),),
    "cancel": (("cancel specs/invoices.yaml", "cancel the unfinished run of a spec"),),
    "doctor": (
        ("doctor", "check the state on disk"),
        ("doctor --remote", "also compare it with the API"),
        ("doctor --download", "of a shared state, also read all files"),
    ),
    "reconcile": (("reconcile specs/invoices.yaml", "find batches whose creation got no response"),),
    "recover": (("recover specs/invoices.yaml", "rebuild the newest run of a spec from the API"),),
    "explain": (("explain", "list all rules"), ("explain no-schema", "explain one rule")),
    "schema": (("schema > spec.schema.json", "for an editor that reads it from a file"),),
    "reference": (("reference", "print the reference"),),
    "completion": (
        ('eval "$(runner completion bash)"', "in ~/.bashrc"),
        ('eval "$(runner completion zsh)"', "in ~/.zshrc, after compinit"),
        ("runner completion fish | source", "in ~/.config/fish/config.fish"),
    ),
    "simulate": (
        ("simulate --port 8000", "serve the simulated API"),
        ("simulate --fault batch-expired:2", "with two expired batches"),
    ),
    "move": (
        ("move", "to the shared state that runner.toml names"),
        (
            "move --to postgresql://db.example.com/runner --files s3://bucket/runner",
            "to one that it does not name yet",
        ),
        ("move --to local", "from there to .runner/ in the project folder"),
    ),
    "purge": (
        ("purge specs/invoices.yaml", "delete the stored rows of its newest run"),
        ("purge --older-than 30d --yes", "for cron"),
    ),
}
"""Examples of each command, with what each is for."""

_WRONG = {2: "the command, the spec or the input is wrong"}
_STATE = {8: "the state on disk cannot be used"}
_API = {4: "the API cannot be reached", 7: "key, permission or spend limit"}
_STOPPED = {130: "stopped by Ctrl-C or by your answer"}
_LOCKED = {6: "another runner uses the state"}
_RUN = {
    0: "every row succeeded",
    **_WRONG,
    3: "finished, but some rows failed, or an evaluation is below min_accuracy",
    4: "not finished, or the API cannot be reached: run the same command again",
    5: "unknown whether a batch was accepted: runner reconcile",
    **_LOCKED,
    7: "key, permission, spend limit or limits.max_cost",
    **_STATE,
    9: "the API no longer has some results",
    130: "stopped by Ctrl-C or by your answer (143: by SIGTERM); run the same command again",
}
EXIT_CODES: dict[str, dict[int, str]] = {
    "validate": {0: "no mistakes", 2: "some spec is wrong", **_API},
    "plan": {0: "the plan is printed", 2: "the spec or the input is wrong", **_API, **_STATE},
    "pilot": _RUN,
    "run": _RUN,
    "retry": _RUN,
    "recover": _RUN,
    "status": {0: "printed", 2: "no such run or spec", **_STATE},
    "evaluate": {
        0: "evaluated",
        2: "no such run or spec, or nothing to evaluate",
        3: "an evaluation is below its min_accuracy",
        **_LOCKED,
        **_STATE,
    },
    "show": {0: "printed", 2: "no such run or spec", **_STATE},
    "diff": {
        0: "compared",
        2: "no such runs, or they cannot be compared",
        3: "there are rows to fail on (--fail-on)",
        4: "with --fail-on: none so far, and some rows have no result yet",
        **_STATE,
    },
    "report": {0: "written", 2: "no such run or spec, or the file cannot be written", **_STATE},
    "costs": {0: "printed", **_WRONG, **_STATE},
    "cancel": {
        0: "canceled",
        2: "no unfinished run",
        4: "some batch cannot be canceled yet: try again",
        **_LOCKED,
        7: "key or permission",
        **_STATE,
    },
    "doctor": {0: "nothing is wrong", **_API, 8: "something is wrong"},
    "reconcile": {
        0: "all batches are known",
        **_WRONG,
        **_API,
        5: "some batch is still unknown",
        **_LOCKED,
        **_STATE,
    },
    "move": {0: "moved, or nothing to move", **_WRONG, **_LOCKED, **_STATE},
    "purge": {0: "purged, or nothing to purge", 2: "no such run", **_API, **_LOCKED, **_STATE, **_STOPPED},
}
"""Exit codes of the commands that have more than the default ones."""

DEFAULT_EXIT_CODES = {0: "done", **_WRONG}
