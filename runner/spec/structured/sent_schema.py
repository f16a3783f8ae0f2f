"""Turn a JSON schema into one that structured outputs take, with the rest of its constraints in descriptions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runner.spec.structured.merge import ANNOTATIONS, merge_schemas
from runner.spec.structured.references import (
    find_definition,
    find_recursion,
    resolve_reference,
)
from runner.spec.structured.supported import (
    ALTERNATIVES,
    IGNORED,
    MAX_OPTIONAL,
    MAX_UNIONS,
    count_optional,
    count_unions,
    is_supported,
    list_types,
)

_SHAPES = ("type", "properties", "items", "enum", "const", "$ref", "allOf", "anyOf", "oneOf")

_MAX_PARTS = 5_000

Path = tuple[str, ...]


class Obstacle(NamedTuple):
    """A part of a schema that structured outputs cannot enforce; `is_doubtful` if no certain source says so."""

    path: Path
    what: str
    is_doubtful: bool = False

    def __str__(self) -> str:
        return f"{self.what} at {'/'.join(('#', *self.path))}" if self.path else self.what


class SentSchema(NamedTuple):
    """A schema to send, and how it differs from the one that was written.

    `moved` holds the (path, keyword) of each constraint that its descriptions state and the API does not enforce;
    `closed` the paths of objects that got `additionalProperties: false`. With `obstacles`, it cannot be sent.
    """

    schema: dict[str, Any]
    moved: tuple[tuple[Path, str], ...]
    closed: tuple[Path, ...]
    obstacles: tuple[Obstacle, ...]


def make_sent_schema(schema: dict[str, Any]) -> SentSchema:
    """Return a schema in the form that structured outputs take.

    It accepts each answer that the written one accepts, but for further properties of objects.
    """
    return _Transform(schema).run()


def make_tool_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema for the input of a tool: with `type` at its root, where a reference cannot be."""
    if not schema.keys() & {"$ref", "allOf"} and "type" in schema:
        return schema
    return _Transform(schema).unfold_root()


def _is_plain_reference(schema: Mapping[str, Any]) -> bool:
    """Return whether a part is only a reference to a definition, which can be sent as it is."""
    others = schema.keys() - {"$ref", "title", "default", *IGNORED}
    return "$ref" in schema and not others and find_definition(schema["$ref"]) is not None


