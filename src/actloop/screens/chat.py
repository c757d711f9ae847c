"""The steps of a run as messages of a Gradio chat."""

from __future__ import annotations

import json
import pprint
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from actloop.errors import MissingExtraError
from actloop.memory.steps import ActionStep, FinalAnswerStep, PlanningStep, ToolCall
from actloop.screens.markup import escaped, fenced, markdown, plain
from actloop.screens.media import audio_file, image_file
from actloop.tools.schema import is_class_loaded
from actloop.tools.types import AgentAudio
from actloop.ui.terminal import thought_of
from actloop.values.messages import ChatMessageStreamDelta

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from gradio import ChatMessage

    from actloop.memory.fold import StreamItem

PYTHON = "python_interpreter"
_PROGRAM = re.compile(r"<code>|```")
"""What a program begins with, in a reply that is still being written."""

_LONGEST = 20_000
"""Characters of an output or of an argument that a page shows."""


@dataclass(slots=True)
class Entry:
    """One message of a chat, before it becomes Gradio's.

    Attributes:
        content: Markup that is safe to render, or the file to show.
        title: Of the fold that the message is in; None for a message that does not fold.
        status: A pending fold is open and turns; a done one is closed; with None it is open.
        seconds: Shown beside the title.
    """

    content: str | dict[str, Any]
    title: str | None = None
    status: Literal["pending", "done"] | None = None
    seconds: float | None = None
    role: Literal["assistant", "user"] = "assistant"

    def as_dict(self) -> dict[str, Any]:
        """As `gradio.Chatbot` takes it."""
        content = {"type": "text", "text": self.content} if isinstance(self.content, str) else self.content
        message: dict[str, Any] = {"role": self.role, "content": [content]}
        if self.metadata:
            message["metadata"] = self.metadata
        return message

    @property
    def metadata(self) -> dict[str, Any]:
        """What Gradio folds by."""
        if self.title is None:
            return {}
        shown: dict[str, Any] = {"title": self.title}
        if self.status is not None:
            shown["status"] = self.status
        if self.seconds is not None:
            shown["duration"] = round(self.seconds, 2)
        return shown


def step_entries(step: object, folder: Path | None = None, *, skip_model_outputs: bool = False) -> list[Entry]:
    """What a chat shows of a finished step.

    Args:
        step: An action, a plan or a final answer.
        folder: Where images and sounds are put, so that the page can show them; a temporary one by default.
        skip_model_outputs: Leave out the model's words, where they were shown already.

    Raises:
        ValueError: It is no such step.
    """
    match step:
        case ActionStep():
            return _action(step, folder, skip_model_outputs)
        case PlanningStep():
            shown = [] if skip_model_outputs else [Entry(markdown(step.plan), "Plan", "done")]
            return [*shown, _footnote("Plan", step)]
        case FinalAnswerStep():
            return _answer(step.output, folder)
        case _:
            raise ValueError(f"a chat shows action, planning and final answer steps, not {type(step).__name__}")


def _action(step: ActionStep, folder: Path | None, skip_model_outputs: bool) -> list[Entry]:
    shown: list[Entry] = []
    reply = step.model_output if isinstance(step.model_output, str) else ""
    if not skip_model_outputs and reply:
        thought = thought_of(reply, step.code_action) if step.code_action is not None else reply
        if step.tool_calls and step.code_action is None:
            thought = "" if reply.lstrip().startswith(("{", "Calling tools:")) else reply
        if thought.strip():
            shown.append(Entry(markdown(thought)))
    shown += [call_entry(call, "done") for call in step.tool_calls or ()]
    if step.observations and step.observations.strip():
        text = step.observations.strip().removeprefix("Execution logs:").lstrip("\n")
        shown.append(Entry(fenced(_cut(text or "(nothing)")), "Output", "done"))
    for image in step.observations_images or ():
        path = image_file(image, folder)
        shown.append(Entry({"path": path, "alt_text": "image of this step"}, "Image", "done"))
    if step.error is not None:
        shown.append(Entry(fenced(_cut(str(step.error))), "Error"))
    return [*shown, _footnote(f"Step {step.step_number}", step)]


