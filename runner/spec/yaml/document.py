"""A strict YAML parser that returns plain values and the place of each one.

Plain scalars are numbers, true, false or null much as in JSON (`True`, `TRUE`, `~` and empty text count too).
`on`, `no`, `1_0`, `010` and dates stay text as written. Tags, merge keys, duplicate keys, several documents and
alias bombs are errors.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from runner.errors import InputError, Problem
from runner.spec.redact import redact_passwords
from runner.spec.yaml.nodes import MAX_DEPTH, InvalidYaml, Node, Position, compose_nodes
from runner.spec.yaml.quoting import find_quote_reason, quote_values

MAX_BYTES = 1 << 20
MAX_NODES = 20_000

_MAX_REPAIRS = 20


Path = tuple[str | int, ...]


_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,299})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)\.[0-9]*|(0|[1-9][0-9]*)(?=[eE]))([eE][-+]?[0-9]+)?")


_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


_ENV = re.compile(r"\$\{env:([^}]*)\}")
_SECRET = re.compile(r"API_?KEY|ACCESS_?KEY|TOKEN(?!S)|SECRET|PASSW", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as plain values, with lines and columns counted from 1.

    `positions` maps each path, for example `("sinks", 0, "path")`, to where its value begins. `keys` maps each
    path to the place of its key. The text of a block scalar begins at its first line, with 0 as column.
    """

    value: Any
    positions: dict[Path, Position]
    keys: dict[Path, Position]


def may_be_secret(path: Path) -> bool:
    """Return whether a value may hold a secret: a database URL, or how a receiver of `notify` is reached.

    The first is recorded without its password, and the second is not recorded.
    """
    is_url = path[:1] in (("source",), ("sinks",)) and path[-1] == "url"
    # A receiver that is written as a text, with or without a list, is a URL too.
    is_receiver = len(path) <= len(("notify", 0))
    return is_url or (path[:1] == ("notify",) and (is_receiver or path[-1] in ("url", "secret", "apprise")))


@dataclass(slots=True)
class _Builder:
    environ: Mapping[str, str]
    positions: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)
    mistakes: list[tuple[Path, InvalidYaml]] = field(default_factory=list)
    node_count: int = 0
    value: Any = None

    def build(self, node: Node, path: Path) -> Any:
        self.node_count += 1 + len(node.text or "") // 1000
        if len(path) > MAX_DEPTH:
            raise InvalidYaml(
                f"nested deeper than {MAX_DEPTH} levels once its aliases are expanded", node.position
            )
        if self.node_count > MAX_NODES:
            raise InvalidYaml(f"more than {MAX_NODES:,} values once its aliases are expanded", node.position)
        self.positions[path] = node.position
        if node.text is not None:
            return self._build_scalar(node.text, node, path)
        if node.items is not None:
            return [self.build(item, (*path, index)) for index, item in enumerate(node.items)]
        return self._build_mapping(node.pairs or [], path)

    def _build_mapping(self, pairs: list[tuple[Node, Node]], path: Path) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key, item in pairs:
            name = key.text or ""
            if name == "<<" and key.is_plain:
                message = "YAML 1.2 has no merge key: write the values out"
                self.mistakes.append((path, InvalidYaml(message, key.position)))
                continue
            if name in value:
                message = f"duplicate key {name!r}: already on line {self.keys[(*path, name)][0]}"
                self.mistakes.append(((), InvalidYaml(message, key.position)))
                continue
            self.keys[(*path, name)] = key.position
            value[name] = self.build(item, (*path, name))
        return value

    def _build_scalar(self, text: str, node: Node, path: Path) -> Any:
        def resolve(match: re.Match[str]) -> str:
            message = _check_env(match[1], self.environ, allows_secret=may_be_secret(path))
            if message is None:
                return self.environ[match[1]]
            self.mistakes.append((path, InvalidYaml(f"{match[0]}{message}", node.position)))
            return match[0]

        expanded = _ENV.sub(resolve, text)
        return _resolve_plain_scalar(expanded) if node.is_plain else expanded


