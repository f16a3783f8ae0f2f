"""Verdicts about answers are those of the JSON Schema Test Suite: `python -m tests.proofs.json_schemas FOLDER`.

FOLDER is a checkout of github.com/json-schema-org/JSON-Schema-Test-Suite. Each case of draft 2020-12 is judged by
the validator of answers, also after the schema was sent in the form of structured outputs. A schema that is sent
must accept each valid instance; further properties of objects are the exception.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs

from runner.errors import InputError
from runner.results.validator import make_validator
from runner.spec.structured.sent_schema import make_sent_schema


def list_cases(folder: Path) -> Iterator[tuple[str, Any]]:
    """The cases of the suite: a name, and the case with its schema and its tests."""
    for path in sorted((folder / "tests" / "draft2020-12").rglob("*.json")):
        for case in json.loads(path.read_text("utf-8")):
            yield f"{path.stem}: {case['description']}", case


def open_objects(schema: Any) -> Any:
    """The schema without what closes its objects."""
    if isinstance(schema, dict):
        closed = ("additionalProperties", False)
        return {name: open_objects(part) for name, part in schema.items() if (name, part) != closed}
    return [open_objects(part) for part in schema] if isinstance(schema, list) else schema


def judge(name: str, case: Any) -> Iterator[tuple[str, str]]:
    """Each verdict about a case: its kind, and a description of what differs, or nothing."""
    schema = case["schema"]
    if isinstance(schema, bool):
        yield "schemas that are true or false, which a spec cannot name", ""
        return
    try:
        validate = make_validator(schema)
    except InputError as error:
        is_elsewhere = any(word in str(error) for word in ("is not present", "Unknown meta-schema"))
        yield "schemas that refer to other documents, refused", "" if is_elsewhere else f"{name}: {error}"
        return
    sent = make_sent_schema(schema)
    is_sent = all(obstacle.is_doubtful for obstacle in sent.obstacles)
    loose = jsonschema_rs.validator_for(open_objects(sent.schema), validate_formats=True) if is_sent else None
    for test in case["tests"]:
        what = f"{name}: {test['description']}"
        is_valid = validate(test["data"]) is None
        if "annotation by default" in what:
            yield "formats that the suite leaves open, enforced here", ""
        else:
            yield "verdicts on arrival", "" if is_valid == test["valid"] else f"{what}: {is_valid}"
        if loose is not None and test["valid"]:
            # A schema of properties or items without `type` is meant for objects or arrays alone.
            is_meant = "type" in schema or sent.schema.get("type") not in ("object", "array")
            is_accepted = not is_meant or loose.is_valid(test["data"])
            yield "valid instances, accepted by what is sent", "" if is_accepted else f"{what}: refused"


def main(folder: Path) -> int:
    """Print the number of verdicts of each kind and those that differ; return 1 if there are any."""
    counts, different = Counter[str](), list[str]()
    for name, case in list_cases(folder):
        for kind, difference in judge(name, case):
            counts[kind] += 1
            different += [difference] if difference else []
    for kind, count in counts.items():
        print(f"{count:6,} {kind}")
    print(f"{len(different):6,} differ from the suite", *different, sep="\n       ")
    return int(bool(different) or not counts)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
