"""Build the parts of a frozen Spec from a checked document: set defaults, convert units."""

from typing import Any

from runner.spec.cross_field import BLOCK_SOURCES, parse_duration, parse_size
from runner.spec.endpoint import Endpoint
from runner.spec.model_schema import is_model_reference
from runner.spec.prompt import Block, Content, Prompt, Turn
from runner.spec.run_settings import Batch, Limits, Receiver, Retry, Sync
from runner.spec.spec import (
    SELECTION_KEYS,
    Check,
    Evaluation,
    Output,
    Pilot,
    Sink,
    Source,
)
from runner.spec.structured.enforcement import choose_enforcement, find_schema_in_params


def _build_content(value: Any) -> Content:
    return value if isinstance(value, str) else tuple(map(_build_block, value))


def _build_block(value: dict[str, Any]) -> str | Block:
    if value.keys() == {"type", "text"} and value["type"] == "text":
        return str(value["text"])
    given = next(name for name in BLOCK_SOURCES if name in value)
    own = {name: item for name, item in value.items() if name not in (*BLOCK_SOURCES, "type")}
    if "pages" in own:
        own["pages"] = str(own["pages"])
    return Block(value["type"], given, value[given], **own)


def _build_prompt(value: dict[str, Any]) -> Prompt:
    turns = tuple(Turn(turn["role"], _build_content(turn["content"])) for turn in value.get("messages", ()))
    system, user = (_build_content(value[name]) if name in value else None for name in ("system", "user"))
    cache = value.get("cache", "auto")
    return Prompt(system, turns, user, None if cache == "off" else cache)


def _build_sink(value: dict[str, Any]) -> Sink:
    own = ("type", "rows", "columns", "types")
    options = {name: item for name, item in value.items() if name not in own}
    return Sink(value["type"], value.get("rows", "all"), value.get("columns"), options, value.get("types", {}))


def build_source(value: dict[str, Any]) -> Source:
    """Return the source of a spec."""
    options = {name: item for name, item in value.items() if name not in ("type", "key", *SELECTION_KEYS)}
    choice = {name: value[name] for name in SELECTION_KEYS if name in value}
    if "columns" in choice:
        choice["columns"] = tuple(choice["columns"])
    return Source(value["type"], value.get("key"), options, **choice)


def _build_retry(value: dict[str, Any]) -> Retry:
    brake = value.get("brake", Retry().brake)
    own = {"on": tuple(value.get("on", Retry().on)), "brake": None if brake == "off" else brake}
    return Retry(**{**value, **own})


def build_output(value: dict[str, Any], schema: dict[str, Any] | None) -> Output:
    """Return the output settings of a spec, with the schema that they name."""
    written = value.get("output", {})
    checks = [Check(one["check"], one.get("message", one["check"])) for one in written.get("checks", ())]
    own = {name: written.get(name) for name in ("tool", "parse", "pattern")}
    params, is_written = value["params"], schema is not None
    schema = find_schema_in_params(params, own["tool"], own["parse"]) if schema is None else schema
    if schema is not None:
        own.update(choose_enforcement(schema, written, params))
    has_own = not is_written and find_schema_in_params(params, own["tool"], own["parse"]) is not None
    allow_empty = written.get("allow_empty", False)
    return Output(schema, **own, checks=tuple(checks), allow_empty=allow_empty, is_schema_in_params=has_own)


def _schema_path(value: dict[str, Any]) -> str | None:
    written = value.get("output", {}).get("schema")
    return written if isinstance(written, str) and not is_model_reference(written) else None


def _build_deadline(written: str | dict[str, Any] | None) -> dict[str, Any]:
    """Return the fields of Spec for a deadline, which is written as a time span or as a mapping."""
    if written is None:
        return {}
    deadline = {"within": written} if isinstance(written, str) else written
    return {"deadline": parse_duration(deadline["within"]), "is_deadline_hard": deadline.get("hard", False)}


def _build_pilot(written: int | dict[str, Any] | None) -> dict[str, Any]:
    """Return the fields of Spec for a pilot, which is written as a number of rows or as a mapping."""
    if written is None:
        return {}
    pilot = {"rows": written} if isinstance(written, int) else dict(written)
    max_failed = pilot.pop("max_failed", None)
    return {"pilot": Pilot(**pilot), **({} if max_failed is None else {"max_failed_in_pilot": max_failed})}


def _build_receiver(written: dict[str, Any]) -> Receiver:
    own = {"on": tuple(written["on"]), "command": tuple(written.get("command", ()))}
    seconds = parse_duration(written["timeout"]) if "timeout" in written else Receiver(()).timeout
    return Receiver(**{**written, **own, "timeout": seconds})


def build_settings(value: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of Spec that follow from the checked document alone."""
    api, batch = Endpoint(**value.get("api", {})), value.get("batch", {})
    same = (
        "name", "description", "params", "mode", "on_deadline", "canary", "reuse", "prices", "labels", "manifest",
        "report",
    )  # fmt: skip
    return {
        **{name: value[name] for name in same if name in value},
        "prompt": _build_prompt(value["prompt"]),
        "schema_path": _schema_path(value),
        "evaluate": tuple(Evaluation(**one) for one in value.get("evaluate", ())),
        "sinks": tuple(_build_sink(sink) for sink in value["sinks"]),
        "api": api,
        "batch": Batch(**{**batch, "max_bytes": parse_size(batch.get("max_bytes", api.max_batch_bytes))}),
        "retry": _build_retry(value.get("retry", {})),
        **_build_deadline(value.get("deadline")),
        **_build_pilot(value.get("pilot")),
        "notify": tuple(map(_build_receiver, value.get("notify", ()))),
        "limits": Limits(**value.get("limits", {})),
        "sync": Sync(**value.get("sync", {})),
        "betas": tuple(value.get("betas", ())),
        "tags": tuple(value.get("tags", ())),
        "allow": tuple(value.get("allow", ())),
    }
