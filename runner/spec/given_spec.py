"""A spec that a Python program gives as a mapping or as YAML text, without a file."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import InputError, Problem
from runner.spec.spec import Spec

_NAME = "<spec>"
# Stands for the sinks of a mapping that has none: its program reads the result.
_NO_SINKS = [{"type": "jsonl", "path": "unused.jsonl"}]


def is_given(spec: Any) -> bool:
    """Return whether a spec is a mapping or YAML text, and not the path of a file."""
    return isinstance(spec, Mapping) or (isinstance(spec, str) and "\n" in spec)


def given_path(root: str | os.PathLike[str] | None) -> Path:
    """Return the path that a spec would have as a file in the folder `root`, by default the working folder."""
    return Path(root or "") / _NAME


def encode_given(spec: Mapping[str, Any] | str) -> bytes:
    """Return a given spec as YAML. Raises InputError for a value that is not plain.

    A mapping gets what a Python program need not write: the version, the type `rows`, and sinks.
    """
    if isinstance(spec, str):
        return spec.encode(errors="surrogatepass")
    source = spec.get("source", {})
    source = {"type": "rows", **source} if isinstance(source, Mapping) and "type" not in source else source
    complete = {"version": 1, **spec, "source": source, "sinks": spec.get("sinks") or _NO_SINKS}
    try:
        return msgspec.json.encode(complete, enc_hook=os.fspath)
    except (TypeError, ValueError, UnicodeEncodeError, RecursionError) as error:
        raise InputError([Problem(_NAME, f"not a mapping of plain values: {error}")]) from error


def without_lines(problems: list[Problem], path: Path) -> list[Problem]:
    """Return the mistakes of a mapping without lines, which it does not have."""
    return [replace(one, line=0, column=0) if one.path == str(path) else one for one in problems]


def finish_mapping(loaded: Spec, spec: Mapping[str, Any]) -> Spec:
    """Return the spec of a mapping, without lines, and without sinks if it has none."""
    nowhere, nothing = dict.fromkeys(loaded.positions, (0, 0)), dict.fromkeys(loaded.key_lines, 0)
    sinks = loaded.sinks if spec.get("sinks") else ()
    return replace(loaded, positions=nowhere, key_lines=nothing, sinks=sinks)
