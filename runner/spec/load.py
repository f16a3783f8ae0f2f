"""A checked document becomes a frozen Spec: files named by it are found, defaults filled in, sizes in bytes."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path, PurePath
from types import NoneType
from typing import Any, NoReturn

import msgspec

from runner.errors import InputError, Problem
from runner.spec.check import check, schema_mistake
from runner.spec.document import Document, parse

_UNITS = {"KB": 1_000, "MB": 1_000_000, "B": 1}

_EDITABLE = ("description", "batch", "retry", "sinks")

Content = str | tuple[str, ...]
"""One template sent as a string, or several sent as text blocks."""


def block_place(at: str, index: int) -> str:
    """The dotted path of the text of one content block of the content at `at`."""
    return f"{at}.{index}.text"


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from. `options` are the settings of its type, as written."""

    type: str
    key: str | None
    options: dict[str, Any]


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
        contents = [("prompt.system", self.system)] if self.system is not None else []
        contents += [(at, turn.content) for at, turn in self.turns()]
        for at, content in contents:
            if isinstance(content, str):
                yield at, content
            else:
                yield from ((block_place(at, index), text) for index, text in enumerate(content))


@dataclass(frozen=True, slots=True)
class Sink:
    """One output. `rows` is all, succeeded or failed; `columns` maps names to expressions, in order."""

    type: str
    rows: str
    columns: dict[str, str] | None
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """How requests are packed (counts, bytes) and how batches are followed (seconds)."""

    max_requests: int = 10_000
    max_bytes: int = 200_000_000
    poll_seconds: float = 60
    grace_seconds: float = 900


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a row is sent at most, and after which outcomes it is sent again."""

    attempts: int = 3
    on: tuple[str, ...] = ("errored", "expired", "invalid", "missing")


@dataclass(frozen=True, slots=True)
class Spec:
    """One job, checked. Paths inside are relative to `root`, the project's folder.

    `places` says where each value stands in the file, by dotted path: `{"prompt.user": (line, column)}`.
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
    output_schema: dict[str, Any] | None = None
    batch: Batch = field(default_factory=Batch)
    retry: Retry = field(default_factory=Retry)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)

    def problem(self, at: str, message: str, *, line: int = 1) -> Problem:
        """A mistake in the value at the dotted path `at`; `line` counts inside a text of several lines."""
        first, column = self.places.get(at, (0, 0))
        return Problem(str(self.path), message, first + line - 1 if first else 0, column if line == 1 else 0)

    def record(self) -> dict[str, Any]:
        """Everything that decides the requests and their outcomes, as plain values.

        What may be edited while a run is under way is left out: how it is described, followed and written.
        """
        record: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self, enc_hook=str))
        for name in ("path", "root", "places", *_EDITABLE):
            del record[name]
        return record


def from_record(record: Mapping[str, Any], *, like: Spec) -> Spec:
    """The Spec that a run recorded, with the folders and the editable settings of `like`."""
    rest = {name: getattr(like, name) for name in _EDITABLE}
    plain = {
        **msgspec.to_builtins(rest),
        **record,
        "path": str(like.path),
        "root": str(like.root),
        "places": like.places,
    }
    return msgspec.convert(plain, Spec, dec_hook=lambda kind, value: kind(value))


def fingerprint(record: Mapping[str, Any]) -> str:
    """The SHA-256 of a record, whatever the order of its keys."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def project_root(path: Path) -> Path:
    """The nearest folder above a spec that holds `prompts/` or `.runner/`, else the spec's own folder."""
    # Links are not followed: a linked folder of specs belongs to the project that it is linked into.
    start = Path(os.path.abspath(path)).parent
    for folder in (start, *start.parents):
        if (folder / "prompts").is_dir() or (folder / ".runner").is_dir():
            return folder
    return start


def _bytes(size: int | str) -> int:
    if isinstance(size, int):
        return size
    unit = next(unit for unit in _UNITS if size.endswith(unit))
    return int(Decimal(size.removesuffix(unit)) * _UNITS[unit])


def _leaves(root: Path, path: str) -> bool:
    return not Path(path).is_absolute() and not Path(_absolute(root, path)).is_relative_to(root)


def _absolute(root: Path, path: str) -> str:
    return os.path.normpath(root / path)


def _content(value: Any) -> Content:
    return value if isinstance(value, str) else tuple(block["text"] for block in value)


def _prompt(value: dict[str, Any]) -> Prompt:
    turns = tuple(Turn(turn["role"], _content(turn["content"])) for turn in value.get("messages", ()))
    system, user = (_content(value[name]) if name in value else None for name in ("system", "user"))
    return Prompt(system, turns, user, value.get("cache"))


def _sink(value: dict[str, Any]) -> Sink:
    options = {name: item for name, item in value.items() if name not in ("type", "rows", "columns")}
    return Sink(value["type"], value.get("rows", "all"), value.get("columns"), options)


