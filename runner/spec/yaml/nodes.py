"""The nodes of a strict YAML file: scalars, sequences and mappings, each with its place.

Tags, several documents and alias bombs are errors.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from runner.spec.yaml.quoting import find_open_quote

MAX_DEPTH = 64

Position = tuple[int, int]

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar with its text, a sequence with its items, or a mapping with its pairs."""

    position: Position
    text: str | None = None
    is_plain: bool = False
    items: "list[Node] | None" = None
    pairs: "list[tuple[Node, Node]] | None" = None


class InvalidYaml(Exception):
    """An error: a text is not the YAML that a spec may have; `position` is where."""

    def __init__(self, message: str, place: Position) -> None:
        super().__init__(message)
        self.position = place


def compose_nodes(text: str) -> Node:
    """Return the node of the one document in a text. Raises InvalidYaml."""
    try:
        return _Composer(yaml.parse(text, Loader=_LOADER), text).compose()
    except yaml.YAMLError as error:
        raise InvalidYaml(*_describe_yaml_error(error, text)) from error


@dataclass(slots=True)
class _Composer:
    events: Iterator[Any]
    text: str
    anchors: dict[str, Node] = field(default_factory=dict)

    def compose(self) -> Node:
        next(self.events)
        start = next(self.events)
        if isinstance(start, yaml.StreamEndEvent):
            raise InvalidYaml("the file is empty", (1, 1))
        node = self.compose_node(next(self.events), depth=1)
        next(self.events)
        end = next(self.events)
        if not isinstance(end, yaml.StreamEndEvent):
            raise InvalidYaml("a spec file contains one document: remove the second `---`", _event_position(end))
        return node

    def compose_node(self, event: Any, *, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise InvalidYaml(f"nested deeper than {MAX_DEPTH} levels", _event_position(event))
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise InvalidYaml(f"the alias *{event.anchor} has no anchor above it", _event_position(event))
            return self.anchors[event.anchor]
        if event.tag and event.tag != "!":
            raise InvalidYaml(f"the tag {event.tag} is not allowed: use plain YAML values", _event_position(event))
        node = self._compose_content(event, depth=depth)
        if event.anchor:
            self._check_anchor(event)
            self.anchors[event.anchor] = node
        return node

    def _compose_content(self, event: Any, *, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            line, column = _event_position(event)
            block = event.style in ("|", ">")
            return Node(
                (line + 1, 0) if block else (line, column),
                event.value,
                is_plain=event.style in (None, "") and event.tag != "!",
            )
        if isinstance(event, yaml.SequenceStartEvent):
            items = [
                self.compose_node(item, depth=depth + 1) for item in self._events_until(yaml.SequenceEndEvent)
            ]
            return Node(_event_position(event), items=items)
        if event.flow_style:
            self._check_question_mark(event, at=0)
        pairs = []
        for key in self._events_until(yaml.MappingEndEvent):
            self._check_question_mark(key, at=-1)
            if isinstance(key, yaml.MappingStartEvent) and key.flow_style:
                raise InvalidYaml(
                    "a key must be plain text: text that begins with { must be quoted", _event_position(event)
                )
            if not isinstance(key, yaml.ScalarEvent):
                raise InvalidYaml("a key must be plain text", _event_position(key))
            pairs.append(
                (self.compose_node(key, depth=depth), self.compose_node(next(self.events), depth=depth + 1))
            )
        return Node(_event_position(event), pairs=pairs)

    def _check_anchor(self, event: Any) -> None:
        """Raise InvalidYaml for an anchor that libyaml ends inside a word."""
        end = self.text.find(f"&{event.anchor}", event.start_mark.index) + 1 + len(event.anchor)
        if not (self.text[end : end + 1] or " ").isspace() and self.text[end] not in ",]}":
            message = "the name of an anchor has only letters, digits, - and _, and a space follows it"
            raise InvalidYaml(message, _event_position(event))

    def _check_question_mark(self, event: Any, *, at: int) -> None:
        """Raise InvalidYaml for text in brackets or braces that begins with ?, which libyaml drops."""
        place = event.start_mark.index + at
        if self.text[max(place, 0) : place + 1] == "?" and not self.text[place + 1 : place + 2].isspace():
            raise InvalidYaml("text that begins with ? must be quoted here", _event_position(event))

    def _events_until(self, end: type) -> Iterator[Any]:
        while not isinstance(event := next(self.events), end):
            yield event


def _event_position(event: Any) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _describe_yaml_error(error: yaml.YAMLError, text: str) -> tuple[str, Position]:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.encode()[: error.position].count(b"\n") + 1
        return "not valid YAML: it contains a control character or an invalid character", (line, 0)
    if (place := find_open_quote(error, text)) is not None:
        return "not valid YAML: the quote that opens here is not closed", place
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    message = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if "maximum nesting depth" in message:
        # libyaml 0.2.6 reads ahead, and stops at its own limit before the events reach ours.
        return f"nested deeper than {MAX_DEPTH} levels", (mark.line + 1, mark.column + 1) if mark else (0, 0)
    if "cannot start any token" in message:
        message += " (indent with spaces, not tabs; quote text that begins with @ or `)"
    return f"not valid YAML: {message}", (mark.line + 1, mark.column + 1) if mark else (0, 0)
