"""Recognises a service's refusal of a conversation that is longer than the model's context."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actloop.errors import message_of
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFUSALS = re.compile(
    r"context_length_exceeded|request_too_large|exceed_context_size|model_max_prompt_tokens_exceeded"
    r"|maximum context length|available context size|context length of only|exceeds? the (?:model'?s )?context"
    r"|exceeds? (?:the )?(?:maximum|max)[^.\n]{0,40}(?:tokens|context)"
    r"|(?:prompt|input|request|conversation) (?:is|was) too (?:long|large)[^.\n]{0,40}(?:token|model|context|maximum)"
    r"|reduce the length of (?:the|your) (?:messages|prompt|input)"
    r"|(?:context window|context length)[^.\n]{0,30}(?:exceeded|too small|limit)"
    r"|exceeds?[^.\n]{0,30}context (?:window|length|size|limit)"
    r"|longer than the maximum model length"
    r"|inputs? tokens \+ .{0,20}max_new_tokens",
    re.IGNORECASE,
)
"""How OpenAI, llama.cpp, vLLM, Anthropic, Bedrock, Gemini, Groq, Mistral and TGI say it; none says it the same way."""

_RATE = re.compile(r"rate.?limit|tokens? per (?:minute|day|second)|\bTPM\b|quota", re.IGNORECASE)
_WINDOWS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"maximum context length (?:is|of) ([\d,]{3,12})",
        r"maximum model length of ([\d,]{3,12})",
        r"model with ([\d,]{3,12}) maximum context",
        r"context size \(([\d,]{3,12})",
        r"['\"]n_ctx['\"]: ?(\d{3,12})",
        r"> ([\d,]{3,12}) maximum",
        r"maximum number of (?:input )?tokens (?:allowed )?\(?(?:of |is )?([\d,]{3,12})",
        r"context (?:window|length|limit) (?:is|of)(?: only)? ([\d,]{3,12})",
    )
)
_CONSIDERED = 4_000  # characters; a service may quote the whole conversation


def overflow_of(error: BaseException) -> tuple[str, int | None] | None:
    """What a service said when it refused a conversation as too long, and the tokens it takes, if it said so.

    None for any other error.
    """
    for cause in _causes(error):
        text = f"{message_of(cause)} {getattr(cause, 'code', None) or ''} {getattr(cause, 'body', None) or ''}"
        text = text[:_CONSIDERED]
        if _REFUSALS.search(text) and not _RATE.search(text):
            return cut(message_of(cause), 500), _window(text)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__


def _window(text: str) -> int | None:
    for pattern in _WINDOWS:
        found = pattern.search(text)
        if found is not None:
            return int(found[1].replace(",", "")) or None
    return None
