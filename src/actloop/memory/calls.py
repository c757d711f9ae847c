"""The messages of a step that called tools by messages: the calls, and a result for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actloop.values.messages import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole

if TYPE_CHECKING:
    from actloop.memory.steps import ActionStep, ToolCall

_LONGEST_UNREADABLE = 1_000


def call_messages(step: ActionStep, calls: list[ToolCall]) -> list[ChatMessage]:
    """The model's turn with its calls, then one message for each result, as services want them."""
    reply = step.model_output_message
    turn = ChatMessage(
        role=MessageRole.ASSISTANT,
        content=_said(step),
        tool_calls=[
            ChatMessageToolCall(ChatMessageToolCallFunction(_by_name(call.arguments), call.name), call.id)
            for call in calls
        ],
        reasoning_content=reply.reasoning_content if reply is not None else None,
        reasoning_details=reply.reasoning_details if reply is not None else None,
    )
    results = [
        ChatMessage(MessageRole.TOOL_RESPONSE, [{"type": "text", "text": text}], tool_call_id=call.id)
        for call, text in zip(calls, _results(step, len(calls)), strict=True)
    ]
    return [turn, *results]


def _said(step: ActionStep) -> list[dict[str, Any]] | None:
    """What the model said besides its calls."""
    if step.thought is not None:
        text = f"Thought: {step.thought}" if step.thought else ""
    elif isinstance(step.model_output, list):
        return step.model_output
    else:
        text = (step.model_output or "").strip()
    return [{"type": "text", "text": text}] if text else None


def _by_name(arguments: Any) -> dict[str, Any]:
    """Arguments as a mapping, which services demand, also where the model wrote something else."""
    if isinstance(arguments, dict):
        return cast("dict[str, Any]", arguments)
    return {"arguments": arguments[:_LONGEST_UNREADABLE] if isinstance(arguments, str) else arguments}


def _results(step: ActionStep, count: int) -> list[str]:
    """A text for each call; where the step's observations were edited, the edited text for the first."""
    known = list(step.call_observations or ())
    missing = "There is no result: the run ended before this call did."
    if (step.observations or "") != "\n".join(known):
        known, missing = [step.observations or "(left out)"], "(see the result above)"
    texts = [*known[:count], *[missing] * (count - len(known))]
    error = str(step.error) if step.error is not None else ""
    if error and not any(error in text for text in texts):
        texts[-1] += f"\nError: {error}"
    return texts
