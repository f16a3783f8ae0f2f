"""The texts about the rows of a run: a table of many, and the whole story of one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import indent
from typing import TYPE_CHECKING, Any

import msgspec

from runner.cli.echo import to_cell

if TYPE_CHECKING:
    from rich.table import Table

_MAX_CELL_CHARS, _MAX_WORD = 300, 14


def _to_line(value: Any) -> str:
    """Return the beginning of a value as text on one line."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return " ".join(text[: 2 * _MAX_CELL_CHARS].split())[:_MAX_CELL_CHARS]


def _longest_word(texts: Iterable[str]) -> int:
    """Return the length of the longest word, as far as a narrow table has room for it."""
    return min(max((len(word) for text in texts for word in text.split()), default=1), _MAX_WORD)


def build_rows_table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    """Return a table of rows: key, outcome with its reason, and the beginning of the answer."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    # The answer gives way first: the others are only broken between words, unless a word is very long.
    table.add_column("key", overflow="fold", min_width=_longest_word(str(row["key"]) for row in rows))
    words = _longest_word(row["reason"] or row["outcome"] for row in rows)
    table.add_column("outcome", overflow="fold", min_width=words)
    table.add_column("answer", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(
            to_cell(str(row["key"])), to_cell(row["reason"] or row["outcome"]), to_cell(_to_line(row["output"]))
        )
    return table


def build_wrong_table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    """Return a table of wrong answers: a line for each evaluation that a row misses."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("key", "evaluation", "expected", "actual"):
        table.add_column(name, overflow="fold")
    for row in rows:
        for name, values in row["wrong"].items():
            cells = (str(row["key"]), name, _to_line(values["expected"]), _describe_actual(row, values["actual"]))
            table.add_row(*map(to_cell, cells))
    return table


def _describe_actual(row: Mapping[str, Any], actual: Any) -> str:
    """Return the value of an answer, or why the row has no valid one."""
    if row["outcome"] != "succeeded":
        return f"({row['reason']})"
    return "null" if actual is None else _to_line(actual)


def _to_block(value: Any) -> str:
    """Return a value as indented text: JSON on several lines, text as it is."""
    text = value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return indent(text, "    ")


def _format_usage(row: Mapping[str, Any]) -> Iterator[str]:
    if row["usage"] is None:
        return
    usage = msgspec.json.decode(row["usage"])
    counts = [(usage.get("input_tokens"), "in"), (usage.get("output_tokens"), "out")]
    shown = ", ".join(f"{count:,} {name}" for count, name in counts if isinstance(count, int))
    yield f"  tokens   {shown}" if shown else "  tokens   unknown"


def format_row(row: Mapping[str, Any]) -> str:
    """Return everything about one row: why it failed, what was sent, and what came back."""
    lines = [f"{row['key']}: {row['outcome']}"]
    if row["reason"] is not None and row["reason"] != row["outcome"]:
        lines.append(f"  reason   {row['reason']}")
    if row["error"] is not None:
        lines.append(f"  message  {row['error']['message']}")
    for name, values in row.get("wrong", {}).items():
        actual = _describe_actual(row, values["actual"])
        lines.append(f"  wrong    {name}: expected {_to_line(values['expected'])}, answered {actual}")
    if row["batch_id"] is not None:
        account = f", in account {row['account']}" if "account" in row else ""
        lines.append(f"  batch    {row['batch_id']}, as {row['custom_id']}{account}")
    if row["model"] is not None:
        lines.append(f"  model    {row['model']}, stopped at {row['stop_reason']}")
    lines += _format_usage(row)
    lines += ["  row", _to_block(row["row"])]
    if "request" in row:
        is_stored = row["request"] is not None
        why = "not sent" if row["outcome"] == "rejected" else "purged with the earlier run that sent it"
        lines += ["  request", _to_block(row["request"])] if is_stored else [f"  request  {why}"]
    if row["output"] is not None:
        lines += ["  answer", _to_block(row["output"])]
    return "\n".join(lines)
