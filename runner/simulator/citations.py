"""The citations of an answer, if documents or tools of its request ask for them."""

from collections.abc import Iterator
from typing import Any

_CITED_CHARS = 100


def make_text_blocks(
    text: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the text of an answer as blocks: one, or two of which the second cites all that can be cited."""
    citations = [*_cite_documents(messages), *_cite_search(tools)]
    if not citations:
        return [{"type": "text", "text": text, "citations": None}]
    first, space, rest = text.partition(" ")
    cited = {"type": "text", "text": rest or text, "citations": citations}
    return [{"type": "text", "text": first + space, "citations": None}, cited] if rest else [cited]


def _cite_documents(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield one citation of each document that asks for it; documents are numbered over all messages."""
    contents = [message.get("content") for message in messages]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    documents = [block for block in blocks if isinstance(block, dict) and block.get("type") == "document"]
    for index, block in enumerate(documents):
        setting = block.get("citations")
        if isinstance(setting, dict) and setting.get("enabled") is True:
            source = block["source"]
            about = {
                "document_index": index,
                "document_title": block.get("title"),
                "file_id": source.get("file_id"),
            }
            yield {**_locate(source), **about}


def _locate(source: dict[str, Any]) -> dict[str, Any]:
    """Return the cited place: characters of a text, or a page of any other document."""
    if source["type"] == "text":
        cited = str(source["data"])[:_CITED_CHARS]
        place: dict[str, Any] = {"start_char_index": 0, "end_char_index": len(cited)}
        return {"type": "char_location", "cited_text": cited, **place}
    place = {"start_page_number": 1, "end_page_number": 2}
    return {"type": "page_location", "cited_text": "Simulated text of page 1.", **place}


def _cite_search(tools: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the citation of a page that a web search found, if a request offers that tool."""
    if any(str(tool.get("type")).startswith("web_search_") for tool in tools):
        yield {
            "type": "web_search_result_location",
            "cited_text": "Simulated text of a page.",
            "url": "https://example.com/simulated",
            "title": None,
            "encrypted_index": "c2ltdWxhdGVk",
        }
