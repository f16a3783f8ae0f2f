"""Texts as they must be written in a YAML file and in a Jinja template."""

import json
import re

_PLAIN = re.compile(r"[A-Za-z][\w./-]*( [\w./-]+)*")
_YAML_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_OPENING = re.compile(r"\{(?=[{%#])|\$(?=\{)")


def quote_yaml(text: str) -> str:
    """Return a text as a scalar of YAML: plain if it can be, else in double quotes."""
    if _PLAIN.fullmatch(text) and text.isascii() and text.lower() not in _YAML_WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def to_template_text(text: str) -> str:
    """Return a text as lines of a template that renders to it: nothing in it opens an expression or `${env:}`."""
    lines = ["".join(c if c.isprintable() else " " for c in line).strip() for line in text.splitlines()]
    return _OPENING.sub(lambda match: f"{{{{ '{match[0]}' }}}}", "\n".join(lines)).strip()


def indent_block(text: str, width: int) -> str:
    """Return the lines of a text, indented for a block of YAML."""
    return "\n".join(" " * width + line if line else "" for line in text.splitlines())