def call_entry(call: ToolCall, status: Literal["pending", "done"]) -> Entry:
    """A program, or the call of a tool."""
    if call.name == PYTHON:
        return Entry(fenced(_cut(str(call.arguments).strip("\n")), "python"), "Code", status)
    try:
        told = json.dumps(call.arguments, indent=2, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError):
        told = repr(call.arguments)
    return Entry(fenced(_cut(told), "json"), f"Tool: {_name(call.name)}", status)


def _name(text: str) -> str:
    """A name that a model wrote, for a title: titles are rendered, too."""
    return "".join(character for character in text if character.isalnum() or character in "_-. ")[:80]


def _footnote(name: str, step: ActionStep | PlanningStep) -> Entry:
    parts = [name]
    if step.timing.duration:
        parts.append(f"{step.timing.duration:.1f} s")
    if step.token_usage is not None:
        parts.append(f"{step.token_usage.input_tokens:,} tokens in, {step.token_usage.output_tokens:,} out")
    return Entry(f'<small style="opacity: 0.65">{escaped(" · ".join(parts))}</small>')


def _answer(answer: Any, folder: Path | None) -> list[Entry]:
    label = '<div class="prose"><strong>Final answer</strong></div>'
    items = cast("list[Any]", answer) if isinstance(answer, list) else [answer]
    files = [file for item in items if (file := _media(item, folder)) is not None]
    if files and len(files) == len(items):
        return [Entry(label), *map(Entry, files)]
    if isinstance(answer, str):
        told = markdown(_cut(answer))
    elif answer is None or isinstance(answer, int | float):
        told = plain(str(answer))
    else:
        told = fenced(_cut(pprint.pformat(cast("object", answer), width=100)), "python")
    return [Entry(f"{label}\n\n{told}")]


def _media(value: Any, folder: Path | None) -> dict[str, Any] | None:
    """The file that shows an image or plays a sound; None for anything else."""
    if isinstance(value, AgentAudio):
        return {"path": audio_file(value, folder), "alt_text": "sound"}
    if is_class_loaded("PIL.Image", "Image", value):
        return {"path": image_file(value, folder), "alt_text": "image"}
    return None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n... ({len(text):,} characters)"


def error_entry(message: str) -> Entry:
    """Why a run ended without an answer."""
    return Entry(f"{plain(message)}", "Error")


@dataclass(slots=True)
class LiveReply:
    """A reply while it is being written. Each piece is escaped once, however often the whole is shown."""

    pieces: list[str] = field(default_factory=list[str])
    _raw: list[str] = field(default_factory=list[str])
    length: int = 0
    _in_code: bool = False

    def add(self, delta: ChatMessageStreamDelta) -> None:
        """Take one more piece."""
        text = delta.content or ""
        for call in delta.tool_calls or ():
            if call.function is not None:
                text += (call.function.name or "") + str(call.function.arguments or "")
        if text:
            self.length += len(text)
            begins = not self._in_code and _PROGRAM.search("".join(self._raw[-3:]) + text) is not None
            self._raw.append(text)
            self.pieces.append(escaped(text) + ('<div class="code">' if begins else ""))
            self._in_code = self._in_code or begins

    @property
    def markup(self) -> str:
        """The reply so far. Elements stay open, so that only what follows has to be sent to the browser."""
        return '<div class="plain">' + "".join(self.pieces)

    @property
    def text(self) -> str:
        """The reply so far, as the model wrote it."""
        return "".join(self._raw)


