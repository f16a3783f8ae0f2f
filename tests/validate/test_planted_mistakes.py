"""Each planted mistake is reported with its place and a remedy, and is gone once the remedy is followed."""

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.processes import command

FILES = {
    "job.yaml": """\
version: 1
name: job
source:
  type: csv
  path: tickets.csv
  key: id
prompt:
  system: system.j2
  messages:
    - role: user
      content: "Example: {{ text }}"
    - role: assistant
      content: fine
  user: user.j2
params:
  model: claude-haiku-5-5
  max_tokens: 100
output:
  schema: schemas/label.json
sinks:
  - type: jsonl
    path: out/all.jsonl
  - type: csv
    path: out/labels.csv
    columns:
      id: key
      label: output.label
retry:
  attempts: 2
""",
    "prompts/system.j2": "The species is {{ row['Wildlife Species'] }}.\n",
    "prompts/user.j2": "Label this ticket:\n{{ text }}\n",
    "schemas/label.json": """\
{
  "type": "object",
  "properties": {"label": {"type": "string"}},
  "required": ["label"],
  "additionalProperties": false
}
""",
    "tickets.csv": "id,text,Wildlife Species\n1,a,owl\n2,b,fox\n3,c,elk\n4,d,bat\n5,e,asp\n6,f,emu\n",
}


class Mistake(NamedTuple):
    """A right text of a file and the wrong one, and where the mistake is reported: file, line and column."""

    file: str
    right: str
    wrong: str
    place: tuple[str, int, int]


PLANTED = {
    "misspelled key": Mistake("job.yaml", "attempts: 2", "attempt: 2", ("job.yaml", 29, 3)),
    "key at the wrong level": Mistake(
        "job.yaml",
        "params:\n  model: claude-haiku-5-5\n",
        "model: claude-haiku-5-5\nparams:\n",
        ("job.yaml", 15, 1),
    ),
    "unquoted template": Mistake("job.yaml", '"Example: {{ text }}"', "Example: {{ text }}", ("job.yaml", 11, 16)),
    "wrong name of the source": Mistake("job.yaml", "path: tickets.csv", "path: tickts.csv", ("job.yaml", 5, 9)),
    "wrong name of the schema": Mistake("job.yaml", "label.json", "labels.json", ("job.yaml", 19, 11)),
    "wrong name of a template": Mistake("job.yaml", "system: system.j2", "system: systm.j2", ("job.yaml", 8, 11)),
    "wrong key column": Mistake("job.yaml", "key: id\n", "key: idd\n", ("job.yaml", 6, 8)),
    "wrong field in a sink": Mistake("job.yaml", "output.label", "output.lable", ("job.yaml", 27, 14)),
    "home folder in a path": Mistake("job.yaml", "out/all.jsonl", "~/out/all.jsonl", ("job.yaml", 22, 11)),
    "column with blanks": Mistake(
        "prompts/system.j2", "row['Wildlife Species']", "Wildlife Species", ("prompts/system.j2", 1, 28)
    ),
    "misspelled column": Mistake("prompts/user.j2", "text }}", "txet }}", ("prompts/user.j2", 2, 4)),
    "schema that is not JSON schema": Mistake(
        "schemas/label.json", '"string"', '"strin"', ("schemas/label.json", 3, 36)
    ),
    "blank key": Mistake("tickets.csv", "\n3,c", "\n,c", ("tickets.csv", 4, 1)),
    "repeated key": Mistake("tickets.csv", "\n6,f", "\n2,f", ("tickets.csv", 7, 1)),
}


def plant(root: Path, *mistakes: Mistake) -> None:
    texts = dict(FILES)
    for one in mistakes:
        assert texts[one.file].count(one.right) == 1
        texts[one.file] = texts[one.file].replace(one.right, one.wrong)
    for name, text in texts.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)


def validate(root: Path) -> list[dict[str, Any]]:
    done = command(root, {**os.environ, "HOME": str(root)}, "validate", "job.yaml", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (2 if found else 0, "")
    return found


def follow(root: Path, found: dict[str, Any]) -> None:
    """Do what the remedy of a finding says, word for word."""
    path, index, remedy = root / found["file"], found["line"] - 1, found["remedy"]
    lines = path.read_text().splitlines()
    line, start = lines[index], found["column"] - 1
    word = re.split(r"[\s,]", line[start:])[0]
    if match := re.fullmatch(r"did you mean '(.*)'\?", remedy):
        quoted = re.findall(r"'([^']*)'", found["message"].removesuffix(remedy))
        wrong = next((one for one in reversed(quoted) if one in line), word)
        lines[index] = line.replace(wrong, match[1])
    elif match := re.fullmatch(r"write `(.*)`", remedy):
        lines[index] = line[: len(line) - len(line.lstrip())] + match[1]
    elif match := re.fullmatch(r'write (".*"), with its quotes', remedy):
        lines[index] = line[:start] + match[1]
    elif match := re.fullmatch(r"write (\{\{.*\}\}) for the column .*", remedy):
        before, after = line.split("{{")[0], line.split("}}")[-1]
        lines[index] = f"{before}{match[1]}{after}"
    elif match := re.fullmatch(r"it belongs under `(.*)`", remedy):
        lines.insert(lines.index(f"{match[1]}:") + 1, f"  {lines.pop(index)}")
    elif remedy.startswith("fill in 'id', or "):
        lines[index] = f"new{line}"
    elif remedy == "keys must be unique, so give one of the two another key":
        lines[index] = f"other{line}"
    path.write_text("".join(f"{one}\n" for one in lines))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_gone_after_its_remedy(tmp_path: Path, name: str) -> None:
    plant(tmp_path, PLANTED[name])
    [found] = validate(tmp_path)
    assert (found["file"], found["line"], found["column"]) == PLANTED[name].place
    assert all(found[field] for field in ("rule", "message", "remedy"))
    follow(tmp_path, found)
    assert validate(tmp_path) == []


def test_all_planted_mistakes_are_reported_in_one_round(tmp_path: Path) -> None:
    plant(tmp_path, *PLANTED.values())
    found = validate(tmp_path)
    places = {(one["file"], one["line"], one["column"]) for one in found}
    assert {mistake.place for mistake in PLANTED.values()} == places
    # From the last line to the first, because a moved line changes the numbers below it.
    for one in sorted(found, key=lambda one: -one["line"]):
        follow(tmp_path, one)
    assert validate(tmp_path) == []
    assert command(tmp_path, os.environ, "run", "job.yaml", "--simulate").returncode == 0


def test_a_mistake_is_shown_with_its_line_and_a_caret(tmp_path: Path) -> None:
    plant(tmp_path, PLANTED["wrong name of the source"], PLANTED["misspelled column"])
    done = command(tmp_path, os.environ, "validate", "job.yaml")
    assert done.stderr == (
        "job.yaml:5:9: source.path: tickts.csv: cannot read: No such file or directory: did you mean "
        "'tickets.csv'?\n"
        "  |\n"
        "5 |   path: tickts.csv\n"
        "  |         ^^^^^^^^^^\n"
        "prompts/user.j2:2:4: 'txet' is undefined: did you mean 'text'?\n"
        "  |\n"
        "2 | {{ txet }}\n"
        "  |    ^^^^\n"
    )
