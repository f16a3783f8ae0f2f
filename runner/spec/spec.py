"""A spec as the rest of the program sees it: frozen, with every default filled in."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import Problem
from runner.spec.secrets import without_password

EDITABLE = (
    "description", "batch", "retry", "sinks", "mode", "deadline", "on_deadline", "canary", "reuse", "limits",
    "prices", "sync", "allow",
)  # fmt: skip
"""The settings that may be edited while a run is under way."""

CHOICE = ("columns", "types", "where", "sample", "seed", "limit")
"""The settings of a source that choose its rows and columns."""


@dataclass(frozen=True, slots=True)
class Block:
    """A content block that is more than text; what it holds are templates.

    `type` is text, document or image. `given` says how it is given: text, path, url, base64 or file_id; `value`
    is that. A path leads into `folder`, by default the project's. `cache` is the time to live of its cache mark.
    With `upload` its file goes through the Files API.
    """

    type: str
    given: str
    value: str
    title: str | None = None
    context: str | None = None
    citations: bool = False
    cache: str | None = None
    folder: str | None = None
    upload: bool = False

    def templates(self) -> Iterator[tuple[str, str]]:
        """The templates of the block by the names of its settings."""
        yield self.given, self.value
        for name in ("title", "context"):
            if (written := getattr(self, name)) is not None:
                yield name, written


Content = str | tuple[str | Block, ...]
"""One template sent as a string, or several blocks, of which those of plain text are strings."""


def block_place(at: str, index: int, name: str = "text") -> str:
    """The dotted path of a setting of one content block of the content at `at`."""
    return f"{at}.{index}.{name}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from. `options` are the settings of its type, as written.

    Taken are those that the expression `where` fits, of these a `sample` of so many rows, drawn by `seed`, and
    of these the first `limit`; of each the `columns`, all if there are none, their text read as `types` say.
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

    @property
    def path(self) -> str:
        """The file, glob or URL that rows are read from, a database's without its password."""
        if self.output is not None:
            return self.output
        return str(self.options["path"]) if "path" in self.options else without_password(str(self.options["url"]))

    @property
    def is_query(self) -> bool:
        """Whether only asking again can tell if the rows are still the same."""
        return "url" in self.options


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation: `role` is user or assistant."""

    role: str
    content: Content


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked; `cache` is the time to live of the system prompt's cache mark: 5m or 1h."""

    system: Content | None = None
    messages: tuple[Turn, ...] = ()
    user: Content | None = None
    cache: str | None = None

    def turns(self) -> Iterator[tuple[str, Turn]]:
        """The conversation in order, each turn's content with its dotted path in the spec."""
        for index, turn in enumerate(self.messages):
            yield f"prompt.messages.{index}.content", turn
        if self.user is not None:
            yield "prompt.user", Turn("user", self.user)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Every template as written, with its dotted path in the spec."""
        for at, content in self._contents():
            if isinstance(content, str):
                yield at, content
                continue
            for index, part in enumerate(content):
                templates = part.templates() if isinstance(part, Block) else [("text", part)]
                yield from ((block_place(at, index, name), text) for name, text in templates)

    def _contents(self) -> Iterator[tuple[str, Content]]:
        if self.system is not None:
            yield "prompt.system", self.system
        yield from ((at, turn.content) for at, turn in self.turns())

    def blocks(self) -> Iterator[Block]:
        """Every block that is more than text."""
        for _, content in self._contents():
            yield from (part for part in content if isinstance(part, Block))


@dataclass(frozen=True, slots=True)
class Check:
    """A Jinja expression that has to be true of an output, and what is said if it is not."""

    check: str
    message: str


@dataclass(frozen=True, slots=True)
class Output:
    """What an answer must be: valid against a JSON `schema`, and taken from the input of a tool, or from its text.

    `parse` is json, regex (with `pattern`) or lines; without it and without `tool` a schema is sent as
    output_config.format.
    """

    schema: dict[str, Any] | None = None
    tool: str | None = None
    parse: str | None = None
    pattern: str | None = None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Sink:
    """One output. `rows` is all, succeeded or failed; `columns` maps names to expressions, in order.

    `types` are those of its columns that are not as they follow from the expressions.
    """

    type: str
    rows: str
    columns: dict[str, str] | None
    options: dict[str, Any]
    types: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """How requests are packed (counts, bytes) and batches followed (seconds).

    `on_unknown` is ask or resubmit: what to do when no trace of a batch is found in `grace_seconds`.
    """

    max_requests: int = 10_000
    max_bytes: int = 200_000_000
    poll_seconds: float = 60
    grace_seconds: float = 900
    on_unknown: str = "ask"


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a row is sent at most, after which outcomes, and whether an invalid answer is shown again.

    A turn of server tools that paused goes on in the next round, up to round `max_rounds`.
    """

    attempts: int = 3
    on: tuple[str, ...] = ("errored", "expired", "invalid", "missing")
    repair: bool = False
    max_rounds: int = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may not exceed: US dollars, rows."""

    max_cost: float | None = None
    max_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Sync:
    """How requests are sent synchronously: `concurrency` is the most in flight."""

    concurrency: int = 8


@dataclass(frozen=True, slots=True)
class Spec:
    """One job, checked. Paths inside are relative to `root`, the project's folder.

    `mode` is batch, sync or auto, `deadline` seconds from a run's start, `prices` US dollars per million tokens.
    `places` says where each value stands in the file, by dotted path: `{"prompt.user": (line, column)}`;
    `key_lines` the lines of their keys, `allow_at` which rules are allowed by a comment, by the line that it is
    about.
    """

    path: Path
    root: Path
    name: str
    source: Source
    prompt: Prompt
    params: dict[str, Any]
    sinks: tuple[Sink, ...]
    description: str = ""
    vars: dict[str, Any] = field(default_factory=dict)
    output: Output = field(default_factory=Output)
    schema_path: str | None = None
    batch: Batch = field(default_factory=Batch)
    retry: Retry = field(default_factory=Retry)
    mode: str = "batch"
    deadline: float | None = None
    on_deadline: str = "sync"
    canary: int = 0
    reuse: bool = True
    limits: Limits = field(default_factory=Limits)
    prices: dict[str, float] = field(default_factory=dict)
    sync: Sync = field(default_factory=Sync)
    betas: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    allow_at: dict[int, tuple[str, ...]] = field(default_factory=dict)
    key_lines: dict[str, int] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def is_schema_sent(self) -> bool:
        """Whether answers are held to the schema by the API itself, as output_config.format."""
        return self.output.schema is not None and self.output.tool is None and self.output.parse is None

    def problem(self, at: str, message: str, *, line: int = 1) -> Problem:
        """A mistake in the value at the dotted path `at`; `line` counts inside a text of several lines."""
        first, column = self.places.get(at, (0, 0))
        # Of a text in quotes only the beginning is known: a line of it need not be one of the file.
        is_block = first > 0 and column == 0
        return Problem(str(self.path), message, first + line - 1 if is_block else first, column)

    def record(self) -> dict[str, Any]:
        """Everything that decides the requests and their outcomes, as plain values.

        What may be edited while a run is under way is left out: how it is described, followed and written.
        """
        record: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self, enc_hook=str))
        for name in ("path", "root", "places", "schema_path", "allow_at", "key_lines", *EDITABLE):
            del record[name]
        # As runs recorded it that were begun before there was anything else.
        record["output_schema"] = record["output"].pop("schema")
        if not any(record["output"].values()):
            del record["output"]
        for name in ("path", "url"):
            if name in self.source.options:
                record["source"]["options"][name] = without_password(str(self.source.options[name]))
        for name in (*CHOICE, "output"):
            if record["source"][name] in (0, None, [], {}):
                del record["source"][name]
        if not self.betas:
            # As runs recorded it that were begun before there were any.
            del record["betas"]
        return record
