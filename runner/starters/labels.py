"""Find the alternatives that a task names: "label each ticket as bug, billing or howto"."""

import re

_BEFORE = re.compile(r"(?:\b(?:as|into|either|between|among|one of)|:)\s*:?\s+", re.IGNORECASE)
_LIST = re.compile(r"([^.;:!?\n()]+?),?\s+or\s+([^.,;:!?\n()]+)", re.IGNORECASE)
_SLASHES = re.compile(r"\w[\w-]*(?:\s*[/|]\s*\w[\w-]*)+")
_AFTER = re.compile(
    r"\s+(?:and|with|based|depending|using|when|if|because|for|from|by|in|according|so|then|that|which|per)\b.*",
    re.IGNORECASE | re.DOTALL,
)
_ARTICLE = re.compile(r"(?:a|an|the)\s+", re.IGNORECASE)
_QUOTES = "\"'`“”‘’ \t"
_MAX_WORDS, _MAX_LABELS = 4, 50


def _split_list(text: str) -> list[str]:
    """Return the parts of the list `A, B or C` or `A/B/C` at the beginning of a text; none without a list."""
    if (found := _SLASHES.match(text)) is not None:
        return re.split(r"\s*[/|]\s*", found[0])
    if (found := _LIST.match(text)) is not None:
        return re.split(r",|\s+or\s+", f"{found[1]},{_AFTER.sub('', found[2])}")
    return []


def _clean(text: str) -> str:
    return _ARTICLE.sub("", text.strip(_QUOTES), count=1).strip(_QUOTES)


def find_labels(task: str) -> list[str]:
    """Return the alternatives that a sentence names as `as A, B or C` or `as A/B/C`; none if it names none."""
    for before in _BEFORE.finditer(task):
        labels = [_clean(part) for part in _split_list(task[before.end() :])]
        are_short = all(label and len(label.split()) <= _MAX_WORDS for label in labels)
        if are_short and 2 <= len(labels) == len(set(labels)) <= _MAX_LABELS:
            return labels
    return []
