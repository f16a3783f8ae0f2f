"""Build a frozen Spec from a checked document: read files that it names, set defaults, convert units."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import InputError, Problem
from runner.files.regular import read_regular_file
from runner.spec.cross_field import BLOCK_SOURCES, check_cross_fields, parse_duration, parse_size
from runner.spec.output_schema import load_output_schema
from runner.spec.param_variables import fill_params
from runner.spec.schema_errors import check_document
from runner.spec.spec import (
    EDITABLE_KEYS,
    SELECTION_KEYS,
    Batch,
    Block,
    Check,
    Content,
    Limits,
    Output,
    Prompt,
    Retry,
    Sink,
    Source,
    Spec,
    Sync,
    Turn,
)
from runner.spec.yaml_document import Document, parse_yaml

_ALLOW_COMMENT = re.compile(r"#\s*runner:\s*allow\s+([a-z0-9_-]+(?:[\s,]+[a-z0-9_-]+)*)")


def spec_from_record(record: Mapping[str, Any], *, path: Path, root: Path) -> Spec:
    """Return the Spec of a run's snapshot, with the editable settings at their defaults."""
    output = {**record.get("output", {}), "schema": record.get("output_schema")}
    plain = {"sinks": [], **record, "output": output, "path": str(path), "root": str(root)}
    return msgspec.convert(plain, Spec, dec_hook=lambda kind, value: kind(value))


def restore_with_edits(record: Mapping[str, Any], *, current: Spec) -> Spec:
    """Return the Spec of a run's snapshot, with the editable settings of `current`, the current spec."""
    settings = {name: getattr(current, name) for name in EDITABLE_KEYS}
    recorded = spec_from_record(record, path=current.path, root=current.root)
    own = {name: getattr(current, name) for name in ("positions", "allow_at", "key_lines", "schema_path")}
    return replace(recorded, **own, **settings)


