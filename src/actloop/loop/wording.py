"""What the model is told of a program's outcome."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actloop.executors.session import GuestFailure
    from actloop.values.events import StepFinished

OUTPUT_LIMIT = 5_000
"""Characters of printed output that the model is shown of one step."""

RETRY_TEMPERATURE = 0.7
"""Temperature of a reply after the same program gave the same result twice."""


def cut(text: str, limit: int) -> str:
    """A text cut in its middle, saying how much is missing."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    return f"{text[:head]}\n[... {len(text) - head - tail} characters left out ...]\n{text[-tail:]}"


def preview(value: Any, limit: int = 80) -> str:
    """A short `repr` that never fails."""
    try:
        text = repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def variables(given: Mapping[str, Any]) -> str:
    """Variables by name, with type and preview, one a line."""
    return "\n".join(f"{name}: {type(value).__name__} = {preview(value)}" for name, value in given.items())


def printed(logs: str, limit: int = OUTPUT_LIMIT) -> str:
    """What a program printed."""
    return cut(logs.rstrip("\n"), limit)


def ran(output: Any, logs: str, limit: int = OUTPUT_LIMIT) -> str:
    """The outcome of a program that ran to its end."""
    parts = [printed(logs, limit)] if logs.strip() else []
    if output is not None:
        parts.append(f"Value of the last line: {cut(repr(output), limit)} ({type(output).__name__})")
    return "\n".join(parts) or "The code ran, but printed nothing. Use print() to see a value."


def failed(failure: GuestFailure) -> str:
    """The error of a program: kind, message, offending line and a hint."""
    text = f"{failure.kind}: {failure.message}" if failure.message else failure.kind
    if failure.source.strip():
        text += f"\nin line {failure.line}: {failure.source.strip()}"
    if failure.hint:
        text += f"\n{failure.hint}"
    return text


def refused(reason: str) -> str:
    """Why a final answer was not accepted."""
    return f"The answer was not accepted: {reason}"


def same_program(a: str, b: str) -> bool:
    """Whether two programs differ in layout and comments at most."""
    try:
        return ast.dump(ast.parse(a)) == ast.dump(ast.parse(b))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return a.strip() == b.strip()


def noting_repetition(step: StepFinished) -> StepFinished:
    """The step, with a word that its program and outcome are those of the step before."""
    word = "This is the same code as before, with the same result. Do something else."
    if step.error is not None:
        return replace(step, error=f"{step.error}\n{word}")
    return replace(step, observation=f"{step.observation}\n{word}")
