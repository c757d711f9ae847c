"""What the model is told of the tool calls that it asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from actloop.loop.preview import preview
from actloop.loop.wording import MESSAGE_LIMIT, cut, neutral

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actloop.loop.effects import CallOutcome
    from actloop.values.events import CallObserved

_LARGEST = 100_000  # items of a container that are still written as JSON
_REPEATED = "This is the same call as before, with the same result. Do something else, or give the answer."


def observed(outcome: CallOutcome, limit: int) -> str:
    """The result of a call, or its error."""
    if outcome.error is not None:
        said = neutral(cut(outcome.error, MESSAGE_LIMIT))
        if outcome.error_kind == "AgentToolCallError":
            return f"Error: {said}"
        return f"Error: {outcome.error_kind}: {said}" if said else f"Error: {outcome.error_kind}"
    if outcome.stored is not None:
        return f"Stored '{outcome.stored}' in memory. Pass this name as an argument to hand the {_medium(outcome)} on."
    return neutral(cut(_text(outcome.value, limit).strip(), limit)) or "(an empty text)"


def _medium(outcome: CallOutcome) -> str:
    return "sound" if str(outcome.stored).startswith("audio") else "image"


def _text(value: Any, limit: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list) and len(cast("list[Any]", value)) <= _LARGEST:
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return preview(value, limit)
    if isinstance(value, dict | list | tuple | set | frozenset | bytes | bytearray | int):
        return preview(value, limit)
    try:
        return str(value)
    except Exception:
        return preview(value, limit)


def repeated(observations: Sequence[CallObserved]) -> list[CallObserved]:
    """The observations, with a word that these calls and results are those of the step before."""
    *before, last = observations
    return [*before, replace(last, observation=f"{last.observation}\n{_REPEATED}")]
