"""The Spec that the rest of the program uses: frozen, with every default filled in."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.errors import Problem
from runner.spec.endpoint import Endpoint
from runner.spec.prompt import Prompt
from runner.spec.redact import redact_passwords
from runner.spec.run_settings import Batch, Limits, Receiver, Retry, Sync
from runner.spec.variant_names import join_name, split_name

SELECTION_KEYS = ("columns", "types", "where", "sample", "seed", "limit")
"""The settings of a source that select its rows and columns."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """A sample of the rows that is sent before the whole job: how many `rows`, drawn with a random `seed`.

    With a column `by`, each of its values has the share of the sample that it has of all rows.
    """

    rows: int = 50
    seed: int = 0
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The source of the rows. `options` are the settings of its type, as written.

    `columns` selects columns (all if it is empty), and `types` converts their text. Then `where` filters rows,
    `sample` draws that many of them with the random `seed`, and `limit` keeps the first of those. A `pilot`
    takes only its sample of what is left.
    """

    type: str
    key: str | None
    options: dict[str, Any]
    columns: tuple[str, ...] = ()
    types: dict[str, str] = field(default_factory=dict)
    where: str | None = None
    sample: int | None = None
    seed: int = 0
    limit: int | None = None
    output: str | None = None
    pilot: Pilot | None = None
    given: Any = field(default=None, repr=False, compare=False)

    @property
    def is_given(self) -> bool:
        """True if a Python program gives the rows; `given` holds them, or is None if it has not."""
        return self.type == "rows"

    @property
    def path(self) -> str:
        """The file, glob or URL that rows are read from; a database URL is without its password."""
        if self.output is not None:
            return self.output
        if "path" in self.options:
            return str(self.options["path"])
        # A type of another package may have neither a path nor a URL.
        return redact_passwords(str(self.options.get("url", f"<{self.type}>")))

    @property
    def is_query(self) -> bool:
        """True if the rows are in no files: only a new query can find out if they have changed."""
        if self.is_given:
            return False
        return "url" in self.options or ("path" not in self.options and self.output is None)


@dataclass(frozen=True, slots=True)
class Check:
    """A Jinja expression that must be true of an output, and the message if it is not."""

    check: str
    message: str


