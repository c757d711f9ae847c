"""What models share that this process runs itself: one reply at a time, stops, images, and how failures are told."""

from __future__ import annotations

import base64
import binascii
import io
import threading
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from actloop.errors import AgentError, AgentGenerationError, MissingExtraError, message_of
from actloop.models.base import Model, ToolLike
from actloop.models.secrets import without_secrets
from actloop.models.switch import check_real_requests
from actloop.models.threads import call_in_thread
from actloop.values.cuts import cut
from actloop.values.messages import ChatMessage, MessageRole

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from actloop.values.usage import TokenUsage

    Conversation = Sequence[ChatMessage | dict[str, Any]]

MAX_NEW_TOKENS = 4096
"""Tokens that a reply may have, where nothing else is said."""

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
_LONGEST = 1000
_POLL = 0.05  # seconds


class Asked(NamedTuple):
    """What a reply is to be made of.

    Attributes:
        messages: The conversation as a chat template takes it.
        tools: Definitions of the tools that are offered.
        stops: Texts that end the reply.
        max_tokens: Tokens that the reply may have.
        response_format: What the reply is held to, in OpenAI's form.
        options: All further parameters.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    stops: list[str]
    max_tokens: int
    response_format: dict[str, Any] | None
    options: dict[str, Any]


class Turn:
    """Lets one generation run at a time; whoever waits for its turn may leave."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._owner: int | None = None

    @contextmanager
    def taken(self, unwanted: Callable[[], bool] = lambda: False) -> Generator[bool]:
        """Wait for the turn and hold it for the block; False where it was not wanted any more before it came.

        Raises:
            AgentGenerationError: This very thread holds it, in a stream that it has not read to the end.
        """
        me = threading.get_ident()
        with self._free:
            if self._owner == me:
                raise AgentGenerationError(
                    "This model is still streaming another reply to this thread, and makes one at a time: read that "
                    "stream to its end, or close it, before you ask for the next reply."
                )
            while self._owner is not None and not unwanted():
                self._free.wait(_POLL)
            mine = self._owner is None
            if mine:
                self._owner = me
        try:
            yield mine
        finally:
            if mine:
                with self._free:
                    self._owner = None
                    self._free.notify()


