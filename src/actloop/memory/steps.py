"""The steps of a run, as users read and edit them, and the messages that a model is shown of each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast, overload

from actloop.memory.calls import call_messages
from actloop.values.calls import in_words
from actloop.values.messages import ChatMessage, MessageRole
from actloop.values.usage import Timing

if TYPE_CHECKING:
    from PIL.Image import Image

    from actloop.errors import AgentError
    from actloop.memory.memory import AgentMemory
    from actloop.values.usage import TokenUsage


@dataclass
class ToolCall:
    """A call that a step made; for a code agent the program itself, under the name `python_interpreter`."""

    name: str
    arguments: Any
    id: str

    def dict(self) -> dict[str, Any]:
        """The call as services write it."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": plain(self.arguments)},
        }


@dataclass
class ActionOutput:
    """What an action step produced, and whether that is the final answer."""

    output: Any
    is_final_answer: bool


@dataclass
class ToolOutput:
    """What one call of a tool-calling agent produced."""

    id: str
    output: Any
    is_final_answer: bool
    observation: str
    tool_call: ToolCall


class _Watched:
    """Tells the memory that holds a step when one of its attributes is set, so that its messages are written anew."""

    _memory: AgentMemory | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # A list may have been changed in place before it is set again.
        same = isinstance(value, str | int | None) and self.__dict__.get(name, self) is value
        object.__setattr__(self, name, value)
        if self._memory is not None and name != "_memory" and not same:
            self._memory.touch(cast("MemoryStep", self))


class _InputMessages:
    """The messages that a step's model was sent: those of the memory before the step, unless they were set."""

    @overload
    def __get__(self, step: None, owner: type) -> None: ...
    @overload
    def __get__(self, step: MemoryStep, owner: type) -> list[ChatMessage] | None: ...
    def __get__(self, step: MemoryStep | None, owner: type) -> list[ChatMessage] | None:
        if step is None:
            return None
        stored: list[ChatMessage] | None = step.__dict__.get("_input")
        if stored is None and step._memory is not None:  # pyright: ignore[reportPrivateUsage]
            return step._memory.messages_before(step)  # pyright: ignore[reportPrivateUsage]
        return stored

    def __set__(self, step: MemoryStep, value: list[ChatMessage] | _InputMessages | None) -> None:
        # A dataclass passes the field's default, which is this descriptor, when no value is given.
        step.__dict__["_input"] = None if value is self else value


@dataclass
class MemoryStep(_Watched):
    """Base class of everything in `AgentMemory.steps`."""

    @property
    def editable_in_place(self) -> bool:
        """Whether what the model is shown may change without an attribute being set."""
        return True

    def dict(self) -> dict[str, Any]:
        """The step as plain data."""
        return {item.name: plain(getattr(self, item.name)) for item in dataclasses.fields(self)}

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """The messages that a model is shown of this step.

        Args:
            summary_mode: Leave out what would bias a new plan: the system prompt, earlier plans, the model's words.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say which messages it becomes: override to_messages")


def _text(role: MessageRole, text: str) -> ChatMessage:
    return ChatMessage(role=role, content=[{"type": "text", "text": text}])


def _images(images: list[Image]) -> list[dict[str, Any]]:
    return [{"type": "image", "image": image} for image in images]


@dataclass
class ActionStep(MemoryStep):
    """One turn: the model's reply, what was run, what came of it.

    Attributes:
        step_number: Starts at 1 in each run.
        timing: Start and end; the start is now, unless it is told.
        model_input_messages: What the model was sent. Computed from the memory on demand, never stored with the step.
        tool_calls: What the reply asked for.
        error: Why the step failed, if it did.
        model_output_message: The reply.
        model_output: The reply's text.
        code_action: The program found in it.
        call_observations: What the model is shown of each of `tool_calls`, where it made them by messages.
        thought: What it said besides its calls, where it wrote these as text.
        observations: What the model is shown of the outcome.
        observations_images: Images that it is shown besides.
        action_output: Value that the step produced.
        token_usage: Tokens of the request and of the reply; None where the service does not report them.
        is_final_answer: Whether `action_output` is the run's answer.
    """

    step_number: int
    timing: Timing = field(default_factory=Timing.now)
    model_input_messages: _InputMessages = field(default=_InputMessages(), repr=False, compare=False)
    tool_calls: list[ToolCall] | None = None
    error: AgentError | None = None
    model_output_message: ChatMessage | None = None
    model_output: str | list[dict[str, Any]] | None = None
    code_action: str | None = None
    observations: str | None = None
    observations_images: list[Image] | None = None
    action_output: Any = None
    token_usage: TokenUsage | None = None
    is_final_answer: bool = False
    call_observations: list[str] | None = field(default=None, repr=False)
    thought: str | None = field(default=None, repr=False)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "model_output" and self.__dict__.get("thought") is not None:
            self.__dict__["thought"] = None  # it was read from the reply that is being edited
        super().__setattr__(name, value)

    def dict(self) -> dict[str, Any]:
        """The step as plain data; images as raw bytes, values that JSON does not know as their `repr`."""
        data = super().dict()
        del data["call_observations"], data["thought"]  # both are in other fields, too
        data["tool_calls"] = data["tool_calls"] or []
        images = self.observations_images
        data["observations_images"] = [image.tobytes() for image in images] if images else None
        return data

    @property
    def editable_in_place(self) -> bool:
        """As in `MemoryStep`."""
        return bool(self.observations_images) or isinstance(self.model_output, list)

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """The model's words as its own turn, then the outcome as the answer to it."""
        messages: list[ChatMessage] = []
        if self.tool_calls and self.code_action is None:
            messages = call_messages(self, self.tool_calls)
            if summary_mode:
                messages = in_words([replace(messages[0], content=None), *messages[1:]])
            if self.observations_images:
                messages.append(ChatMessage(role=MessageRole.USER, content=_images(self.observations_images)))
            return messages
        if self.model_output is not None and not summary_mode:
            output = self.model_output
            content = output.strip() if isinstance(output, str) else output
            if isinstance(content, str):
                messages.append(_text(MessageRole.ASSISTANT, content))
            else:
                messages.append(ChatMessage(role=MessageRole.ASSISTANT, content=content))
        elif summary_mode and self.code_action is not None:
            messages.append(_text(MessageRole.ASSISTANT, self.code_action))
        if self.observations_images:
            messages.append(ChatMessage(role=MessageRole.USER, content=_images(self.observations_images)))
        said = [self.observations] if self.observations else []
        if self.error is not None:
            said.append(f"Error: {self.error}")
        if said:
            messages.append(_text(MessageRole.TOOL_RESPONSE, "Observation:\n" + "\n".join(said)))
        return messages


