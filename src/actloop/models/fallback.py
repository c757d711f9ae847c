"""Several models as one: when the first fails, the next one answers."""

from __future__ import annotations

import threading
import time
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentGenerationError, AgentInterruptedError, message_of
from actloop.models.base import Model, ToolLike
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence

    from actloop.values.messages import ChatMessage, ChatMessageStreamDelta

    Conversation = Sequence[ChatMessage | dict[str, Any]]


class FallbackModel(Model):
    """Asks the first model, and the next one where that fails, after its own retries.

    A model that failed is left alone for a while, so that not every request waits for its failure again. Where all are
    being left alone, all are tried. A streamed reply goes over to the next model only before its first piece: what an
    agent was shown is never taken back. One object may be used from any number of threads and event loops.

    Args:
        models: The models in the order of preference; at least one.
        pause: Seconds for which a model that failed is left alone; 0 to try it first again each time.
        on_failure: Called with a model that failed, and its error.
    """

    def __init__(
        self,
        models: Sequence[Model],
        pause: float = 30.0,
        on_failure: Callable[[Model, Exception], Any] | None = None,
    ) -> None:
        if isinstance(models, Model) or not models or not all(isinstance(model, Model) for model in models):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(cut(f"FallbackModel needs a list of one or more models; got {models!r}", 300))
        if pause < 0:
            raise ValueError(f"pause is a number of seconds, 0 or more; got {pause!r}")
        super().__init__(model_id=" | ".join(_name(model) for model in models))
        self.models = list(models)
        self.pause = pause
        self.on_failure = on_failure
        self._failed: dict[int, float] = {}
        self._lock = threading.Lock()

    @property
    def supports_grammar(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether every model follows a grammar."""
        return all(model.supports_grammar for model in self.models)

    @property
    def native_tool_calls(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether every model speaks tool calls of its own."""
        return all(model.native_tool_calls for model in self.models)

    @property
    def context_window(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The smallest window, in tokens, so that each of the models can go on."""
        windows = [model.context_window for model in self.models if model.context_window is not None]
        return min(windows, default=None)

    @property
    def supports_streaming(self) -> bool:
        """Whether every model hands out its reply piece by piece."""
        return all(model.supports_streaming for model in self.models)

    def generate(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The reply of the first model that gives one; see `Model.generate`.

        Raises:
            AgentGenerationError: None of them gives one; the message holds what each said.
        """
        failures: list[tuple[Model, Exception]] = []
        for model in self._in_order():
            try:
                reply = model.generate(messages, stop_sequences, response_format, tools_to_call_from, **kwargs)
            except Exception as error:
                self._note(model, error, failures)
            else:
                self._well(model)
                return reply
        raise _none_answered(failures)

    async def agenerate(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """As `generate`, awaited."""
        failures: list[tuple[Model, Exception]] = []
        for model in self._in_order():
            try:
                reply = await model.agenerate(messages, stop_sequences, response_format, tools_to_call_from, **kwargs)
            except Exception as error:
                self._note(model, error, failures)
            else:
                self._well(model)
                return reply
        raise _none_answered(failures)

    def generate_stream(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> Generator[ChatMessageStreamDelta]:
        """As `generate`, piece by piece."""
        failures: list[tuple[Model, Exception]] = []
        for model in self._in_order():
            pieces = model.generate_stream(messages, stop_sequences, response_format, tools_to_call_from, **kwargs)
            with closing(pieces):
                try:
                    first = next(pieces, None)
                except Exception as error:
                    self._note(model, error, failures)
                    continue
                self._well(model)
                if first is not None:
                    yield first
                yield from pieces
            return
        raise _none_answered(failures)

    async def astream(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[ChatMessageStreamDelta]:
        """As `generate_stream`, asynchronous."""
        failures: list[tuple[Model, Exception]] = []
        for model in self._in_order():
            pieces = model.astream(messages, stop_sequences, response_format, tools_to_call_from, **kwargs)
            async with aclosing(pieces):
                try:
                    first = await anext(pieces, None)
                except Exception as error:
                    self._note(model, error, failures)
                    continue
                self._well(model)
                if first is not None:
                    yield first
                async for piece in pieces:
                    yield piece
            return
        raise _none_answered(failures)

    def to_dict(self) -> dict[str, Any]:
        """The settings of each model, with its class, without keys and tokens."""
        models = [{"class": type(model).__name__, "data": model.to_dict()} for model in self.models]
        return {"models": models, "pause": self.pause}

    @classmethod
    def from_dict(cls, model_dictionary: dict[str, Any]) -> FallbackModel:
        """A model from what `to_dict` gave.

        Raises:
            ValueError: A class that is named is no model of actloop's.
        """
        import actloop

        models: list[Model] = []
        for entry in model_dictionary["models"]:
            made: Any = getattr(actloop, str(entry["class"]), None) if entry["class"] in actloop.__all__ else None
            if not (isinstance(made, type) and issubclass(made, Model)):
                raise ValueError(f"there is no model class {entry['class']!r}; make this FallbackModel by hand")
            models.append(made.from_dict(entry["data"]))
        return cls(models, pause=model_dictionary.get("pause", 30.0))

    def _in_order(self) -> list[Model]:
        """The models to try: first those that are not being left alone, each group in the order of preference."""
        now = time.monotonic()
        with self._lock:
            left_alone = [now < self._failed.get(place, 0.0) for place in range(len(self.models))]
        ready = [model for model, alone in zip(self.models, left_alone, strict=True) if not alone]
        return ready + [model for model, alone in zip(self.models, left_alone, strict=True) if alone]

    def _note(self, model: Model, error: Exception, failures: list[tuple[Model, Exception]]) -> None:
        if isinstance(error, AgentInterruptedError):
            raise error
        failures.append((model, error))
        with self._lock:
            self._failed[self.models.index(model)] = time.monotonic() + self.pause
        if self.on_failure is not None:
            self.on_failure(model, error)

    def _well(self, model: Model) -> None:
        with self._lock:
            self._failed.pop(self.models.index(model), None)


def _name(model: Model) -> str:
    return model.model_id or type(model).__name__


def _none_answered(failures: list[tuple[Model, Exception]]) -> AgentGenerationError:
    told = "\n".join(f"- {_name(model)}: {message_of(error)}" for model, error in failures)
    error = AgentGenerationError(f"None of {len(failures)} models answered:\n{told}")
    error.__cause__ = failures[-1][1]
    return error
