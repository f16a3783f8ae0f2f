"""Find the fields that the records of one spec have, and those of others do not."""

from typing import Any

from runner.spec.spec import Spec


def list_own_fields(spec: Spec) -> list[str]:
    """Return the fields of a record besides `RECORD_FIELDS`: the variant, and the citations if any."""
    variant = ["variant"] if spec.variant is not None else []
    return [*variant, *(["citations"] if _asks_for_citations(spec) else [])]


def _asks_for_citations(spec: Spec) -> bool:
    """Return whether a document asks for citations, or a server tool on offer gives them."""
    tools = spec.params.get("tools")
    offered = tools if isinstance(tools, list) else []
    return any(block.citations for block in spec.prompt.blocks()) or any(map(_gives_citations, offered))


def _gives_citations(tool: Any) -> bool:
    """Return whether a tool gives citations: a web search always does, and others as their settings say."""
    if not isinstance(tool, dict):
        return False
    setting = tool.get("citations")
    is_asked = isinstance(setting, dict) and setting.get("enabled") is True
    return is_asked or str(tool.get("type")).startswith("web_search_")
