"""Readers of outputs, and makers of result lines."""

import json
import re
from pathlib import Path
from typing import Any

CHANGING = [
    (r"(\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d([+-]\d\d:\d\d)?", "TIME"),
    (r"msgbatch_\w+", "BATCH"),
    (r"\bt[0-9a-z]{12}\b", "RUN"),
    (r"in \d+\.\d s", "in SECONDS"),
]


def normalize(text: str) -> str:
    """Replace the parts of a printed text that differ between any two runs."""
    for pattern, name in CHANGING:
        text = re.sub(pattern, name, text)
    return text


def errors(text: str) -> list[str]:
    """The errors among printed messages, without warnings and without the lines of files that they show."""
    lines = [line for line in text.splitlines() if not re.match(r" *\d* *\|", line)]
    return [line for line in lines if ": warning: " not in line]


def records(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL output."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def outputs(root: Path) -> dict[str, str]:
    """Every output by name, without the ids that differ between any two runs."""
    texts = {path.name: path.read_text() for path in sorted((root / "out").iterdir())}
    ids = re.compile(r'"[0-9a-z]{13}-(\d+)-(\d+)-(\d+)"|"msgbatch_\w+"')
    return {name: ids.sub(r'"\1-\2-\3"', text) for name, text in texts.items()}


def output_keys(root: Path, name: str) -> list[str]:
    return [one["key"] for one in records(root / "out" / f"{name}.jsonl")]


COUNT_SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "day": {"type": "string", "format": "date"}},
    "required": ["n"],
    "additionalProperties": False,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hi", "citations": None}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 4},
}
TOOL_CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": [10**30]}}


def result_line(result: Any, custom_id: Any = "r-1-1-1") -> bytes:
    """A line of results, as text of ASCII."""
    return json.dumps({"custom_id": custom_id, "result": result}).encode() + b"\n"


def message_line(text: str | None = None, **fields: Any) -> bytes:
    """The line of a request that got a message; `text` is its only block."""
    content = {} if text is None else {"content": [{"type": "text", "text": text}]}
    return result_line({"type": "succeeded", "message": {**MESSAGE, **content, **fields}})


def error_line(type: str, message: str = "why") -> bytes:
    """The line of a request that got an error."""
    error = {"type": "error", "error": {"type": type, "message": message}, "request_id": None}
    return result_line({"type": "errored", "error": error})


def bytes_of_run(root: Path) -> dict[str, bytes]:
    """The bodies, index files and outputs of the only run, and the files that it attaches, without its id."""
    [run] = (root / "simulated/.runner/runs").iterdir()
    paths = [
        *run.glob("bodies/*.json"),
        *run.glob("index/*.requests.*"),
        run / "attached.jsonl",
        run / "rows.jsonl",
        *root.glob("simulated/out/*"),
    ]
    texts = {path.name: path.read_bytes().replace(run.name.encode(), b"RUN") for path in paths if path.exists()}
    return {
        name: re.sub(rb"msgbatch_\w+|\"(?:mtime_ns|modified)\":[^,}]*", b"", text) for name, text in texts.items()
    }
