"""Valid responses generated from a request's JSON schema; equal requests get equal responses."""

import hashlib
import math
import random
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from re import _parser  # type: ignore[attr-defined]
from typing import Any, cast

import jsonschema_rs
import msgspec

_MAX_DEPTH = 8
_TRIES = 20
_WORD = re.compile(r"[^\W\d_]{3,24}")
_KINDS = {"object": "properties", "array": "items"}

_UNUSABLE = (
    jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, re.error,
    ValueError, LookupError, TypeError, AttributeError, RecursionError,
)  # fmt: skip
"""Exceptions that an invalid or unsupported schema raises."""

Schema = Mapping[str, Any]


def _merge(first: Schema, second: Schema) -> dict[str, Any]:
    """Combine the requirements of two schemas, as far as drawing a value needs them."""
    merged = {**first, **second}
    if "properties" in first and "properties" in second:
        merged["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        merged["required"] = [*first["required"], *second["required"]]
    return merged


def _range(schema: Schema, width: int) -> tuple[Any, Any]:
    """Return the bounds of a number; a bound that is missing is `width` away from the other."""
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    if least is None:
        least = 0 if most is None or most > 0 else most - width
    return least, least + width if most is None else most


class _Draw:
    """Random values that match one schema, made from words of the request."""

    def __init__(self, root: Schema, chance: random.Random, words: Sequence[str]) -> None:
        self.root = root
        self.chance = chance
        self.words = words or ("nothing", "to", "quote")

    def value(self, schema: Schema | bool, depth: int = 0) -> Any:
        if isinstance(schema, bool):
            return self.quote(1)
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.chance.choice(schema["enum"])
        kind = schema.get("type") or next((k for k, key in _KINDS.items() if key in schema), "string")
        if isinstance(kind, list):
            kind = self._option(kind, depth)
        return getattr(self, f"_{kind}")(schema, depth)

    def _resolved(self, schema: Schema, depth: int) -> Schema:
        """Follow the references of a schema, choose among its alternatives, and merge its parts."""
        parts = [self._target(schema["$ref"])] if "$ref" in schema else []
        parts += schema.get("allOf", ())
        parts += [self._option(schema[name], depth) for name in ("anyOf", "oneOf") if name in schema]
        merged = {name: value for name, value in schema.items() if name not in ("$ref", "allOf", "anyOf", "oneOf")}
        for part in parts:
            if not isinstance(part, bool):
                merged = _merge(merged, self._resolved(part, depth))
        return merged

    def _target(self, reference: str) -> Schema:
        if not reference.startswith("#"):
            raise ValueError(f"{reference} is not in this schema")
        target: Any = self.root
        for step in filter(None, reference[1:].split("/")):
            name = step.replace("~1", "/").replace("~0", "~")
            target = target[int(name)] if isinstance(target, list) else target[name]
        return cast(Schema, target)

    def _option(self, options: Sequence[Any], depth: int) -> Any:
        empty = [option for option in options if option in ("null", {"type": "null"})]
        full = [option for option in options if option not in empty]
        if empty and (not full or depth > _MAX_DEPTH or self.chance.random() < 0.2):
            return empty[0]
        return self.chance.choice(full)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        known, required = schema.get("properties", {}), schema.get("required", ())
        names = list(dict.fromkeys((*(required if depth > _MAX_DEPTH else known), *required)))
        names += [f"key{number}" for number in range(len(names), schema.get("minProperties", 0))]
        others = schema.get("additionalProperties", True)
        return {name: self.value(known.get(name, others), depth + 1) for name in names}

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        first = [self.value(part, depth + 1) for part in schema.get("prefixItems", ())]
        most = 0 if depth > _MAX_DEPTH or schema.get("items") is False else schema.get("maxItems", 4)
        least = max(schema.get("minItems", min(1, most)) - len(first), 0)
        count = self.chance.randint(least, max(least, min(most, 4) - len(first)))
        return first + [self.value(schema.get("items", {}), depth + 1) for _ in range(count)]

    def _string(self, schema: Schema, depth: int) -> str:  # noqa: ARG002 - one signature for all kinds
        if "format" in schema:
            return self._formatted(schema["format"])
        if "pattern" in schema:
            drawn = [self._matching(_parser.parse(schema["pattern"])) for _ in range(_TRIES)]
            return next((text for text in drawn if len(text) >= schema.get("minLength", 0)), drawn[0])
        text = self.quote(self.chance.randint(1, 4))
        while len(text) < schema.get("minLength", 0):
            text += " " + self.quote(2)
        return text[: schema.get("maxLength", len(text))]

    def quote(self, count: int) -> str:
        """Return up to `count` adjacent words of the request."""
        start = self.chance.randrange(len(self.words))
        return " ".join(self.words[start : start + count])

    def _formatted(self, name: str) -> str:
        day = date(2026, 1, 1) + timedelta(days=self.chance.randrange(330))
        number = self.chance.getrandbits(128)
        known = {
            "date": f"{day}",
            "date-time": f"{day}T{number % 24:02}:{number % 60:02}:00Z",
            "time": f"{number % 24:02}:{number % 60:02}:00Z",
            "duration": f"P{number % 30 + 1}D",
            "email": f"{self.quote(1).encode('ascii', 'ignore').decode().lower() or 'a'}@simulated.test",
            "hostname": "simulated.test",
            "uri": f"https://simulated.test/{number % 10_000}",
            "ipv4": f"192.0.2.{number % 256}",
            "ipv6": f"2001:db8::{number % 65_536:x}",
            "uuid": f"{number:032x}"[:8] + "-1111-4111-8111-" + f"{number:032x}"[:12],
        }
        return known.get(name) or self.quote(2)

    def _integer(self, schema: Schema, depth: int) -> int:  # noqa: ARG002
        step = int(schema.get("multipleOf", 1)) or 1
        least, most = _range(schema, 100)
        least += least == schema.get("exclusiveMinimum")
        most -= most == schema.get("exclusiveMaximum")
        return self.chance.randint(-(-int(least) // step), int(most) // step) * step

    def _number(self, schema: Schema, depth: int) -> float:  # noqa: ARG002
        least, most = _range(schema, 1000)
        if "multipleOf" in schema:
            step = schema["multipleOf"]
            return float(self.chance.randint(math.ceil(least / step), math.floor(most / step)) * step)
        return float(min(max(round(self.chance.uniform(least, most), 2), least), most))

    def _boolean(self, schema: Schema, depth: int) -> bool:  # noqa: ARG002
        return self.chance.random() < 0.5

    def _null(self, schema: Schema, depth: int) -> None:  # noqa: ARG002
        return None

    def _matching(self, parsed: Any) -> str:
        return "".join(self._piece(str(operation), argument) for operation, argument in parsed)

    def _piece(self, operation: str, argument: Any) -> str:
        match operation:
            case "LITERAL":
                return chr(argument)
            case "IN":
                return self._one_of(argument)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, part = argument
                times = self.chance.randint(least, min(int(most), least + self.chance.choice((3, 12))))
                return "".join(self._matching(part) for _ in range(times))
            case "SUBPATTERN":
                return self._matching(argument[3])
            case "BRANCH":
                return self._matching(self.chance.choice(argument[1]))
            case "CATEGORY":
                letters = {"CATEGORY_DIGIT": "0123456789", "CATEGORY_SPACE": " ", "CATEGORY_NOT_WORD": "-"}
                return self.chance.choice(letters.get(str(argument), "x"))
            case "ANY" | "NOT_LITERAL":
                return self.chance.choice("xy")
            case _:
                return ""

    def _one_of(self, options: Sequence[tuple[Any, Any]]) -> str:
        if str(options[0][0]) == "NEGATE":
            return self.chance.choice("x7X-")
        operation, argument = self.chance.choice(options)
        if str(operation) == "RANGE":
            return chr(self.chance.randint(*argument))
        return self._piece(str(operation), argument)


@lru_cache(maxsize=64)
def _schema(encoded: bytes) -> tuple[Schema, Any]:
    schema = msgspec.json.decode(encoded)
    return schema, jsonschema_rs.validator_for(schema, validate_formats=True, offline=True)


def _chance(seed: bytes) -> random.Random:
    return random.Random(hashlib.sha256(seed).digest())  # noqa: S311 - a simulated response, not a secret


def answer(schema: bytes | None, *, text: str, seed: bytes) -> str | None:
    """Return the text of a response: JSON that is valid against `schema`, or a sentence without one.

    The words come from `text`, and `seed` determines the random choices. Returns None if no valid response
    was drawn.
    """
    chance, words = _chance(seed), _WORD.findall(text[:4000])
    if schema is None:
        return f"Simulated answer about {_Draw({}, chance, words).quote(6)}."
    try:
        root, validator = _schema(schema)
        draw = _Draw(root, chance, words)
        for _ in range(_TRIES):
            value = draw.value(root)
            if validator.is_valid(value):
                return msgspec.json.encode(value).decode()
    except _UNUSABLE:
        return None
    return None