class ChatLog:
    """Folds what a run streams into the messages of a chat.

    Args:
        folder: Where images and sounds are put, so that the page can show them.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._settled: list[dict[str, Any]] = []
        self._live: list[Entry] = []
        self._reply = LiveReply()

    @property
    def pause(self) -> float:
        """Seconds until the chat is worth showing anew.

        Pieces of a reply come faster than a person reads: a few times a second are enough, and the fewer the longer the
        reply is.
        """
        return 0.1 + self._reply.length * 5e-6

    def messages(self) -> list[dict[str, Any]]:
        """Every message, in order."""
        if self._reply.length:
            return [*self._settled, Entry(self._reply.markup).as_dict()]
        return [*self._settled, *(entry.as_dict() for entry in self._live)]

    def put(self, entries: Iterable[Entry]) -> None:
        """Add messages that stay."""
        self._settled += [entry.as_dict() for entry in entries]

    def add(self, item: StreamItem) -> bool:
        """Take one item of a run's stream; returns whether the chat has changed."""
        match item:
            case ChatMessageStreamDelta():
                self._reply.add(item)
                return True
            case ToolCall():
                self._call(item)
                return True
            case ActionStep() | PlanningStep() | FinalAnswerStep():
                self._forget()
                self.put(step_entries(item, self._folder))
                return True
            case _:
                return False

    def _call(self, call: ToolCall) -> None:
        reply, self._reply = self._reply.text, LiveReply()
        if reply and call.name == PYTHON and (thought := thought_of(reply, str(call.arguments))):
            self._live.append(Entry(markdown(thought)))
        self._live.append(call_entry(call, "pending"))

    def _forget(self) -> None:
        self._live, self._reply = [], LiveReply()

    def break_off(self, entry: Entry) -> None:
        """The run ends here: what was being written stays as it is."""
        for live in self._live:
            live.status = "done" if live.status else None
        self._settled = self.messages()
        self._forget()
        self.put([entry])


def pull_messages_from_step(step_log: object, skip_model_outputs: bool = False) -> Generator[ChatMessage]:
    """A finished step as messages of a Gradio chat.

    Args:
        step_log: An action, a plan or a final answer.
        skip_model_outputs: Leave out the model's words, where they were shown already.

    Raises:
        MissingExtraError: Gradio is not installed.
        ValueError: It is no such step.
    """
    make = _chat_message()
    for entry in step_entries(step_log, skip_model_outputs=skip_model_outputs):
        yield make(content=entry.content, role=entry.role, metadata=entry.metadata)


def stream_to_gradio(
    agent: Any,
    task: str,
    task_images: list[Any] | None = None,
    reset_agent_memory: bool = False,
    additional_args: dict[str, Any] | None = None,
) -> Generator[ChatMessage | str]:
    """Run an agent on a task, and yield what a Gradio chat shows of it.

    Args:
        agent: The agent.
        task: What to do.
        task_images: Images that the model is shown with the task.
        reset_agent_memory: Begin a new conversation; otherwise the agent's latest one is continued.
        additional_args: Variables for the task, by name.

    Yields:
        `gradio.ChatMessage` for every part of a finished step; while a reply is being written, the reply so far, as
        markup that is safe to render (a few times a second at most).

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    _chat_message()
    reply, next_time = LiveReply(), 0.0
    for item in agent.run(
        task, images=task_images, stream=True, reset=reset_agent_memory, additional_args=additional_args
    ):
        if isinstance(item, ChatMessageStreamDelta):
            reply.add(item)
            if reply.length and time.monotonic() >= next_time:
                yield reply.markup
                next_time = time.monotonic() + 0.1 + reply.length * 5e-6
        elif isinstance(item, ActionStep | PlanningStep | FinalAnswerStep):
            yield from pull_messages_from_step(item, skip_model_outputs=bool(reply.length))
            reply = LiveReply()


def _chat_message() -> Any:
    try:
        from gradio import ChatMessage
    except ImportError as error:
        raise MissingExtraError("gradio", "gradio", "the web page of an agent") from error
    return ChatMessage
