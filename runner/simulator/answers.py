"""Valid responses generated from a request's JSON schema; equal requests get equal responses."""

import hashlib
import math
import random
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from re import _parser  # type: ignore[attr-defined]  # no public module parses a pattern into its parts
from typing import Any, cast

import jsonschema_rs
import msgspec

from runner.simulator.asked_schema import read_description

_MAX_DEPTH = 8
_TRIES = 20
_WORD = re.compile(r"[^\W\d_]{3,24}")
_KINDS = {"object": "properties", "array": "items"}

_SCHEMA_ERRORS = (
    jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, re.error,
    ValueError, LookupError, TypeError, AttributeError, RecursionError,
)  # fmt: skip
"""Exceptions that an invalid or unsupported schema raises."""

Schema = Mapping[str, Any]


def _merge_schemas(first: Schema, second: Schema) -> dict[str, Any]:
    """Combine the requirements of two schemas, as far as drawing a value needs them."""
    merged = {**first, **second}
    if "properties" in first and "properties" in second:
        merged["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        merged["required"] = [*first["required"], *second["required"]]
    return merged


def _number_range(schema: Schema, width: int) -> tuple[Any, Any]:
    """Return the bounds of a number; a bound that is missing is `width` away from the other."""
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    if least is None:
        least = 0 if most is None or most > 0 else most - width
    return least, least + width if most is None else most


class _ValueGenerator:
    """Random values that match one schema, made from words of the request."""

    def __init__(self, root: Schema, chance: random.Random, words: Sequence[str]) -> None:
        self.root = root
        self.rng = chance
        self.words = words or ("nothing", "to", "quote")

    def generate(self, schema: Schema | bool, depth: int = 0) -> Any:  # noqa: FBT001 - JSON Schema has true and false
        if isinstance(schema, bool):
            return self.quote_words(1)
        schema = self._resolve(read_description(schema), depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.rng.choice(schema["enum"])
        kind = schema.get("type") or next((k for k, key in _KINDS.items() if key in schema), "string")
        if isinstance(kind, list):
            kind = self._choose_option(kind, depth)
        return getattr(self, f"_{kind}")(schema, depth)

    def _resolve(self, schema: Schema, depth: int) -> Schema:
        """Follow the references of a schema, choose among its alternatives, and merge its parts."""
        parts = [self._resolve_reference(schema["$ref"])] if "$ref" in schema else []
        parts += schema.get("allOf", ())
        parts += [self._choose_option(schema[name], depth) for name in ("anyOf", "oneOf") if name in schema]
        merged = {name: value for name, value in schema.items() if name not in ("$ref", "allOf", "anyOf", "oneOf")}
        for part in parts:
            if not isinstance(part, bool):
                merged = _merge_schemas(merged, self._resolve(read_description(part), depth))
        return merged

    def _resolve_reference(self, reference: str) -> Schema:
        if not reference.startswith("#"):
            raise ValueError(f"{reference} is not in this schema")
        target: Any = self.root
        for step in filter(None, reference[1:].split("/")):
            name = step.replace("~1", "/").replace("~0", "~")
            target = target[int(name)] if isinstance(target, list) else target[name]
        return cast(Schema, target)

    def _choose_option(self, options: Sequence[Any], depth: int) -> Any:
        empty = [option for option in options if option in ("null", {"type": "null"})]
        full = [option for option in options if option not in empty]
        if empty and (not full or depth > _MAX_DEPTH or self.rng.random() < 0.2):
            return empty[0]
        return self.rng.choice(full)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        known, required = schema.get("properties", {}), schema.get("required", ())
        names = list(dict.fromkeys((*(required if depth > _MAX_DEPTH else known), *required)))
        names += [f"key{number}" for number in range(len(names), schema.get("minProperties", 0))]
        others = schema.get("additionalProperties", True)
        return {name: self.generate(known.get(name, others), depth + 1) for name in names}

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        first = [self.generate(part, depth + 1) for part in schema.get("prefixItems", ())]
        most = 0 if depth > _MAX_DEPTH or schema.get("items") is False else schema.get("maxItems", 4)
        least = max(schema.get("minItems", min(1, most)) - len(first), 0)
        count = self.rng.randint(least, max(least, min(most, 4) - len(first)))
        return first + [self.generate(schema.get("items", {}), depth + 1) for _ in range(count)]

    def _string(self, schema: Schema, depth: int) -> str:  # noqa: ARG002 - one signature for all kinds
        if "format" in schema:
            return self._generate_format(schema["format"])
        if "pattern" in schema:
            drawn = [self._generate_match(_parser.parse(schema["pattern"])) for _ in range(_TRIES)]
            return next((text for text in drawn if len(text) >= schema.get("minLength", 0)), drawn[0])
        text = self.quote_words(self.rng.randint(1, 4))
        while len(text) < schema.get("minLength", 0):
            text += " " + self.quote_words(2)
        return text[: schema.get("maxLength", len(text))]

    def quote_words(self, count: int) -> str:
        """Return up to `count` adjacent words of the request."""
        start = self.rng.randrange(len(self.words))
        return " ".join(self.words[start : start + count])

    def _generate_format(self, name: str) -> str:
        day = date(2026, 1, 1) + timedelta(days=self.rng.randrange(330))
        number = self.rng.getrandbits(128)
        known = {
            "date": f"{day}",
            "date-time": f"{day}T{number % 24:02}:{number % 60:02}:00Z",
            "time": f"{number % 24:02}:{number % 60:02}:00Z",
            "duration": f"P{number % 30 + 1}D",
            "email": f"{self.quote_words(1).encode('ascii', 'ignore').decode().lower() or 'a'}@simulated.test",
            "hostname": "simulated.test",
            "uri": f"https://simulated.test/{number % 10_000}",
            "ipv4": f"192.0.2.{number % 256}",
            "ipv6": f"2001:db8::{number % 65_536:x}",
            "uuid": f"{number:032x}"[:8] + "-1111-4111-8111-" + f"{number:032x}"[:12],
        }
        return known.get(name) or self.quote_words(2)

    def _integer(self, schema: Schema, depth: int) -> int:  # noqa: ARG002
        step = int(schema.get("multipleOf", 1)) or 1
        least, most = _number_range(schema, 100)
        least += least == schema.get("exclusiveMinimum")
        most -= most == schema.get("exclusiveMaximum")
        return self.rng.randint(-(-int(least) // step), int(most) // step) * step

    def _number(self, schema: Schema, depth: int) -> float:  # noqa: ARG002
        least, most = _number_range(schema, 1000)
        if "multipleOf" in schema:
            step = schema["multipleOf"]
            return float(self.rng.randint(math.ceil(least / step), math.floor(most / step)) * step)
        return float(min(max(round(self.rng.uniform(least, most), 2), least), most))

    def _boolean(self, schema: Schema, depth: int) -> bool:  # noqa: ARG002
        return self.rng.random() < 0.5

    def _null(self, schema: Schema, depth: int) -> None:  # noqa: ARG002
        return None

    def _generate_match(self, parsed: Any) -> str:
        return "".join(self._generate_piece(str(operation), argument) for operation, argument in parsed)

    def _generate_piece(self, operation: str, argument: Any) -> str:
        match operation:
            case "LITERAL":
                return chr(argument)
            case "IN":
                return self._choose_character(argument)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, part = argument
                times = self.rng.randint(least, min(int(most), least + self.rng.choice((3, 12))))
                if characters := _list_characters(part):
                    return "".join(self.rng.choices(characters, k=times))
                return "".join(self._generate_match(part) for _ in range(times))
            case "SUBPATTERN":
                return self._generate_match(argument[3])
            case "BRANCH":
                return self._generate_match(self.rng.choice(argument[1]))
            case "CATEGORY":
                letters = {"CATEGORY_DIGIT": "0123456789", "CATEGORY_SPACE": " ", "CATEGORY_NOT_WORD": "-"}
                return self.rng.choice(letters.get(str(argument), "x"))
            case "ANY" | "NOT_LITERAL":
                return self.rng.choice("xy")
            case _:
                return ""

    def _choose_character(self, options: Sequence[tuple[Any, Any]]) -> str:
        if str(options[0][0]) == "NEGATE":
            return self.rng.choice("x7X-")
        operation, argument = self.rng.choice(options)
        if str(operation) == "RANGE":
            return chr(self.rng.randint(*argument))
        return self._generate_piece(str(operation), argument)


def _list_characters(part: Sequence[tuple[Any, Any]]) -> str:
    """Return the characters that a pattern of one class, such as [a-z_], matches; empty for any other pattern."""
    operation, options = part[0]
    if len(part) != 1 or str(operation) != "IN":
        return ""
    found = ""
    for kind, argument in options:
        if str(kind) == "RANGE" and argument[1] - argument[0] < 1000:
            found += "".join(map(chr, range(argument[0], argument[1] + 1)))
        elif str(kind) == "LITERAL":
            found += chr(argument)
        else:
            return ""
    return found


@lru_cache(maxsize=64)
def _decode_schema(encoded: bytes) -> tuple[Schema, Any]:
    schema = msgspec.json.decode(encoded)
    return schema, jsonschema_rs.validator_for(schema, validate_formats=True, offline=True)


def _make_rng(seed: bytes) -> random.Random:
    return random.Random(hashlib.sha256(seed).digest())  # noqa: S311 - a simulated response, not a secret


def generate_answer(schema: bytes | None, *, text: str, seed: bytes) -> str | None:
    """Return the text of a response: JSON that is valid against `schema`, or a sentence without one.

    The words come from `text`, and `seed` determines the random choices. Returns None if no valid response
    was drawn.
    """
    chance, words = _make_rng(seed), _WORD.findall(text[:4000])
    if schema is None:
        return f"Simulated answer about {_ValueGenerator({}, chance, words).quote_words(6)}."
    try:
        root, validator = _decode_schema(schema)
        draw = _ValueGenerator(root, chance, words)
        for _ in range(_TRIES):
            value = draw.generate(root)
            if validator.is_valid(value):
                return msgspec.json.encode(value).decode()
    except _SCHEMA_ERRORS:
        return None
    return None
