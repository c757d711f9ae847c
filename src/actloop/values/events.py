"""What happens in a run, as facts.

Events are the only output of a run. Memory, printed steps, usage, traces and resume are folds over them; a journal
stores them in order. Each is a small frozen dataclass of plain values, so that it can be written down and read back
(`to_dict`, `from_dict`). `Delta`, `Printed` and `ToolYielded` are passing: they feed screens and are not stored.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from actloop.values.messages import ChatMessage, ChatMessageStreamDelta
from actloop.values.usage import TokenUsage

type_of: dict[str, type[Event]] = {}
"""Every stored event class by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact about a run.

    Attributes:
        time: Seconds since the epoch at which it was noted.
    """

    passing: ClassVar[bool] = False

    time: float = 0.0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super(Event, cls).__init_subclass__(**kwargs)
        type_of[cls.__name__] = cls


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A task was given to an agent.

    Attributes:
        run: The run's id.
        parent: Id of the run that called this agent, or None.
        agent: Name of the agent, or its class's.
        model: The model's id.
        task: The task's text, as the user or the calling agent gave it.
        system_prompt: Text of the system prompt.
        prompt: Text of the user message that the model sees for this task.
        variables: Extra variables by name.
        images: Images of the task.
        max_steps: Steps allowed.
        continues: Id of the run whose conversation this one continues, or None.
    """

    run: str
    agent: str
    model: str
    task: str
    system_prompt: str
    prompt: str
    max_steps: int
    variables: dict[str, Any] = field(default_factory=dict[str, Any])
    images: list[Any] = field(default_factory=list[Any])
    parent: str | None = None
    continues: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(Event):
    """An action step begins; numbers start at 1 in each run."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReplied(Event):
    """A model's whole reply.

    Attributes:
        purpose: What it was asked for.
        message: The reply, `token_usage` included.
        seconds: From request to the end of the reply.
    """

    purpose: Literal["action", "plan", "answer", "summary"]
    message: ChatMessage
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMade(Event):
    """A plan, in the words that later steps see."""

    plan: str
    first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted(Event):
    """From now on the model is shown less of the conversation's older steps; the steps themselves stay as they are.

    Attributes:
        kept: The newest steps of the conversation (tasks and plans count) that this left as they were.
        cut_to: Characters that longer texts of older steps are cut to, or None.
        summary: Text that stands for the older steps (but not for the current task and the plan in force), or None.
        tokens: Estimate of what the conversation took before.
        window: Tokens that the model turned out to take, where a service refused a conversation as too long.
    """

    kept: int
    cut_to: int | None = None
    summary: str | None = None
    tokens: int = 0
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStarted(Event):
    """A program was found in the reply and is about to run. `id` names it among the run's calls."""

    id: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled(Event):
    """A tool call enters the gateway.

    Attributes:
        id: Unique within the run.
        name: The tool's name.
        args: Positional arguments.
        kwargs: Named arguments.
        origin: Where it came from: a program in the sandbox, or the model's own tool-call message.
    """

    id: str
    name: str
    args: list[Any]
    kwargs: dict[str, Any]
    origin: Literal["code", "message"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReturned(Event):
    """A tool call's result, or the error it ended with (`error_kind` is the exception's class)."""

    id: str
    result: Any = None
    error_kind: str | None = None
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsRead(Event):
    """Tool calls were found in the text of a reply; `thought` is what that says besides them."""

    thought: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallObserved(Event):
    """What the model is shown of a tool call that its message asked for; follows the call's `ToolReturned`.

    Attributes:
        id: As in `ToolCalled`.
        observation: The text.
        stored: Name of the run's variable that holds the result, where that is an image or a sound.
        answered: True when the call gave the accepted final answer.
    """

    id: str
    observation: str
    stored: str | None = None
    answered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsFinished(Event):
    """All calls of a message have ended; `answered` says whether one gave the accepted final answer."""

    answered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramFinished(Event):
    """A program ended.

    Attributes:
        id: As in `ProgramStarted`.
        output: Value of the last expression, or the final answer.
        logs: What it printed.
        error_kind: Class of the exception it ended with, or None.
        error: The exception's message.
        answered: True when it gave the final answer.
        lost: True when its sandbox died and its variables are gone.
        seconds: Time from start to end.
    """

    id: str
    output: Any = None
    logs: str = ""
    error_kind: str | None = None
    error: str | None = None
    answered: bool = False
    lost: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRequested(Event):
    """A program's request to the network ended, or was refused, or is under way still when its program has ended.

    Of one that goes on after that, further events tell what it moved since the one before, if anything.

    Attributes:
        host: The name or address that was asked for; empty for a request that could not be read.
        port: Its port.
        method: The HTTP method; CONNECT for an encrypted connection, of which nothing more is seen.
        address: The address that was connected to; empty when none was.
        refused: Why it was refused; empty when it was not.
        sent: Bytes that left, since an earlier event of the same request.
        received: Bytes that came back, likewise.
        seconds: From the request to its end, or till now.
        open: It is under way still.
    """

    host: str
    port: int
    method: str
    address: str = ""
    refused: str = ""
    sent: int = 0
    received: int = 0
    seconds: float = 0.0
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesChanged(Event):
    """Files of the workspace that a program made, changed or deleted; of very many there are several such events.

    Attributes:
        folder: The workspace on this machine.
        created: New files: each its `name` within the folder, its MIME `type` and its `size` in bytes.
        changed: Files with another content, in the same form.
        deleted: Names of files that are gone.
        refused: Why a change was not taken over, by the file's name; an empty name stands for the whole.
    """

    folder: str
    created: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    changed: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    deleted: list[str] = field(default_factory=list[str])
    refused: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTaken(Event):
    """A snapshot of the sandbox was stored; `reference` names it (`sha256:...`), `size` is in bytes."""

    reference: str
    size: int
    left_out: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Event):
    """An action step ended.

    Attributes:
        number: As in `StepStarted`.
        observation: What the model is shown of it, or None.
        error_kind: Class of the `AgentError` it ended with, or None.
        error: That error's message, as the model is shown it.
        output: The answer in prose, in the step that ends a run without another; a program's output is in
            `ProgramFinished`.
        answered: True when the step gave the accepted final answer.
        images: Images that the model is shown besides.
    """

    number: int
    observation: str | None = None
    error_kind: str | None = None
    error: str | None = None
    output: Any = None
    answered: bool = False
    images: list[Any] = field(default_factory=list[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesObserved(Event):
    """A callback of the user's gave a finished step the images that the model is shown of it."""

    number: int
    images: list[Any] = field(default_factory=list[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run ended.

    Attributes:
        state: `"success"`; `"max_steps_error"` (the answer was forced at the end); `"interrupted"`; `"failed"`.
        answer: The final answer, where there is one.
        usage: Tokens of the whole run, runs of its sub-agents included; None where a service did not report them.
        error_kind: Class of the error that ended it, for the last two states.
        error: That error's message.
    """

    state: Literal["success", "max_steps_error", "interrupted", "failed"]
    answer: Any = None
    usage: TokenUsage | None = None
    error_kind: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta(Event):
    """A piece of a reply that is being streamed."""

    passing: ClassVar[bool] = True

    delta: ChatMessageStreamDelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed(Event):
    """Text that a running program printed."""

    passing: ClassVar[bool] = True

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolYielded(Event):
    """A piece of a tool's result, or of its progress, while the tool is at work.

    Attributes:
        id: The call's, as in `ToolCalled`.
        name: The tool's name.
        piece: Any value; text is a part of the result's text.
    """

    passing: ClassVar[bool] = True

    id: str
    name: str
    piece: Any


def to_dict(event: Event) -> dict[str, Any]:
    """An event as a mapping: its `kind`, its time and its fields. Values of tools and programs stay objects."""
    data: dict[str, Any] = {"kind": type(event).__name__}
    for item in dataclasses.fields(event):
        value = getattr(event, item.name)
        if isinstance(value, ChatMessage):
            value = {key: part for key, part in value.dict().items() if key != "raw" and part is not None}
        elif isinstance(value, TokenUsage):
            value = {"input_tokens": value.input_tokens, "output_tokens": value.output_tokens}
        data[item.name] = value
    return data


def from_dict(data: dict[str, Any]) -> Event:
    """An event from what `to_dict` gave; unknown fields are ignored, so that older versions read newer journals.

    Raises:
        ValueError: `kind` names no event.
    """
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in type_of:
        raise ValueError(f"unknown kind of event: {kind!r}")
    cls = type_of[kind]
    values: dict[str, Any] = {item.name: data[item.name] for item in dataclasses.fields(cls) if item.name in data}
    if isinstance(values.get("message"), dict):
        values["message"] = ChatMessage.from_dict(values["message"])
    usage: dict[str, int] | None = values.get("usage")
    if usage is not None:
        values["usage"] = TokenUsage(usage["input_tokens"], usage["output_tokens"])
    return cls(**values)