class _Transform:
    """One pass over a schema, which notes what it moves, closes and cannot send."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.moved: list[tuple[Path, str]] = []
        self.closed: list[Path] = []
        self.obstacles: list[Obstacle] = []
        self.wanted: list[str] = []
        self.parts = 0

    def run(self) -> SentSchema:
        sent = self._send(self.root, (), ("#",))
        definitions: dict[str, dict[str, Any]] = {}
        for reference in self.wanted:  # grows while definitions refer to others
            keyword, name = reference.split("/")[1:]
            part = resolve_reference(self.root, reference)
            definitions.setdefault(keyword, {})[name] = self._send(part, (keyword, name), ("#", reference))
        sent = self._place_definitions(sent, definitions)
        for reference in find_recursion(sent):
            self._refuse(tuple(reference.split("/")[1:]), "a definition that refers to itself")
        for count, most, what in (
            (count_optional(sent), MAX_OPTIONAL, "optional properties"),
            (count_unions(sent), MAX_UNIONS, "unions"),
        ):
            if count > most:
                self._refuse((), f"{count} {what}, where {most} are the most,")
        return SentSchema(sent, tuple(self.moved), tuple(self.closed), tuple(dict.fromkeys(self.obstacles)))

    def _place_definitions(
        self, sent: dict[str, Any], definitions: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return the root with its definitions and `$schema` where they were written.

        A request that differs in a byte from one of an earlier run is paid again.
        """
        sent = {**sent, **{name: self.root[name] for name in ("$schema",) if name in self.root}}
        places = dict.fromkeys(name for name in self.root if name in sent or name in definitions)
        ordered = {
            keyword: {name: found[name] for name in self.root[keyword] if name in found}
            for keyword, found in definitions.items()
        }
        return {**places, **sent, **ordered}

    def unfold_root(self) -> dict[str, Any]:
        """Return the schema with the reference and the `allOf` of its root merged into it."""
        merged, _ = self._inline(self.root, (), ("#",))
        kinds = list_types(merged)
        return {**({"type": kinds[0]} if kinds and "type" not in merged else {}), **merged}

    def _refuse(self, path: Path, what: str, *, is_doubtful: bool = False) -> None:
        self.obstacles.append(Obstacle(path, what, is_doubtful))

    def _send(self, schema: Any, at: Path, inside: tuple[str, ...]) -> dict[str, Any]:
        """Return a part of the schema as it is sent; `inside` has the references that lead to it."""
        self.parts += 1
        if self.parts > _MAX_PARTS:
            if self.parts == _MAX_PARTS + 1:
                self._refuse((), f"more than {_MAX_PARTS:,} parts")
            return {}
        if not isinstance(schema, dict):
            self._refuse(at, "a part that allows anything" if schema else "a part that allows nothing")
            return {}
        if at and _is_plain_reference(schema):  # an output cannot be a reference itself
            if resolve_reference(self.root, schema["$ref"]) is None:
                self._refuse(at, f"the reference {schema['$ref']!r}, which leads nowhere,")
            elif schema["$ref"] not in self.wanted:
                self.wanted.append(schema["$ref"])
            return {"$ref": schema["$ref"]}
        inlined, inside = self._inline(schema, at, inside)
        if inlined.get("type") == []:
            self._refuse(at, "an allOf whose parts contradict each other")
        return self._send_inlined(inlined, at, inside)

    def _inline(
        self, schema: dict[str, Any], at: Path, inside: tuple[str, ...]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return a part with its reference and its `allOf` merged into it, and the references that lead inside."""
        merged = {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}
        parts = list(schema.get("allOf", ()))
        if "$dynamicRef" in schema or ("$id" in schema and at):
            self._refuse(at, "a $dynamicRef or an $id inside a schema")
        if "$ref" in schema:
            reference = str(schema["$ref"])
            target = resolve_reference(self.root, reference)
            if target is None:
                self._refuse(at, f"the reference {reference!r}, which leads outside the schema,")
            elif reference in inside:
                self._refuse(at, "a part that refers to itself")
            else:
                inside = (*inside, reference)
                parts.insert(0, target)
        for part in parts:
            if isinstance(part, dict):
                one, inside = self._inline(part, at, inside)
                merged = merge_schemas(merged, one)
            elif part is False:
                self._refuse(at, "a part that allows nothing")
        return merged, inside

    def _send_inlined(self, schema: dict[str, Any], at: Path, inside: tuple[str, ...]) -> dict[str, Any]:
        """Return a part without references and `allOf` as it is sent."""
        kinds, notes = list_types(schema), dict[str, Any]()
        chosen = self._choose_alternatives(schema, kinds)
        if chosen is not None and (base := self._find_base(schema, chosen)):
            options = [{"allOf": [base, option]} for option in schema[chosen]]
            rest = {name: schema[name] for name in ANNOTATIONS if name in schema}
            return self._send_inlined({**rest, chosen: options}, at, inside)
        sent: dict[str, Any] = {"type": kinds[0]} if kinds and "type" not in schema else {}
        for keyword, value in schema.items():
            if keyword == chosen:
                sent["anyOf"] = self._send_alternatives(keyword, value, at, inside)
            elif keyword == "properties":
                sent[keyword] = self._send_properties(value, at, inside)
            elif keyword == "items" and "prefixItems" not in schema and isinstance(value, dict):
                sent.update({keyword: self._send(value, (*at, keyword), inside)} if value else {})
            elif is_supported(keyword, value, kinds):
                sent[keyword] = value
            elif keyword == "additionalProperties":
                sent[keyword] = False  # `_close` looks at what it was
            elif keyword not in IGNORED and (keyword, value) != ("items", True):
                notes[keyword] = value
        if "prefixItems" in schema and (items := self._send_tuple(schema, at, inside)) is not None:
            sent["items"] = items
        return self._describe(self._close(schema, sent, at), notes, at)

    def _choose_alternatives(self, schema: Mapping[str, Any], kinds: Sequence[Any]) -> str | None:
        """Return anyOf or oneOf if its alternatives are sent; those that only add constraints are described."""
        for keyword in ALTERNATIVES:
            options = schema.get(keyword, ())
            has_shapes = any(isinstance(one, dict) and one.keys() & set(_SHAPES) for one in options)
            if options and (has_shapes or not kinds):
                return keyword
        return None

    def _find_base(self, schema: Mapping[str, Any], chosen: str) -> dict[str, Any]:
        """Return what a schema demands beside its alternatives."""
        beside = (*ANNOTATIONS, *IGNORED, chosen)
        return {name: value for name, value in schema.items() if name not in beside}

    def _send_alternatives(
        self, keyword: str, options: Sequence[Any], at: Path, inside: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        if keyword == "oneOf":
            self.moved.append((at, keyword))
        return [self._send(one, (*at, keyword, str(index)), inside) for index, one in enumerate(options)]

    def _send_properties(self, parts: Mapping[str, Any], at: Path, inside: tuple[str, ...]) -> dict[str, Any]:
        # A property that allows nothing is one that must be absent.
        allowed = {name: part for name, part in parts.items() if part is not False}
        return {name: self._send(part, (*at, "properties", name), inside) for name, part in allowed.items()}

    def _send_tuple(self, schema: Mapping[str, Any], at: Path, inside: tuple[str, ...]) -> dict[str, Any] | None:
        """Return a schema of each item of a tuple, or None if any further items are allowed."""
        first, others = schema["prefixItems"], schema.get("items", True)
        if others is True or others == {}:
            if schema.get("maxItems", len(first) + 1) > len(first):
                return None
            others = False
        parts = [((*at, "prefixItems", str(index)), part) for index, part in enumerate(first)]
        parts += [] if others is False else [((*at, "items"), others)]
        sent: list[dict[str, Any]] = []
        for path, part in parts:
            one = self._send(part, path, inside)
            sent += [] if one in sent else [one]
        return sent[0] if len(sent) == 1 else {"anyOf": sent}

    def _close(self, schema: Mapping[str, Any], sent: dict[str, Any], at: Path) -> dict[str, Any]:
        """Forbid other properties, as structured outputs require; note a part that cannot be sent."""
        if not sent.keys() & {"type", "anyOf", "enum", "const"}:
            self._refuse(at, "a part without a type", is_doubtful=True)
        if "object" not in list_types(schema) or sent.keys() & {"enum", "const"}:
            return sent
        others, known = schema.get("additionalProperties"), sent.get("properties", {})
        if others not in (None, False) or "patternProperties" in schema:
            self._refuse(at, "an object with properties of any name")
        elif others is None and not known:
            self._refuse(at, "an object without `properties`")
        elif missing := [name for name in schema.get("required", ()) if name not in known]:
            self._refuse(at, f"the required property {missing[0]!r} without a schema")
        if others is None:
            self.closed.append(at)
        return {**sent, "additionalProperties": False}

    def _describe(self, sent: dict[str, Any], notes: Mapping[str, Any], at: Path) -> dict[str, Any]:
        """Add to the description what structured outputs do not enforce, as JSON, as the SDK does."""
        if not notes:
            return sent
        self.moved += [(at, keyword) for keyword in notes if keyword not in ANNOTATIONS]
        text = json.dumps(notes, ensure_ascii=False)
        before = sent.get("description")
        return {**sent, "description": f"{before}\n\n{text}" if before else text}
