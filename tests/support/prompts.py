"""Short ways to encode blocks and to render prompts."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runner import load_spec
from runner.requests.encode import EncodedRequest, make_request_encoder
from runner.templates.load import load_templates
from runner.templates.templates import Templates
from tests.support.files import image, pdf
from tests.support.projects import SPEC, write_job


def encode_blocks_with(
    root: Path, *blocks: dict[str, Any], source: dict[str, Any] | None = None
) -> Callable[..., EncodedRequest]:
    """The function that encodes a row, by its columns, whose prompt is these blocks."""
    (root / "prompts").mkdir(exist_ok=True)
    spec = {**SPEC, "prompt": {"user": list(blocks)}, "source": source or SPEC["source"]}
    (root / "blocks.yaml").write_text(json.dumps(spec))
    templates = load_templates(load_spec(root / "blocks.yaml"))
    encode = make_request_encoder(templates)
    return lambda **row: encode(templates.variables(row))


def encode_blocks(
    root: Path, *blocks: dict[str, Any], source: dict[str, Any] | None = None, **row: Any
) -> EncodedRequest:
    """Encode one row whose prompt is these blocks."""
    return encode_blocks_with(root, *blocks, source=source)(**row)


def sent_blocks(root: Path, *blocks: dict[str, Any], **row: Any) -> list[dict[str, Any]]:
    """The content blocks that are sent for one row."""
    found = encode_blocks(root, *blocks, **row)
    assert found.problem is None
    content: list[dict[str, Any]] = json.loads(found.params.sent)["messages"][0]["content"]
    return content


def blocks_problem(root: Path, *blocks: dict[str, Any], **row: Any) -> str:
    """The reason why a row cannot be sent."""
    found = encode_blocks(root, *blocks, **row)
    assert (found.params.sent, found.size_adjustment) == (b"", 0)
    return str(found.problem)


PATH_BLOCK = {"type": "document", "path": "{{ path }}"}
IMAGE_BLOCK = {"type": "image", "path": "{{ path }}"}


def write_templates(
    root: Path, prompt: str | Mapping[str, Any], files: Mapping[str, str] | None = None, **vars: Any
) -> Templates:
    """The templates of a spec written into `root`, with `files` below its prompts/."""
    for name, text in {**(files or {}), "unused.j2": "nobody reads me"}.items():
        path = root / "prompts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    spec = {
        "version": 1,
        "name": "t",
        "source": {"type": "csv", "path": "in.csv"},
        "prompt": {"user": prompt} if isinstance(prompt, str) else prompt,
        "params": {"model": "m", "max_tokens": 9},
        "sinks": [{"type": "jsonl", "path": "out.jsonl"}],
        "vars": vars,
    }
    (root / "t.yaml").write_text(json.dumps(spec, indent=1, ensure_ascii=False))
    return load_templates(load_spec(root / "t.yaml"))


def render_user_prompt(found: Templates, **row: Any) -> str:
    """The user prompt of one row."""
    user = found.spec.prompt.user
    assert isinstance(user, str)
    return found.make_renderer("prompt.user", user)(found.variables(row))


def is_constant(found: Templates) -> bool:
    """Return whether the user prompt is the same for every row."""
    user = found.spec.prompt.user
    assert isinstance(user, str)
    return found.is_constant("prompt.user", user)


def line_of(text: str, root: Path) -> int:
    """The first line of the spec that holds `text`."""
    lines = (root / "t.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def write_scans(root: Path, **changes: Any) -> None:
    """A job of documents and images, of which one cannot be read and one belongs to all rows."""
    (root / "scans").mkdir()
    for number in range(12):
        (root / f"scans/{number}.pdf").write_bytes(
            b"broken" if number == 5 else pdf(number % 3 + 1, text=f"{number}")
        )
    (root / "logo.png").write_bytes(image(400, 300))
    user = [
        PATH_BLOCK,
        {"type": "image", "path": "logo.png", "convert": True},
        {"type": "text", "text": "{{ name }}?"},
    ]
    source = {"type": "files", "path": "scans/*.pdf", "key": "name"}
    write_job(root, **{"source": source, "prompt": {"user": user}, **changes})