def _source(value: dict[str, Any]) -> Source:
    options = {name: item for name, item in value.items() if name not in ("type", "key")}
    return Source(value["type"], value.get("key"), options)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the key {name!r} stands twice in one object")
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read_schema(path: str, root: Path) -> Any:
    """The content of a JSON file. Raises InputError with its line."""
    try:
        text = (root / path).read_bytes().decode()
        schema = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        json.dumps(schema, ensure_ascii=False).encode()
    except OSError as error:
        raise InputError([Problem(path, f"cannot read: {error.strerror}")]) from error
    except json.JSONDecodeError as error:
        raise InputError([Problem(path, f"not JSON: {error.msg}", error.lineno, error.colno)]) from error
    except (ValueError, RecursionError) as error:
        raise InputError([Problem(path, f"not usable as JSON: {error}")]) from error
    return schema


def _schema(document: Document, shown: str, root: Path) -> tuple[dict[str, Any] | None, list[Problem]]:
    """The output schema, if there is one, and what is wrong with it."""
    if "output" not in document.value:
        return None, []
    schema = document.value["output"]["schema"]
    place = Problem(shown, "", *document.places["output", "schema"])
    if isinstance(schema, str):
        if "\0" in schema:
            return None, []
        try:
            place, schema = Problem(schema, ""), _read_schema(schema, root)
        except InputError as error:
            here = Problem(shown, f"output.schema: {error}", *document.places["output", "schema"])
            return None, [here if isinstance(error.__cause__, OSError) else error.problems[0]]
    mistake = schema_mistake(schema)
    if mistake is None:
        return schema, []
    at = "output.schema: " if place.line else ""
    return None, [replace(place, message=f"{at}{mistake}")]


def _named_paths(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "source.path", value["source"]["path"]
    schema = value.get("output", {}).get("schema")
    if isinstance(schema, str):
        yield "output.schema", schema
    for index, sink in enumerate(value["sinks"]):
        yield f"sinks.{index}.path", sink["path"]


def _cross_checks(value: dict[str, Any], path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """What the JSON schema cannot say, as (dotted path, message)."""
    for at, named in _named_paths(value):
        if "\0" in named:
            yield at, "a path cannot hold a NUL character"
        elif _leaves(root, named):
            yield at, f"{named} leaves the project's folder {root}: write an absolute path if that is meant"
    if "cache" in value["prompt"] and "system" not in value["prompt"]:
        yield "prompt.cache", "there is no system prompt to cache"
    output_config = value["params"].get("output_config")
    if not isinstance(output_config, dict | NoneType):
        yield "params.output_config", "must be a mapping"
    elif "output" in value and output_config and "format" in output_config:
        yield "params.output_config.format", "output.schema is sent as this already: keep one of the two"
    if not 1 <= _bytes(value.get("batch", {}).get("max_bytes", 1)) <= 256_000_000:
        yield "batch.max_bytes", "must be from 1 byte to the 256MB that the API takes"
    yield from _overwriting(value, path, root)


def _overwriting(value: dict[str, Any], path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Sinks that would write over an input, or over each other."""
    taken = {_absolute(root, named): at for at, named in _named_paths(value) if not at.startswith("sinks")}
    taken |= {os.path.abspath(path): "the spec itself", str(root): "the project's folder"}
    for index, sink in enumerate(value["sinks"]):
        place = _absolute(root, sink["path"])
        is_input = PurePath(place).match(_absolute(root, value["source"]["path"]))
        owner = "source.path" if is_input else taken.get(place)
        if owner is not None:
            yield f"sinks.{index}.path", f"{sink['path']} would overwrite {owner}"
        taken[place] = f"sinks.{index}"


def _dotted(document: Document) -> dict[str, tuple[int, int]]:
    return {".".join(map(str, path)): place for path, place in document.places.items()}


def load_spec(path: str | os.PathLike[str], *, vars: Mapping[str, str] | None = None) -> Spec:
    """Read and check a YAML spec and the output schema that it names; `vars` override the spec's own.

    Raises InputError with every mistake and its line and column.
    """
    path, shown = Path(path), str(path)
    try:
        document = parse(path.read_bytes(), path=shown)
    except OSError as error:
        raise InputError([Problem(shown, f"cannot read the spec: {error.strerror}")]) from error
    check(document, path=shown)
    value, places, root = document.value, _dotted(document), project_root(path)
    schema, problems = _schema(document, shown, root)
    problems += [Problem(shown, message, *places[at]) for at, message in _cross_checks(value, path, root)]
    unknown = set(vars or ()) - set(value.get("vars", ()))
    problems += [Problem("--var", f"the spec has no variable {name!r} under `vars`") for name in sorted(unknown)]
    if problems:
        raise InputError(sorted(problems, key=lambda problem: (problem.path, problem.line, problem.column)))
    batch = value.get("batch", {})
    retry = value.get("retry", {})
    return Spec(
        path=path,
        root=root,
        name=value["name"],
        description=value.get("description", ""),
        source=_source(value["source"]),
        vars={**value.get("vars", {}), **(vars or {})},
        prompt=_prompt(value["prompt"]),
        params=value["params"],
        output_schema=schema,
        sinks=tuple(_sink(sink) for sink in value["sinks"]),
        batch=Batch(**{**batch, "max_bytes": _bytes(batch.get("max_bytes", Batch().max_bytes))}),
        retry=Retry(retry.get("attempts", Retry().attempts), tuple(retry.get("on", Retry().on))),
        places=places,
    )
