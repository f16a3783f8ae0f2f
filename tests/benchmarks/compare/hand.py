"""The script that an engineer writes in an afternoon: the whole job in lists, with the SDK's own calls."""

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import anthropic
import jsonschema

PROMPT = "Extract the fields of this document.\n<document>\n{}\n</document>"


def write_csv(path: Path, records: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*records[0]["row"], *(records[0]["output"] or {})])
        writer.writerows([*one["row"].values(), *(one["output"] or {}).values()] for one in records)


def main(source: Path, schema_path: Path, out: Path, table: Path | None = None) -> None:
    imported = time.process_time()
    schema = json.loads(schema_path.read_text())
    client = anthropic.Anthropic(http_client=anthropic.DefaultHttpxClient(trust_env=False))
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    requests: list[Any] = [
        {
            "custom_id": row["id"],
            "params": {
                "model": "claude-haiku-5-5",
                "max_tokens": 1024,
                "messages": [{"role": "user", "content": PROMPT.format(row["text"])}],
                "output_config": {"format": {"type": "json_schema", "schema": schema}},
            },
        }
        for row in rows
    ]
    batches = [
        client.messages.batches.create(requests=requests[start : start + 10_000]).id
        for start in range(0, len(requests), 10_000)
    ]
    submitted = time.process_time()
    for batch in batches:
        while client.messages.batches.retrieve(batch).processing_status != "ended":
            time.sleep(1)
    validator = jsonschema.Draft202012Validator(schema)
    results = {result.custom_id: result for batch in batches for result in client.messages.batches.results(batch)}
    records: list[dict[str, Any]] = []
    with out.open("w") as file:
        for row in rows:
            result = results[row["id"]].result
            output = None
            if result.type == "succeeded":
                output = json.loads(result.message.content[0].text)  # type: ignore[union-attr]
                validator.validate(output)
            record = {"key": row["id"], "row": row, "output": output}
            file.write(json.dumps(record) + "\n")
            if table is not None:
                records.append(record)
    if table is not None:
        write_csv(table, records)
    print(json.dumps({"submit": submitted - imported, "collect": time.process_time() - submitted}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