class InProcessModel(Model):
    """A model that this process runs itself. One object may be used from any number of threads; they take turns.

    Args:
        apply_chat_template_kwargs: Further arguments of the tokenizer's chat template.
        **kwargs: As for `Model`; what it does not know is added to every generation.
    """

    tokenizer: Any
    """The library's tokenizer."""

    library: str
    """Name of the library that runs the model."""

    constrains: bool = False
    """Whether the library can hold a reply to a response format."""

    def __init__(self, apply_chat_template_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.apply_chat_template_kwargs = dict(apply_chat_template_kwargs or {})
        self._turn = Turn()
        self._found_out: list[str] = []

    def _find_out(self, *, supports_images: bool | None = None, context_window: int | None = None) -> None:
        """Take what the loaded model says of itself, where the user said nothing; it is not saved with the settings."""
        if supports_images is not None:
            self.supports_images = supports_images
            self._found_out.append("supports_images")
        if self.context_window is None and context_window is not None:
            self.context_window = context_window
            self._found_out.append("context_window")

    @property
    def supports_stop_parameter(self) -> bool:
        """Stop sequences are obeyed, whatever the model's name."""
        return True

    @property
    def offers_tools(self) -> bool:
        """Whether the model's chat template knows tools."""
        template = self.apply_chat_template_kwargs.get("chat_template") or getattr(self.tokenizer, "chat_template", "")
        return "tools" in str(template)

    def generate(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The reply to a conversation; see `Model.generate`.

        Raises:
            AgentGenerationError: The model cannot reply, or not in the `response_format`.
        """
        return self._whole(self._asked(messages, stop_sequences, response_format, tools_to_call_from, kwargs))

    async def agenerate(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """As `generate`, in a thread. Cancelling it ends the generation at its next token, where the library can."""
        asked = self._asked(messages, stop_sequences, response_format, tools_to_call_from, kwargs)
        unwanted = threading.Event()
        try:
            return await call_in_thread(lambda: self._whole(asked, unwanted.is_set))
        finally:
            unwanted.set()

    def to_dict(self) -> dict[str, Any]:
        """The model's settings as plain data, without keys and tokens: pass those again when you load it."""
        data = {name: value for name, value in super().to_dict().items() if name not in self._found_out}
        if self.apply_chat_template_kwargs:
            data["apply_chat_template_kwargs"] = self.apply_chat_template_kwargs
        return without_secrets(data)

    @property
    def _where(self) -> str:
        return f"{self.model_id} (run by {self.library} in this process)"

    def _whole(self, asked: Asked, unwanted: Callable[[], bool] = lambda: False) -> ChatMessage:
        """Make the reply, once it is this request's turn; what it is does not matter where it became unwanted."""
        raise NotImplementedError

    def _asked(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None,
        response_format: dict[str, Any] | None,
        tools_to_call_from: Sequence[ToolLike] | None,
        kwargs: dict[str, Any],
    ) -> Asked:
        """The parts of a request; of the limits on new tokens the caller's wins over the model's own."""
        check_real_requests(self._where)
        if response_format is not None and not self.constrains:
            raise AgentGenerationError(
                f"{self._where} cannot be held to a response format: {self.library} does not constrain what a model "
                "writes. Leave use_structured_outputs_internally off, or take VLLMModel or a service that does."
            )
        limit = kwargs.pop("max_new_tokens", None) or kwargs.pop("max_tokens", None)
        kwargs.pop("max_tokens", None)
        try:
            request = self._prepare_completion_kwargs(
                messages,
                stop_sequences=stop_sequences,
                tools_to_call_from=tools_to_call_from,
                convert_images_to_image_urls=True,
                tool_choice=None,
                **kwargs,
            )
        except ValueError as error:
            raise AgentGenerationError(f"{self._where} cannot take this conversation: {message_of(error)}") from error
        own = [request.pop(name, None) for name in ("max_new_tokens", "max_tokens")]
        stops: str | list[str] = request.pop("stop", None) or []
        return Asked(
            messages=request.pop("messages"),
            tools=request.pop("tools", None),
            stops=[stops] if isinstance(stops, str) else list(stops),
            max_tokens=limit or own[0] or own[1] or MAX_NEW_TOKENS,
            response_format=response_format,
            options=request,
        )

    def _room(self, asked: Asked, prompt_tokens: int) -> int:
        """Tokens that the reply may have.

        Raises:
            AgentGenerationError: The conversation alone fills the model's context.
        """
        if self.context_window is None:
            return asked.max_tokens
        if prompt_tokens >= self.context_window:
            raise AgentGenerationError(
                f"{self._where} cannot take this conversation: its maximum context length is {self.context_window} "
                f"tokens, the reply included, and the conversation alone has {prompt_tokens}. Shorten the task or the "
                "tools' output."
            )
        return min(asked.max_tokens, self.context_window - prompt_tokens)

    @contextmanager
    def _told(self, doing: str = "failed while replying") -> Generator[None]:
        """Raises what the library raises as our own, in plain words."""
        try:
            yield
        except (AgentError, GeneratorExit):
            raise
        except Exception as error:
            raise AgentGenerationError(_explanation(self._where, doing, error)) from error


def _explanation(where: str, doing: str, error: Exception) -> str:
    said = message_of(error)
    if isinstance(error, MemoryError) or any(words in said.lower() for words in _NO_MEMORY):
        return (
            f"{where} ran out of memory: {cut(said, _LONGEST)}. Take a smaller or quantised model or a smaller data "
            "type (such as bfloat16), or shorten the conversation and the reply (max_tokens)."
        )
    if "chat_template" in said or "chat template" in said:
        return (
            f"{where} has no chat template, so it was not made for conversations: take a model tuned for instructions, "
            "or give a template by apply_chat_template_kwargs={'chat_template': ...}."
        )
    if type(error).__name__ in ("TemplateError", "UndefinedError", "TemplateSyntaxError"):
        return f"The chat template of {where} refuses this conversation: {cut(said, _LONGEST)}"
    return f"{where} {doing}: {type(error).__name__}: {cut(said, _LONGEST)}"


def as_message(text: str, usage: TokenUsage, asked: Asked) -> ChatMessage:
    """The message of a reply."""
    raw = {"out": text, "completion_kwargs": {"max_tokens": asked.max_tokens, **asked.options}}
    return ChatMessage(MessageRole.ASSISTANT, text, raw=raw, token_usage=usage)


def library(name: str, extra: str, purpose: str, package: str | None = None) -> Any:
    """A module of an optional library, imported now.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise  # it is there, but broken: the message says what it lacks
        raise MissingExtraError(package or name.partition(".")[0], extra, purpose) from error


def check_images_inline(messages: list[dict[str, Any]]) -> None:
    """Refuse images that are addresses: nothing is fetched, and no file read, because a message names it.

    Raises:
        AgentGenerationError: An image is neither a picture nor its bytes.
    """
    for message in messages:
        for part in _parts(message):
            if part["type"] == "image_url" and not str(part["image_url"]["url"]).startswith("data:image/"):
                raise AgentGenerationError(
                    f"An image is given as an address ({cut(str(part['image_url']['url']), 100)}), which a model in "
                    "this process does not fetch. Give a PIL image or the bytes of an image file."
                )


def with_pictures(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with their images as PIL pictures, as processors take them.

    Raises:
        AgentGenerationError: An image is an address, or cannot be read.
    """
    check_images_inline(messages)
    return [
        {**message, "content": [_picture(part) for part in parts]} if (parts := _parts(message)) else message
        for message in messages
    ]


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return cast("list[dict[str, Any]]", content) if isinstance(content, list) else []


def _picture(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] != "image_url":
        return part
    images = library("PIL.Image", "images", "A model that sees images", "pillow")
    try:
        data = base64.b64decode(part["image_url"]["url"].partition(",")[2], validate=True)
        picture = images.open(io.BytesIO(data), formats=_FORMATS)
        return {"type": "image", "image": picture.convert("RGB")}
    except (OSError, ValueError, binascii.Error, images.DecompressionBombError) as error:
        raise AgentGenerationError(f"An image of the conversation cannot be read: {message_of(error)}") from error
