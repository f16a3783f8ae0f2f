"""The prompt of a spec: texts, content blocks and turns, each made of templates."""

from collections.abc import Iterator
from dataclasses import dataclass

CACHE_TTLS = ("5m", "1h")
"""The times to live of a cache mark."""


@dataclass(frozen=True, slots=True)
class Block:
    """A content block that is more than plain text; its content consists of templates.

    `type` is text, document or image. `given` is text, path, url, base64 or file_id, and `value` is its template.
    A path must be inside `folder`, by default the project's. `cache` is the time to live of its cache mark. With
    `upload`, its file is sent through the Files API. `pages` is the template of the pages to send (see
    `page_ranges`), by default all. With `convert`, an image of any kind becomes one block for each of its pages.
    """

    type: str
    given: str
    value: str
    title: str | None = None
    context: str | None = None
    citations: bool = False
    cache: str | None = None
    folder: str | None = None
    upload: bool = False
    pages: str | None = None
    convert: bool = False

    def templates(self) -> Iterator[tuple[str, str]]:
        """Yield the templates of the block as (setting, template)."""
        yield self.given, self.value
        for name in ("title", "context", "pages"):
            if (written := getattr(self, name)) is not None:
                yield name, written


Content = str | tuple[str | Block, ...]
"""One template that is sent as a string, or several blocks; blocks of plain text are strings."""


def block_setting(setting: str, index: int, name: str = "text") -> str:
    """Return the dotted path of a setting of one block in the content at `setting`."""
    return f"{setting}.{index}.{name}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation: `role` is user or assistant."""

    role: str
    content: Content


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt.

    `cache` is the time to live of the system prompt's cache mark, 5m or 1h, or auto if the runner decides.
    """

    system: Content | None = None
    messages: tuple[Turn, ...] = ()
    user: Content | None = None
    cache: str | None = None

    @property
    def mark_ttl(self) -> str | None:
        """The time to live of the mark at the end of the system prompt, or None if the spec sets none."""
        return self.cache if self.cache in CACHE_TTLS else None

    def turns(self) -> Iterator[tuple[str, Turn]]:
        """Yield the turns in order, each with the dotted path of its content in the spec."""
        for index, turn in enumerate(self.messages):
            yield f"prompt.messages.{index}.content", turn
        if self.user is not None:
            yield "prompt.user", Turn("user", self.user)

    def templates(self) -> Iterator[tuple[str, str]]:
        """Yield every template as written, with its dotted path in the spec."""
        for at, content in self._contents():
            if isinstance(content, str):
                yield at, content
                continue
            for index, part in enumerate(content):
                templates = part.templates() if isinstance(part, Block) else [("text", part)]
                yield from ((block_setting(at, index, name), text) for name, text in templates)

    def _contents(self) -> Iterator[tuple[str, Content]]:
        if self.system is not None:
            yield "prompt.system", self.system
        yield from ((at, turn.content) for at, turn in self.turns())

    def blocks(self) -> Iterator[Block]:
        """Yield every block that is more than plain text."""
        for _, content in self._contents():
            yield from (part for part in content if isinstance(part, Block))
