"""Write the page about a run, and its short form in Markdown. Everything from rows and answers is escaped."""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from runner.pricing.rates import format_dollars
from runner.report import variants, words
from runner.report.figures import Figures
from runner.report.judge import Finding, conclude
from runner.report.page import charts
from runner.report.page.rows import MAX_ROWS, RowPacker
from runner.text import format_duration

_TEMPLATES = Path(__file__).parent / "templates"
_EXCERPT_CHARS = 80
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~-])")


def render_html(
    figures: Figures, findings: Sequence[Finding], packer: RowPacker | None, now: float
) -> Iterator[str]:
    """Yield the page in parts; without a packer it has no rows. `now` is in Unix seconds."""
    style, script = _read_text("report.css"), _read_text("report.js")
    template = _make_environment().get_template("report.html.j2")
    yield from template.generate(
        **_name_all(figures, findings, now),
        style=style,
        script=script,
        policy=_make_policy(style, script),
        packer=packer,
        index=None if packer is None else packer.finish(),
        max_rows=MAX_ROWS,
    )


def render_markdown(figures: Figures, findings: Sequence[Finding], now: float) -> str:
    """Return the judgement and the main figures for a pull request or a chat: nothing of the rows is in it."""
    return _make_environment().get_template("report.md.j2").render(**_name_all(figures, findings, now))


def _name_all(figures: Figures, findings: Sequence[Finding], now: float) -> dict[str, object]:
    names = {"figures": figures, "summary": figures.summary, "findings": findings, "now": now}
    return {**names, "conclusion": conclude(figures, findings)}


@cache
def _read_text(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _make_policy(style: str, script: str) -> str:
    """Return the Content-Security-Policy: nothing from outside, and no script or style but those of the page."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        )
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _make_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        dollars=format_dollars,
        number=words.format_number,
        time=words.format_time,
        duration=format_duration,
        share=words.format_share,
        text=_escape_markdown,
        histogram=charts.draw_histogram,
        round_bar=charts.draw_round,
        timeline=charts.draw_timeline,
        matrix=charts.draw_matrix,
        json=_encode_excerpt,
        variant_columns=variants.name_columns,
        variant_cells=variants.list_cells,
        variant_count=variants.count_variants,
        contrasts=variants.describe_contrasts,
        left_out=variants.describe_left_out,
        choice=variants.conclude_variants,
    )
    return environment


def _encode_excerpt(value: object) -> str:
    """Return the beginning of a value as JSON; a value that a run does not have is missing."""
    text = (
        "missing"
        if value is msgspec.UNSET
        else value
        if isinstance(value, str)
        else msgspec.json.encode(value).decode()
    )
    return text if len(text) <= _EXCERPT_CHARS else f"{text[:_EXCERPT_CHARS]}…"


def _escape_markdown(value: object) -> str:
    """Return a text on one line whose characters mean nothing in Markdown or HTML."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))
