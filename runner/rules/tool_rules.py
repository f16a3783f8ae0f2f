"""Rules about tools and the choice of a tool."""

from collections.abc import Iterator
from typing import Any

from runner.requests.params import is_thinking_on
from runner.rules.finding import RuleContext, Violation
from runner.rules.param_rules import RELEASE_NOTES_PAGE, is_client_tool, list_tools
from runner.spec.structured.sent_schema import make_tool_schema
from runner.spec.structured.supported import is_tool_input

_THINKING_PAGE = "platform.claude.com, extended thinking, 2026-08; the API's own message"


def _tool_choice(case: RuleContext) -> dict[str, Any]:
    choice = case.params.get("tool_choice")
    return choice if isinstance(choice, dict) else {}


def forced_tool_choice(case: RuleContext) -> Iterator[Violation]:
    """Report a forced tool call that the model, or its thinking, does not support."""
    kind = _tool_choice(case).get("type")
    if kind not in ("any", "tool"):
        return
    if case.model_rejects("forced_tool_choice"):
        message = (
            f"{case.params['model']} does not support tool_choice {kind} ({RELEASE_NOTES_PAGE}): "
            "use auto and ask for the "
            "tool in the prompt, or use output.schema"
        )
        is_doubtful = case.model is not None and "forced_tool_choice" in case.model.doubtful
        yield Violation("params.tool_choice", message, "warning" if is_doubtful else None)
    elif is_thinking_on(case.params):
        thinking = case.params.get("thinking")
        why = "params.thinking turns it on" if isinstance(thinking, dict) else "this model always thinks"
        message = (
            f"the API rejects tool_choice {kind} while thinking is on ({_THINKING_PAGE}), and {why}: use auto and "
            "ask for the tool in the prompt, or use output.schema"
        )
        # No source tells how the newest type of thinking combines with a forced call.
        is_doubtful = isinstance(thinking, dict) and thinking.get("type") not in ("enabled", "adaptive")
        yield Violation("params.tool_choice", message, "warning" if is_doubtful else None)


def tool_choice_without_tool(case: RuleContext) -> Iterator[Violation]:
    """Report a tool choice without any tool, or of a tool that is not defined."""
    choice, tools = _tool_choice(case), list_tools(case.params)
    if not choice or case.spec.output.tool is not None:
        return
    if not tools and choice.get("type") != "none":
        message = (
            "tool_choice without tools: the API probably rejects it (platform.claude.com, tool use; not "
            "confirmed): remove it, or define `tools`"
        )
        yield Violation("params.tool_choice", message, "warning")
        return
    names = [str(tool.get("name")) for tool in tools if isinstance(tool, dict)]
    if choice.get("type") == "tool" and choice.get("name") not in names:
        message = f"tool_choice names the tool {choice.get('name')!r}, but params.tools defines {', '.join(names)}"
        yield Violation("params.tool_choice", f"{message}: name one of them")


def duplicate_tool(case: RuleContext) -> Iterator[Violation]:
    """Report tools of the same name."""
    seen = set[str]()
    tools = case.params.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            message = (
                f'there is already a tool named {name}, and the API answers "tools: Tool names must be unique." '
                "(message in public reports, 2026-05): rename one, or remove it"
            )
            yield Violation(f"params.tools.{index}.name", message)
        seen.add(name)


def tool_input_schema(case: RuleContext) -> Iterator[Violation]:
    """Report tools whose input is no object."""
    tools = case.params.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, dict) or str(tool.get("type") or "custom") != "custom":
            continue
        at = f"params.tools.{index}"
        message = _find_input_problem(tool.get("input_schema"))
        if message is not None:
            found = f"{at}.input_schema.type" if f"{at}.input_schema.type" in case.spec.positions else at
            yield Violation(found, message)
    schema, name = case.spec.output.schema, case.spec.output.tool
    is_own = name is not None and not any(isinstance(one, dict) and one.get("name") == name for one in tools or ())
    if is_own and schema is not None and (message := _find_input_problem(make_tool_schema(schema))) is not None:
        yield Violation("output.schema", message)


def _find_input_problem(schema: Any) -> str | None:
    """Return the problem of the schema of a tool's input, or None."""
    source = "SDK 2.14, tool_param"
    if not isinstance(schema, dict):
        return f"a tool needs an input_schema ({source}): add `input_schema: {{type: object, properties: …}}`"
    if is_tool_input(schema):
        return None
    if schema.get("type") == "object":
        return (
            'the API answers "input_schema does not support oneOf, allOf, or anyOf at the top level" (message in '
            "public reports): put the alternatives into a property of an object"
        )
    return (
        f"the input of a tool is an object, so its schema needs `type: object` at its root ({source}): put the "
        "value into a property of an object"
    )


def client_tools(case: RuleContext) -> Iterator[Violation]:
    """Report tools whose calls are never executed."""
    names = [str(tool.get("name")) for tool in list_tools(case.params) if is_client_tool(tool)]
    names = [name for name in names if name != case.spec.output.tool]
    if names:
        message = (
            f"an answer ends when it calls {', '.join(names)}, because the runner does not run client tools: the "
            "call is the output. If that is intended, add `# runner: allow client-tools`"
        )
        yield Violation("params.tools", message)