def compute_fingerprint(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a snapshot; the order of its keys does not matter."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def find_project_root(path: Path) -> Path:
    """Return the nearest folder above a spec that holds `prompts/` or `.runner/`, else its own folder."""
    # Links are not followed: a linked folder of specs belongs to the project that links to it.
    start = Path(os.path.abspath(path)).parent
    for folder in (start, *start.parents):
        if (folder / "prompts").is_dir() or (folder / ".runner").is_dir():
            return folder
    return start


def _build_content(value: Any) -> Content:
    return value if isinstance(value, str) else tuple(map(_build_block, value))


def _build_block(value: dict[str, Any]) -> str | Block:
    if value.keys() == {"type", "text"} and value["type"] == "text":
        return str(value["text"])
    given = next(name for name in BLOCK_SOURCES if name in value)
    own = {name: item for name, item in value.items() if name not in (*BLOCK_SOURCES, "type")}
    return Block(value["type"], given, value[given], **own)


def _build_prompt(value: dict[str, Any]) -> Prompt:
    turns = tuple(Turn(turn["role"], _build_content(turn["content"])) for turn in value.get("messages", ()))
    system, user = (_build_content(value[name]) if name in value else None for name in ("system", "user"))
    return Prompt(system, turns, user, value.get("cache"))


def _build_sink(value: dict[str, Any]) -> Sink:
    own = ("type", "rows", "columns", "types")
    options = {name: item for name, item in value.items() if name not in own}
    return Sink(value["type"], value.get("rows", "all"), value.get("columns"), options, value.get("types", {}))


def _build_source(value: dict[str, Any]) -> Source:
    options = {name: item for name, item in value.items() if name not in ("type", "key", *SELECTION_KEYS)}
    choice = {name: value[name] for name in SELECTION_KEYS if name in value}
    if "columns" in choice:
        choice["columns"] = tuple(choice["columns"])
    return Source(value["type"], value.get("key"), options, **choice)


def _build_retry(value: dict[str, Any]) -> Retry:
    brake = value.get("brake", Retry().brake)
    own = {"on": tuple(value.get("on", Retry().on)), "brake": None if brake == "off" else brake}
    return Retry(**{**value, **own})


def _build_output(value: dict[str, Any], schema: dict[str, Any] | None) -> Output:
    written = value.get("output", {})
    checks = [Check(one["check"], one.get("message", one["check"])) for one in written.get("checks", ())]
    own = {name: written.get(name) for name in ("tool", "parse", "pattern")}
    return Output(schema, **own, checks=tuple(checks), allow_empty=written.get("allow_empty", False))


def _schema_path(value: dict[str, Any]) -> str | None:
    written = value.get("output", {}).get("schema")
    return written if isinstance(written, str) else None


def _dotted_positions(document: Document) -> dict[str, tuple[int, int]]:
    return {".".join(map(str, path)): place for path, place in document.positions.items()}


def _find_allowed_rules(text: str) -> dict[int, tuple[str, ...]]:
    """Return the rules that comments allow, by line; a comment on its own line is for the next YAML line."""
    found: dict[int, tuple[str, ...]] = {}
    waiting: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        match = _ALLOW_COMMENT.search(line)
        names = tuple(re.split(r"[\s,]+", match[1])) if match else ()
        if line.lstrip().startswith("#"):
            waiting += names
        elif line.strip():
            found[number], waiting = (*waiting, *names), ()
    return {number: names for number, names in found.items() if names}


def _find_non_text_vars(vars: Mapping[str, str]) -> Iterator[str]:
    for name, value in vars.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            yield name


def _find_upstream_output(
    source: dict[str, Any], path: Path, shown: str, place: tuple[int, int], chain: tuple[Path, ...]
) -> tuple[str | None, list[Problem]]:
    """Return the outputs file of the spec that a run source names, or None, and the mistakes."""
    root, named, rows = find_project_root(path), source["spec"], source.get("rows", "succeeded")
    chain, other = (*chain, Path(os.path.realpath(path))), Path(os.path.realpath(root / named))
    if other in chain:
        names = " → ".join(one.name for one in (*chain, other))
        return None, [Problem(shown, f"source.spec: the specs refer to each other in a circle: {names}", *place)]
    try:
        upstream = load_spec(root / named, chain=chain)
    except InputError as error:
        return None, list(error.problems)
    if upstream.root != root:
        return None, [Problem(shown, f"source.spec: {named} belongs to another project, {upstream.root}", *place)]
    fitting = [sink for sink in upstream.sinks if sink.type == "jsonl" and sink.columns is None]
    fitting = [sink for sink in fitting if sink.rows in ("all", rows) and "://" not in sink.options["path"]]
    if not fitting:
        message = (
            f"source.spec: {named} needs a jsonl sink on this machine, without `columns`, "
            f"whose `rows` is all or {rows}"
        )
        return None, [Problem(shown, message, *place)]
    return str(fitting[0].options["path"]), []


def _check_vars(value: dict[str, Any], vars: Mapping[str, str]) -> list[Problem]:
    """Return the mistakes of variables given on the command line."""
    unknown = set(vars) - set(value.get("vars", ()))
    problems = [Problem("--var", f"the spec has no variable {name!r} under `vars`") for name in sorted(unknown)]
    return problems + [
        Problem("--var", f"the value of {name} is not UTF-8 text") for name in sorted(_find_non_text_vars(vars))
    ]


def _build_deadline(written: str | dict[str, Any] | None) -> dict[str, Any]:
    """Return the fields of Spec for a deadline, which is written as a time span or as a mapping."""
    if written is None:
        return {}
    deadline = {"within": written} if isinstance(written, str) else written
    return {"deadline": parse_duration(deadline["within"]), "is_deadline_hard": deadline.get("hard", False)}


def _build_settings(value: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of Spec that follow from the checked document alone."""
    batch = value.get("batch", {})
    same = ("name", "description", "params", "mode", "on_deadline", "canary", "reuse", "prices")
    return {
        **{name: value[name] for name in same if name in value},
        "prompt": _build_prompt(value["prompt"]),
        "schema_path": _schema_path(value),
        "sinks": tuple(_build_sink(sink) for sink in value["sinks"]),
        "batch": Batch(**{**batch, "max_bytes": parse_size(batch.get("max_bytes", Batch().max_bytes))}),
        "retry": _build_retry(value.get("retry", {})),
        **_build_deadline(value.get("deadline")),
        "limits": Limits(**value.get("limits", {})),
        "sync": Sync(**value.get("sync", {})),
        "betas": tuple(value.get("betas", ())),
        "tags": tuple(value.get("tags", ())),
        "allow": tuple(value.get("allow", ())),
    }


def load_spec(
    path: str | os.PathLike[str], *, vars: Mapping[str, str] | None = None, chain: tuple[Path, ...] = ()
) -> Spec:
    """Read and check a YAML spec, and the output schema or spec that it names; `vars` override its own.

    `chain` holds the specs that refer to this one. Raises InputError with every mistake and its line and column.
    """
    path, shown, vars = Path(path), str(path), vars or {}
    try:
        data = read_regular_file(path)
        document = parse_yaml(data, path=shown)
    except OSError as error:
        raise InputError([Problem(shown, f"cannot read the spec: {error.strerror}")]) from error
    document, unfilled = fill_params(document, vars, shown)
    if unfilled:
        raise InputError(unfilled)
    check_document(document, path=shown)
    value, places, root = document.value, _dotted_positions(document), find_project_root(path)
    schema, problems = load_output_schema(document, shown, root)
    problems += [Problem(shown, message, *places[at]) for at, message in check_cross_fields(value, path, root)]
    output = None
    if value["source"]["type"] == "run" and not problems:
        output, problems = _find_upstream_output(value["source"], path, shown, places["source.spec"], chain)
    problems += _check_vars(value, vars)
    if problems:
        raise InputError(sorted(problems, key=lambda problem: (problem.path, problem.line, problem.column)))
    return Spec(
        path=path,
        root=root,
        source=replace(_build_source(value["source"]), output=output),
        vars={**value.get("vars", {}), **vars},
        output=_build_output(value, schema),
        allow_at=_find_allowed_rules(data.decode("utf-8-sig")),
        key_lines={".".join(map(str, at)): line for at, (line, _) in document.keys.items()},
        positions=places,
        **_build_settings(value),
    )