def _check_env(name: str, environ: Mapping[str, str], *, allows_secret: bool) -> str | None:
    """Return why the variable of a `${env:NAME}` cannot be used, as the end of a message, or None."""
    if _SECRET.search(name) and not allows_secret:
        return (
            " looks like a secret, and the values of a spec are stored unencrypted: "
            "remove it; the API key is read from the environment without being named in a spec"
        )
    if name not in environ:
        return f": the environment variable {name} is not set"
    try:
        environ[name].encode()
    except UnicodeEncodeError:
        return ": its value is not UTF-8 text"
    return None


def _resolve_plain_scalar(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _raise_input_error(path: str, message: str, place: Position) -> NoReturn:
    raise InputError([Problem(path, message, *place)])


def _decode(data: bytes, path: str) -> str:
    if len(data) > MAX_BYTES:
        _raise_input_error(
            path, f"larger than {MAX_BYTES:,} bytes: move the data to a file that the spec names", (0, 0)
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _raise_input_error(path, "not UTF-8 text", (data.count(b"\n", 0, error.start) + 1, 0))


def _build(text: str, environ: Mapping[str, str], path: str) -> _Builder | Problem:
    """Return the builder that has read a text, or the problem that ended the reading."""
    builder = _Builder(environ)
    try:
        builder.value = builder.build(compose_nodes(text), ())
    except InvalidYaml as error:
        return Problem(path, str(error), *error.position)
    return builder


def _quote_line(text: str, line: int, path: str) -> tuple[str, Problem] | None:
    """Return the text with quotes around the values at fault, on this line or the one before, and the problem."""
    lines = text.split("\n")
    for index in (line - 1, line - 2):
        if not 0 <= index < len(lines) or (reason := find_quote_reason(lines[index])) is None:
            continue
        quoted = quote_values(lines[index])
        if quoted != lines[index]:
            column = next(
                at for at, (old, new) in enumerate(zip(lines[index], quoted, strict=False), 1) if old != new
            )
            remedy = f"write `{redact_passwords(quoted.strip())}`"
            lines[index] = quoted
            return "\n".join(lines), Problem(path, f"{reason}: {remedy}", index + 1, column, remedy)
    return None


def read_yaml(
    data: bytes, *, path: str, environ: Mapping[str, str] | None = None
) -> tuple[Document, list[tuple[Path, Problem]]]:
    """Read one YAML document, and go on after mistakes that can be repaired.

    Each mistake comes with the path of the value at fault, () if none is. `data` is UTF-8 text, at most 1 MiB;
    `path` names the file in errors. Raises InputError if the rest cannot be read.
    """
    text, environ = _decode(data, path), os.environ if environ is None else environ
    problems: list[tuple[Path, Problem]] = []
    built = _build(text, environ, path)
    while isinstance(built, Problem):
        repaired = _quote_line(text, built.line, path) if len(problems) < _MAX_REPAIRS else None
        again = built if repaired is None else _build(repaired[0], environ, path)
        if repaired is None or (isinstance(again, Problem) and again.line <= repaired[1].line):
            raise InputError([*(one for _, one in problems), built])
        text, built = repaired[0], again
        problems.append(((), repaired[1]))
    problems += [(at, Problem(path, str(error), *error.position)) for at, error in built.mistakes]
    return Document(built.value, built.positions, built.keys), problems


def parse_yaml(data: bytes, *, path: str, environ: Mapping[str, str] | None = None) -> Document:
    """Read one YAML document strictly, and replace `${env:NAME}` from `environ` (default: os.environ).

    `data` and `path` are those of `read_yaml`. Raises InputError.
    """
    document, problems = read_yaml(data, path=path, environ=environ)
    if problems:
        raise InputError([problem for _, problem in problems])
    return document