@dataclass(frozen=True, slots=True)
class Output:
    """The extraction of an output from an answer, and its validation against a JSON `schema`.

    An output is the input of `tool`, or is parsed from text: `parse` is json, regex (with `pattern`) or lines.
    Without both, the schema is sent as output_config.format. If `enforce` is here, the prompt states the schema.
    With `allow_empty` an answer without text is valid. `is_schema_in_params` is true if `params` give the schema.
    """

    schema: dict[str, Any] | None = None
    tool: str | None = None
    parse: str | None = None
    pattern: str | None = None
    checks: tuple[Check, ...] = ()
    allow_empty: bool = False
    enforce: str | None = None
    is_schema_in_params: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A comparison of outputs with labels: the expressions of the `expected` and the `actual` value.

    `match` is exact, casefold, json, set, or an expression that tells if they match. With `within` they are
    numbers that may differ by so much. The share of right answers should be `min_accuracy` or more.
    """

    name: str
    expected: str
    actual: str
    match: str = "exact"
    within: float | None = None
    min_accuracy: float | None = None

    @property
    def rule(self) -> str:
        """The rule by which an answer is right: the expressions, and how their values are matched."""
        how = self.match if self.within is None else f"within {self.within:g}"
        return f"{self.expected} = {self.actual} ({how})"


@dataclass(frozen=True, slots=True)
class Sink:
    """One output. `rows` is all, succeeded, failed or wrong; `columns` maps names to expressions, in order.

    `types` overrides the types of columns that otherwise follow from the expressions.
    """

    type: str
    rows: str
    columns: dict[str, str] | None
    options: dict[str, Any]
    types: dict[str, str] = field(default_factory=dict)

    @property
    def is_cut(self) -> bool:
        """True if text that does not fit its cell is cut, and False if it is an error."""
        return self.options.get("overflow") == "cut"

    @property
    def has_parts(self) -> bool:
        """True if the output is a folder of parts, each of a bounded number of rows."""
        return self.type in ("jsonl", "parquet") and self.options.get("parts") is True


@dataclass(frozen=True, slots=True)
class Spec:
    """One checked job. Its paths are relative to `root`, the project's folder.

    `mode` is batch, sync or auto. `deadline` is in seconds from the start of a run; a run that is expected to
    miss a hard one is not started. A `pilot` comes before all other rows, of which at most the share
    `max_failed_in_pilot` may fail. Commands select specs by `tags`, and costs are summed up by `labels`. `prices`
    are in US dollars per million tokens. `api` is the platform that the job runs on. `variants` names all
    variants of its file, of which it is one. `manifest` is the path of a file that says what a run was made of.
    `report` is the file for the page about each run.
    `positions` maps dotted paths to places in the file: `{"prompt.user": (line, column)}`. `key_lines` maps them
    to the lines of their keys, and `allow_at` maps lines to the rules that comments allow. `schema_positions` is
    `positions` for an output schema in its own file. `broken` has the dotted paths of parts with mistakes: they
    hold neutral values, and only checks see such a spec.
    """

    path: Path
    root: Path
    name: str
    source: Source
    prompt: Prompt
    params: dict[str, Any]
    sinks: tuple[Sink, ...]
    manifest: str | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    vars: dict[str, Any] = field(default_factory=dict)
    output: Output = field(default_factory=Output)
    evaluate: tuple[Evaluation, ...] = ()
    report: str | None = None
    schema_path: str | None = None
    batch: Batch = field(default_factory=Batch)
    retry: Retry = field(default_factory=Retry)
    mode: str = "batch"
    deadline: float | None = None
    is_deadline_hard: bool = False
    on_deadline: str = "sync"
    pilot: Pilot | None = None
    max_failed_in_pilot: float = 0.1
    canary: int = 0
    reuse: bool = True
    limits: Limits = field(default_factory=Limits)
    notify: tuple[Receiver, ...] = ()
    prices: dict[str, float] = field(default_factory=dict)
    sync: Sync = field(default_factory=Sync)
    betas: tuple[str, ...] = ()
    api: Endpoint = field(default_factory=Endpoint)
    allow: tuple[str, ...] = ()
    allow_at: dict[int, tuple[str, ...]] = field(default_factory=dict)
    key_lines: dict[str, int] = field(default_factory=dict)
    positions: dict[str, tuple[int, int]] = field(default_factory=dict)
    schema_positions: dict[str, tuple[int, int]] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    variants: tuple[str, ...] = ()

    @property
    def job(self) -> str:
        """The name in the file, which all variants share."""
        return split_name(self.name)[0]

    @property
    def variant(self) -> str | None:
        """The name of this variant, or None if the file has none."""
        return split_name(self.name)[1]

    @property
    def place(self) -> str:
        """The path of the file, and the variant."""
        return join_name(str(self.path), self.variant)

    @property
    def is_schema_sent(self) -> bool:
        """True if the API itself enforces the schema, sent as output_config.format."""
        return self.output.schema is not None and self.output.tool is None and self.output.parse is None

    def is_sound(self, setting: str) -> bool:
        """Return whether the part at a dotted path has no mistakes, and is not inside one that has."""
        return not any(
            one == setting or setting.startswith(f"{one}.") or one.startswith(f"{setting}.") for one in self.broken
        )

    def problem(self, setting: str, message: str, *, line: int = 1) -> Problem:
        """Return a mistake in the value at the dotted path `setting`; `line` counts inside a multi-line text."""
        if self.schema_path is not None and setting in self.schema_positions:
            return Problem(self.schema_path, message, *self.schema_positions[setting])
        first, column = self.positions.get(setting, (0, 0))
        # Only the start of a quoted text is known: its lines need not match lines of the file.
        is_block = first > 0 and column == 0
        return Problem(str(self.path), message, first + line - 1 if is_block else first, column)

    def locate(self, problem: Problem) -> Problem:
        """Return a problem that only names its setting, or file or database of the source, with its place here."""
        setting, message = problem.path, problem.message
        if setting not in self.positions:
            named = self._find_source_setting(setting)
            if problem.line or named is None:
                return problem
            setting, message = named, f"{problem.path}: {message}"
        place = self.problem(setting, f"{setting}: {message}", line=problem.line or 1)
        return replace(place, remedy=problem.remedy, rule=problem.rule)

    def _find_source_setting(self, place: str) -> str | None:
        """Return the setting that names a file or database of the source, or None."""
        options = {f"source.{name}": self.source.options.get(name) for name in ("path", "url")}
        fitting = (name for name, value in options.items() if value and redact_passwords(str(value)) == place)
        return next((name for name in fitting if name in self.positions), None)
