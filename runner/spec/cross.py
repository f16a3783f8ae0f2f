"""What the JSON schema of a spec cannot say: how its parts fit together, and where its paths lead."""

import glob
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from types import NoneType
from typing import Any

GIVEN = ("path", "url", "base64", "file_id", "text")
"""How a document or image is given: exactly one of these."""

_MARKS = 4
_UNITS = {"KB": 1_000, "MB": 1_000_000, "B": 1}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_MAX_BYTES = 256_000_000
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def size_in_bytes(size: int | str) -> int:
    """A size as written, 200MB or a number of bytes, in bytes."""
    if isinstance(size, int):
        return size
    unit = next(unit for unit in _UNITS if size.endswith(unit))
    return int(Decimal(size.removesuffix(unit)) * _UNITS[unit])


def span_in_seconds(span: str) -> float:
    """A time span as written, 90m or 6h, in seconds."""
    return float(span[:-1]) * _SECONDS[span[-1]]


def _leaves(root: Path, folder: Path, path: str) -> bool:
    """Whether a relative path leads out of the project, also by a link; a linked folder of specs is part of it."""
    if Path(path).is_absolute():
        return False
    if not Path(_absolute(root, path)).is_relative_to(root):
        return True
    # Up to the first wildcard; whether what that matches leads out is seen when it is read.
    fixed = takewhile(lambda part: not glob.has_magic(part), Path(path).parts)
    real = root.joinpath(*fixed).resolve()
    return not any(real.is_relative_to(place.resolve()) for place in (root, folder))


def _absolute(root: Path, path: str) -> str:
    return os.path.normpath(root / path)


def _named_paths(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for at in ("spec", "path"):
        if at in value["source"]:
            yield f"source.{at}", value["source"][at]
    schema = value.get("output", {}).get("schema")
    if isinstance(schema, str):
        yield "output.schema", schema
    for index, sink in enumerate(value["sinks"]):
        if "path" in sink:
            yield f"sinks.{index}.path", sink["path"]


def cross_checks(value: dict[str, Any], path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """What the JSON schema cannot say, as (dotted path, message)."""
    for at, named in _named_paths(value):
        if "\0" in named:
            yield at, "a path cannot hold a NUL character"
        elif not _URL.match(named) and _leaves(root, path.parent, named):
            yield at, f"{named} leaves the project's folder {root}: write an absolute path if that is meant"
    yield from _blocks(value["prompt"])
    yield from _decimals("source", value["source"].get("types", {}))
    for index, sink in enumerate(value["sinks"]):
        yield from _decimals(f"sinks.{index}", sink.get("types", {}))
    if value["source"]["type"] == "sql" and ("path" in value["source"]) == ("url" in value["source"]):
        yield "source", "a query needs either the `path` of a SQLite file or the `url` of a database"
    for index, sink in enumerate(value["sinks"]):
        if sink["type"] == "sql" and ("path" in sink) == ("url" in sink):
            yield f"sinks.{index}", "a table is in either the `path` of a SQLite file or the `url` of a database"
    if "cache" in value["prompt"] and "system" not in value["prompt"]:
        yield "prompt.cache", "there is no system prompt to cache"
    output_config = value["params"].get("output_config")
    yield from _outputs(value.get("output", {}), value["params"])
    if not isinstance(output_config, dict | NoneType):
        yield "params.output_config", "must be a mapping"
    elif "schema" in value.get("output", {}) and output_config and "format" in output_config:
        yield "params.output_config.format", "output.schema is sent as this already: keep one of the two"
    if not 1 <= size_in_bytes(value.get("batch", {}).get("max_bytes", 1)) <= _MAX_BYTES:
        yield "batch.max_bytes", "must be from 1 byte to the 256MB that the API takes"


def _decimals(at: str, types: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Decimals that have more places than digits."""
    for name, written in types.items():
        match = re.fullmatch(r"decimal\((\d+),(\d+)\)", written)
        if match and int(match[2]) > int(match[1]):
            yield f"{at}.types.{name}", f"{written} has more decimal places than digits"


def _blocks(prompt: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How the settings of content blocks go together, and where blocks can stand."""
    turns = [
        (f"prompt.messages.{n}.content", t["role"], t["content"]) for n, t in enumerate(prompt.get("messages", ()))
    ]
    turns += [(f"prompt.{role}", role, prompt[role]) for role in ("system", "user") if role in prompt]
    marks = 1 if "cache" in prompt else 0
    for at, role, content in turns:
        for index, block in enumerate(content if isinstance(content, list) else ()):
            marks += "cache" in block
            if block["type"] == "text":
                continue
            given = [name for name in GIVEN if name in block]
            if role == "assistant":
                yield f"{at}.{index}", f"an {block['type']} cannot stand in a turn of the assistant"
            if len(given) != 1:
                yield f"{at}.{index}", f"needs exactly one of {', '.join(GIVEN)}"
            if block.get("upload") and "path" not in block:
                yield f"{at}.{index}.upload", "only a file with a `path` can be uploaded"
            if "folder" in block and "path" not in block:
                yield f"{at}.{index}.folder", "is where a `path` leads, and there is none"
    if marks > _MARKS:
        yield "prompt", f"has {marks} cache marks, and {_MARKS} is the most"


def _outputs(output: dict[str, Any], params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How the ways to take an output from an answer go together."""
    if "tool" in output and "parse" in output:
        yield "output.parse", "an output is the input of a tool or is parsed from text: keep one of the two"
    if ("pattern" in output) != (output.get("parse") == "regex"):
        yield "output", "`pattern` goes with `parse: regex`, and is needed there"
    tools = params.get("tools")
    named = [tool.get("name") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    if "tool" in output and "schema" not in output and output["tool"] not in named:
        yield (
            "output.tool",
            f"params.tools has no {output['tool']}: define it there, or give its input as output.schema",
        )
