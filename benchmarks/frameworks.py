"""The two sides under one set of names. Their public names are the same, so that a benchmark is written once.

Runs in the environment of its side, where the other framework need not be installed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Side: TypeAlias = Literal["actloop", "smolagents"]

Reply: TypeAlias = "Callable[[list[Any]], str]"
"""Given the messages, what the model says."""


@dataclass(frozen=True, slots=True)
class Framework:
    """One side.

    Attributes:
        side: Its name, which is also its package's.
        package: The package itself.
    """

    side: Side
    package: Any

    def model(self, reply: Reply, delay: float = 0.0) -> Any:
        """A model that says what `reply` gives it, after `delay` seconds."""
        if self.side == "actloop":
            return self.package.ScriptedModel(reply, delay=delay)
        return _peer_model(self.package, reply, delay)

    def agent(self, reply: Reply, *, delay: float = 0.0, **options: Any) -> Any:
        """A silent code agent without tools, with such a model; steps are not limited."""
        silent = self.package.LogLevel.OFF
        defaults: dict[str, Any] = {"tools": [], "max_steps": 10_000, "verbosity_level": silent}
        return self.package.CodeAgent(model=self.model(reply, delay), **(defaults | options))

    def executor(self, **options: Any) -> Any:
        """What programs run in when no other is asked for, made and ready for a first program."""
        executor = self.package.LocalPythonExecutor([], **options)
        executor.send_tools({})
        return executor


def framework(side: Side) -> Framework:
    """A side, with its package imported."""
    return Framework(side, import_module(side))


def _peer_model(package: Any, reply: Reply, delay: float) -> Any:
    """The peer has no model for tests, so this is one as its documentation tells users to write."""

    class Scripted(package.Model):
        def generate(self, messages: list[Any], **_: Any) -> Any:
            if delay:
                time.sleep(delay)
            usage = package.TokenUsage(input_tokens=100, output_tokens=20)
            return package.ChatMessage(role=package.MessageRole.ASSISTANT, content=reply(messages), token_usage=usage)

    return Scripted(model_id="scripted")


def program(code: str) -> str:
    """A reply that holds a program, as both sides read it."""
    return f"Thought: I do the next thing.\n<code>\n{code}\n</code>"


def answering(value: str) -> str:
    """A reply whose program gives the final answer."""
    return program(f"final_answer({value})")