@dataclass
class PlanningStep(MemoryStep):
    """A plan, made before the first step or every `planning_interval` steps. Runs do not store its input with it."""

    model_input_messages: list[ChatMessage] | None
    model_output_message: ChatMessage
    plan: str
    timing: Timing
    token_usage: TokenUsage | None = None

    @property
    def editable_in_place(self) -> bool:
        """As in `MemoryStep`."""
        return False

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """The plan as the model's own turn, and the word to carry it out; nothing when a new plan is being made."""
        if summary_mode:
            return []
        return [
            _text(MessageRole.ASSISTANT, self.plan.strip()),
            # A user's turn in between keeps the model from going on with the plan instead of acting on it.
            _text(MessageRole.USER, "Now carry out this plan, one step at a time."),
        ]


@dataclass
class TaskStep(MemoryStep):
    """A task that was given. `prompt` is the whole message that the model sees for it (tools, variables, task)."""

    task: str
    task_images: list[Image] | None = None
    prompt: str | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # An edited task must reach the model: the message was written around the old one.
        prompt: str | None = self.__dict__.get("prompt")
        if name == "task" and prompt is not None and isinstance(value, str):
            before, found, after = prompt.rpartition(self.task)
            super().__setattr__("prompt", f"{before}{value}{after}" if found else None)
        super().__setattr__(name, value)

    @property
    def editable_in_place(self) -> bool:
        """As in `MemoryStep`."""
        return bool(self.task_images)

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:  # noqa: ARG002
        """The task, and its images once."""
        content: list[dict[str, Any]] = [{"type": "text", "text": self.prompt or f"New task:\n{self.task}"}]
        if self.task_images:
            content.extend(_images(self.task_images))
        return [ChatMessage(role=MessageRole.USER, content=content)]


@dataclass
class SystemPromptStep(MemoryStep):
    """The system prompt, and worked examples as turns of a conversation, the same for every task of an agent."""

    system_prompt: str
    examples: list[ChatMessage] = field(default_factory=list[ChatMessage])

    @property
    def editable_in_place(self) -> bool:
        """As in `MemoryStep`."""
        return False

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """The prefix of every conversation."""
        if summary_mode:
            return []
        return [_text(MessageRole.SYSTEM, self.system_prompt), *self.examples] if self.system_prompt else self.examples


@dataclass
class FinalAnswerStep(MemoryStep):
    """The last item of a run's stream: its answer."""

    output: Any

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:  # noqa: ARG002
        """Nothing: the step that gave the answer already says it."""
        return []


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses and containers are descended into, the rest becomes its `repr`."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    for method in ("model_dump", "dict"):  # a pydantic model has both, and warns of the second
        if callable(getattr(cast("type[Any]", type(value)), method, None)):
            return plain(getattr(value, method)())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return repr(value)
