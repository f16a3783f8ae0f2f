"""Checks of a spec beyond its JSON schema: combinations of settings, and paths outside the project."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from types import NoneType
from typing import Any

from runner.io_types.types import DESTINATIONS
from runner.spec.endpoint import check_endpoint
from runner.spec.model_schema import is_model_reference
from runner.spec.page_ranges import parse_page_ranges
from runner.spec.prompt import CACHE_TTLS
from runner.spec.receivers import check_receivers
from runner.spec.structured.enforcement import find_schema_in_params

BLOCK_SOURCES = ("path", "url", "base64", "file_id", "text")
"""The settings that give the content of a document or image; exactly one of them is set."""


_MAX_CACHE_MARKS = 4


_UNITS = {"KB": 1_000, "MB": 1_000_000, "B": 1}


_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


_MAX_BYTES = 256_000_000


_HOME = re.compile(r"~(?=/|$)|\$HOME\b|\$\{HOME\}")


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def parse_size(size: int | str) -> int:
    """Return a size in bytes; it is written as a number of bytes, or as 200MB."""
    if isinstance(size, int):
        return size
    unit = next(unit for unit in _UNITS if size.endswith(unit))
    return int(Decimal(size.removesuffix(unit)) * _UNITS[unit])


def parse_duration(duration: str) -> float:
    """Return a time span, written as 90m or 6h, in seconds."""
    return float(duration[:-1]) * _SECONDS[duration[-1]]


def _leads_outside(root: Path, folder: Path, path: str) -> bool:
    """Return whether a relative path is outside the project, also after following links.

    A linked folder of specs counts as part of the project.
    """
    if Path(path).is_absolute():
        return False
    if not Path(_to_absolute(root, path)).is_relative_to(root):
        return True
    # Up to the first wildcard: the matches of a wildcard are checked when they are read.
    fixed = takewhile(lambda part: not glob.has_magic(part), Path(path).parts)
    real = root.joinpath(*fixed).resolve()
    return not any(real.is_relative_to(place.resolve()) for place in (root, folder))


def _to_absolute(root: Path, path: str) -> str:
    return os.path.normpath(root / path)


def _find_paths(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for at in ("spec", "path"):
        if at in value["source"]:
            yield f"source.{at}", value["source"][at]
    schema = value.get("output", {}).get("schema")
    if isinstance(schema, str) and not is_model_reference(schema):
        yield "output.schema", schema
    for index, sink in enumerate(value["sinks"]):
        if "path" in sink:
            yield f"sinks.{index}.path", sink["path"]
    for at in ("manifest", "report"):
        if at in value:
            yield at, value[at]


def find_home_paths(value: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the paths that use `~` or `$HOME` as a shell does, as (dotted path, message, what is meant)."""
    for at, named in _find_paths(value):
        if match := _HOME.match(named):
            written = f"${{env:HOME}}{named[match.end() :]}"
            message = f'{at}: {match[0]} is not expanded in a spec: write "{written}", with its quotes'
            yield at, message, os.path.expanduser(f"~{named[match.end() :]}")  # noqa: PTH111 - not yet a path


