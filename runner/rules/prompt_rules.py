"""Rules about the conversation of a request: its last turn, its citations, and where its answer stops."""

from collections.abc import Iterator

from runner.rules.finding import RuleContext, Violation
from runner.spec.prompt import Block, Content, block_setting

_CITATIONS_PAGE = "platform.claude.com, citations and structured outputs, 2026-08"


def prefill(case: RuleContext) -> Iterator[Violation]:
    """Report a last turn of the assistant, which newer models cannot continue."""
    turns = list(case.spec.prompt.turns())
    at, last = turns[-1]
    if last.role == "assistant" and case.model_rejects("prefill"):
        message = (
            f"{case.params['model']} does not support an assistant turn at the end (platform.claude.com, API "
            "errors, 2026-08): end with a user turn, and use output.schema to control how answers begin"
        )
        yield Violation(at, message)


def prefill_ends_blank(case: RuleContext) -> Iterator[Violation]:
    """Report a last turn of the assistant that ends with a blank."""
    at, last = list(case.spec.prompt.turns())[-1]
    if last.role != "assistant" or case.model_rejects("prefill"):
        return
    setting, text = _last_template(at, last.content)
    # Rendering removes one line break at the end of a template.
    if text.removesuffix("\n")[-1:].isspace():
        message = (
            'the last assistant turn ends with a blank, and the API answers "final assistant content cannot '
            'end with trailing whitespace" (public reports, 2025-11): remove the blank'
        )
        yield Violation(setting, message)


def _last_template(at: str, content: Content) -> tuple[str, str]:
    """Return the setting and the text of the last template of a turn."""
    if isinstance(content, str):
        return at, content
    part, setting = content[-1], block_setting(at, len(content) - 1)
    return setting, part.value if isinstance(part, Block) else part


def citations_with_schema(case: RuleContext) -> Iterator[Violation]:
    """Report citations together with an output schema that is sent."""
    config = case.params.get("output_config")
    is_formatted = case.spec.is_schema_sent or (isinstance(config, dict) and config.get("format") is not None)
    if not is_formatted:
        return
    contents = [(at, turn.content) for at, turn in case.spec.prompt.turns()]
    for at, content in contents:
        for index, part in enumerate(content if isinstance(content, tuple) else ()):
            if isinstance(part, Block) and part.citations:
                message = (
                    f"the API rejects citations together with a sent output schema ({_CITATIONS_PAGE}): remove "
                    "`citations`, or set `output.parse: json`, which checks the schema without sending it"
                )
                setting = block_setting(at, index, "citations")
                yield Violation(setting, message)


def blank_stop_sequence(case: RuleContext) -> Iterator[Violation]:
    """Report stop sequences that are empty or only blanks."""
    given = case.params.get("stop_sequences")
    for index, text in enumerate(given if isinstance(given, list) else ()):
        if isinstance(text, str) and not text.strip():
            message = (
                'the API rejects a blank stop sequence ("each stop sequence must contain non-whitespace", public '
                "reports, 2024): remove it"
            )
            yield Violation(f"params.stop_sequences.{index}", message)
