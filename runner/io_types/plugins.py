"""Types of sources and sinks from other packages, found by their entry points.

An entry point in the group `runner.sources` or `runner.sinks` names a function, or a SourceType or SinkType.
Installed packages are searched only for a type that is not built in.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from runner.io_types.schema_variants import Variant, build_sink_variant, build_source_variant, find_section
from runner.io_types.types import SinkType, SourceType

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

SOURCE_GROUP, SINK_GROUP = "runner.sources", "runner.sinks"


GROUPS = {"source": SOURCE_GROUP, "sinks": SINK_GROUP}
"""The entry points of the types in each section of a spec."""


T = TypeVar("T", SourceType, SinkType)


SchemaPath = tuple[str | int, ...]
"""The place of a value in a document: keys and indexes."""


@cache
def _find_entry_points(group: str) -> "EntryPoints":
    from importlib.metadata import entry_points

    return entry_points(group=group)


def _describe(point: "EntryPoint") -> str:
    package = f" of the package {point.dist.name}" if point.dist is not None else ""
    return f"the entry point {point.name} = {point.value} in {point.group}{package}"


def describe_plugin(group: str, name: str) -> str:
    """Return the entry point and the package of a type, for a message; empty for a built-in type."""
    return next((_describe(point) for point in _find_entry_points(group) if point.name == name), "")


def load_plugin(group: str, name: str, kind: type[T], built_in: Collection[str]) -> T | None:
    """Return the type that an installed package registers under `name`, or None.

    Raises ValueError for an entry point that cannot be used, or that has the name of a built-in type.
    """
    points = _find_entry_points(group)
    for point in points:
        if point.name in built_in:
            raise ValueError(
                f"{_describe(point)} has the name of a built-in type: rename it or uninstall its package"
            )
    found = [point for point in points if point.name == name]
    if len(found) > 1:
        raise ValueError(
            f"{_describe(found[0])} and {_describe(found[1])} have the same name: uninstall a package"
        )
    return _load(found[0], kind) if found else None


def _load(point: "EntryPoint", kind: type[T]) -> T:
    try:
        loaded = point.load()
    except Exception as error:
        # A module of another package can raise any exception.
        raise ValueError(f"{_describe(point)} cannot be imported: {type(error).__name__}: {error}") from error
    if isinstance(loaded, kind):
        return loaded
    if not callable(loaded) or isinstance(loaded, SourceType | SinkType):
        raise ValueError(f"{_describe(point)} is neither a function nor a {kind.__name__}")
    return kind(loaded)


def _find_used_types(value: Any) -> Iterator[tuple[str, SchemaPath, str]]:
    """Yield the section, the place and the name of each type that a document names."""
    document = value if isinstance(value, dict) else {}
    sinks = document.get("sinks")
    parts: list[tuple[str, SchemaPath, Any]] = [("source", ("source", "type"), document.get("source"))]
    for index, sink in enumerate(sinks if isinstance(sinks, list) else ()):
        parts.append(("sinks", ("sinks", index, "type"), sink))
    for section, at, part in parts:
        if isinstance(part, dict) and isinstance(part.get("type"), str):
            yield section, at, part["type"]


FindSchemaError = Callable[[Variant], str | None]
"""Returns why a value is not a valid JSON schema, or None if it is one."""


def _build_variant(
    section: str,
    name: str,
    schema: Mapping[str, Any],
    built_in: Collection[str],
    find_schema_error: FindSchemaError,
) -> Variant | None:
    """Return the variant of a type of another package, or None. Raises ValueError."""
    kind: SourceType | SinkType | None
    if section == "source":
        kind = load_plugin(SOURCE_GROUP, name, SourceType, built_in)
    else:
        kind = load_plugin(SINK_GROUP, name, SinkType, built_in)
    if kind is None:
        return None
    try:
        if isinstance(kind, SourceType):
            variant = build_source_variant(name, kind, schema)
        else:
            variant = build_sink_variant(name, kind, schema)
        if (wrong := find_schema_error(variant["then"])) is not None:
            raise ValueError(wrong)
    except Exception as error:
        # An annotation written as text is code of another package: it can raise any exception.
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        message = f"the settings of {describe_plugin(GROUPS[section], name)} cannot be read: {reason}"
        raise ValueError(message) from error
    return variant


def add_all_plugins(schema: Mapping[str, Any], find_schema_error: FindSchemaError) -> None:
    """Add to `schema` all installed types of other packages that can be used."""
    for section, group in GROUPS.items():
        part = find_section(schema, section)
        names = part["properties"]["type"]["enum"]
        for name in sorted({point.name for point in _find_entry_points(group)}.difference(names)):
            with suppress(ValueError):
                if (variant := _build_variant(section, name, schema, (), find_schema_error)) is not None:
                    names.append(name)
                    part["allOf"].append(variant)


def add_plugins(
    schema: Mapping[str, Any], value: Any, find_schema_error: FindSchemaError
) -> Iterator[tuple[SchemaPath, str]]:
    """Add to `schema` the types of other packages that a document uses; yield the mistakes by place."""
    parts = {section: find_section(schema, section) for section in GROUPS}
    built_in = {section: tuple(part["properties"]["type"]["enum"]) for section, part in parts.items()}
    for section, at, name in _find_used_types(value):
        if name in built_in[section]:
            continue
        part = parts[section]
        names = part["properties"]["type"]["enum"]
        names += sorted({point.name for point in _find_entry_points(GROUPS[section])}.difference(names))
        try:
            variant = _build_variant(section, name, schema, built_in[section], find_schema_error)
        except ValueError as error:
            yield at, str(error)
        else:
            part["allOf"] += [] if variant is None else [variant]