def check_cross_fields(value: dict[str, Any], path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Yield the mistakes that the JSON schema cannot express, as (dotted path, message)."""
    for at, named in _find_paths(value):
        if "\0" in named:
            yield at, "a path cannot contain a NUL character"
        elif not _URL.match(named) and _leads_outside(root, path.parent, named):
            yield at, f"{named} is outside the project folder {root}: if intended, use an absolute path"
    yield from check_endpoint(value.get("api", {}))
    yield from _check_blocks(value["prompt"])
    yield from _check_evaluations(value.get("evaluate", ()))
    yield from check_receivers(value.get("notify", ()), has_cap="max_cost" in value.get("limits", {}))
    yield from _check_decimals("source", value["source"].get("types", {}))
    if value["source"]["type"] == "sql" and ("path" in value["source"]) == ("url" in value["source"]):
        yield "source", "a query needs exactly one of `path` (a SQLite file) and `url` (a database)"
    yield from _check_manifest(value)
    yield from _check_sinks(value["sinks"], has_evaluations="evaluate" in value)
    if value["prompt"].get("cache") in CACHE_TTLS and "system" not in value["prompt"]:
        yield "prompt.cache", "there is no system prompt to cache: add prompt.system or remove `cache`"
    output_config = value["params"].get("output_config")
    yield from _check_outputs(value.get("output", {}), value["params"])
    if not isinstance(output_config, dict | NoneType):
        yield "params.output_config", "params.output_config must be a mapping"
    elif "schema" in value.get("output", {}) and output_config and "format" in output_config:
        yield (
            "params.output_config.format",
            "output.schema is already sent as output_config.format: remove one of the two",
        )
    if not 1 <= parse_size(value.get("batch", {}).get("max_bytes", 1)) <= _MAX_BYTES:
        yield "batch.max_bytes", "batch.max_bytes must be between 1 byte and 256MB, the API's limit"


def _check_manifest(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the mistake of a manifest that cannot be a file on this machine of its own."""
    written = value.get("manifest", "")
    if _URL.match(written):
        yield "manifest", "a manifest is a file on this machine: name its path"
    elif written and any(
        os.path.normpath(one.get("path", "")) == os.path.normpath(written) for one in value["sinks"]
    ):
        yield "manifest", f"{written} is also the path of a sink"


def _check_sinks(sinks: Sequence[dict[str, Any]], *, has_evaluations: bool) -> Iterator[tuple[str, str]]:
    """Yield the mistakes in the types of columns, in the places of sinks, and in the rows that they ask for."""
    for index, sink in enumerate(sinks):
        yield from _check_decimals(f"sinks.{index}", sink.get("types", {}))
        if sum(name in sink for name in DESTINATIONS) != 1:
            names = " and ".join(f"`{name}`" for name in DESTINATIONS)
            yield f"sinks.{index}", f"a {sink['type']} sink needs exactly one of {names}"
        if sink.get("rows") == "wrong" and not has_evaluations:
            yield f"sinks.{index}.rows", "`rows: wrong` needs `evaluate`, which tells what is wrong"


def _check_evaluations(evaluations: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the evaluations with a name that is taken, and those that compare in two ways."""
    names = [one["name"] for one in evaluations]
    for index, one in enumerate(evaluations):
        if one["name"] in names[:index]:
            yield f"evaluate.{index}.name", f"the name {one['name']!r} is already used by another evaluation"
        if "match" in one and "within" in one:
            message = "`match` and `within` exclude each other: `within` compares numbers"
            yield f"evaluate.{index}.match", message


def _check_decimals(at: str, types: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield a mistake for each decimal type with more decimal places than digits."""
    for name, written in types.items():
        match = re.fullmatch(r"decimal\((\d+),(\d+)\)", written)
        if match and int(match[2]) > int(match[1]):
            yield f"{at}.types.{name}", f"{written} has more decimal places than digits"


def _check_blocks(prompt: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the mistakes in the settings of content blocks, and in where blocks are used."""
    turns = [
        (f"prompt.messages.{n}.content", t["role"], t["content"]) for n, t in enumerate(prompt.get("messages", ()))
    ]
    turns += [(f"prompt.{role}", role, prompt[role]) for role in ("system", "user") if role in prompt]
    marks = int(prompt.get("cache") in CACHE_TTLS)
    for at, role, content in turns:
        for index, block in enumerate(content if isinstance(content, list) else ()):
            marks += "cache" in block
            if block["type"] == "text":
                continue
            given = [name for name in BLOCK_SOURCES if name in block]
            if role == "assistant":
                yield f"{at}.{index}", f"an assistant turn cannot contain a block of type {block['type']}"
            if len(given) != 1:
                yield f"{at}.{index}", f"the {block['type']} needs exactly one of {', '.join(BLOCK_SOURCES)}"
            yield from ((f"{at}.{index}.{name}", message) for name, message in _check_file_settings(block))
    if marks > _MAX_CACHE_MARKS:
        yield "prompt", f"the prompt has {marks} cache marks; the API accepts at most {_MAX_CACHE_MARKS}"


def _check_enforcement(output: dict[str, Any], params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the conflicts of `enforce` with the other settings of an output."""
    way = output.get("enforce")
    if way is None:
        return
    if "schema" not in output and find_schema_in_params(params, output.get("tool"), output.get("parse")) is None:
        yield "output.enforce", "there is no schema to enforce: set `output.schema`, or remove `enforce`"
    for other in ("tool", "parse"):
        is_same = (way, other, output.get(other)) == ("here", "parse", "json") or (way, other) == ("tool", "tool")
        if other in output and not is_same:
            yield "output.enforce", f"`enforce: {way}` and `{other}` ask for the output in two ways: remove one"


def _check_file_settings(block: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (setting, mistake) for the settings of a block that need a file."""
    if block.get("upload") and "path" not in block:
        yield "upload", "`upload` needs a `path`: only a file named by one can be uploaded"
    if "folder" in block and "path" not in block:
        yield "folder", "`folder` needs a `path`, and this block has none"
    for name in ("pages", "convert"):
        if block.get(name) and not block.keys() & {"path", "base64"}:
            yield name, f"`{name}` needs a `path` or `base64`: other content is not opened before it is sent"
    if block.get("convert") and block.get("upload"):
        yield "convert", "`upload` sends images as they are: remove it or `convert`"
    if "pages" in block:
        yield from (("pages", message) for message in _check_pages(block))


def _check_pages(block: dict[str, Any]) -> Iterator[str]:
    if block["type"] == "image" and not block.get("convert"):
        yield "`pages` of an image need `convert: true` in its block"
    if "{" not in (written := str(block["pages"])):
        try:
            parse_page_ranges(written)
        except ValueError as error:
            yield str(error)


def _check_outputs(output: dict[str, Any], params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the conflicts between the settings that extract an output from an answer."""
    if "tool" in output and "parse" in output:
        yield "output.parse", "an output is the input of a tool or parsed from text: remove `tool` or `parse`"
    yield from _check_enforcement(output, params)
    if ("pattern" in output) != (output.get("parse") == "regex"):
        yield "output", "`pattern` and `parse: regex` need each other: set both or neither"
    tools = params.get("tools")
    named = [tool.get("name") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    if "tool" in output and "schema" not in output and output["tool"] not in named:
        yield (
            "output.tool",
            f"params.tools does not define {output['tool']}: define it there, or set output.schema",
        )
