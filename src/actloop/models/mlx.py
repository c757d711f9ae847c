"""Models that mlx-lm runs in this process, on Apple silicon."""

from __future__ import annotations

import inspect
from contextlib import closing
from typing import TYPE_CHECKING, Any

from actloop.models.in_process import Asked, InProcessModel, as_message, library
from actloop.models.secrets import without_secrets
from actloop.models.stops import StopFilter
from actloop.models.switch import check_real_requests
from actloop.values.messages import ChatMessage, ChatMessageStreamDelta, StreamedReply
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from actloop.models.base import ToolLike

    Conversation = Sequence[ChatMessage | dict[str, Any]]


class MLXModel(InProcessModel):
    """A model of the Hugging Face Hub, or of a folder, run in this process by mlx-lm.

    It is loaded when the object is made. Tool calls are read from the reply's text. mlx-lm neither shows images to a
    model nor constrains what it writes.

    Args:
        model_id: Name at the Hub, or the path of a folder.
        trust_remote_code: Run Python code that comes with the model.
        load_kwargs: Further arguments of `mlx_lm.load`, such as `adapter_path`.
        apply_chat_template_kwargs: Further arguments of the tokenizer's chat template.
        **kwargs: `context_window` and the like as for `Model`; `temperature`, `top_p`, `repetition_penalty` and all
            else that `make_sampler` and `make_logits_processors` of mlx-lm take; the rest goes to `stream_generate`.

    Attributes:
        model: The library's model.
        tokenizer: Its tokenizer.

    Raises:
        AgentGenerationError: The model cannot be loaded.
        MissingExtraError: mlx-lm is not installed.
    """

    library = "mlx-lm"

    def __init__(
        self,
        model_id: str,
        trust_remote_code: bool = False,
        load_kwargs: dict[str, Any] | None = None,
        apply_chat_template_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model_id=model_id,
            apply_chat_template_kwargs=apply_chat_template_kwargs,
            **{"flatten_messages_as_text": True, **kwargs},
        )
        self.trust_remote_code = trust_remote_code
        self.load_kwargs = dict(load_kwargs or {})
        check_real_requests(self._where)
        mlx_lm = library("mlx_lm", "mlx", "MLXModel", "mlx-lm")
        given = dict(self.load_kwargs)
        given["tokenizer_config"] = {"trust_remote_code": trust_remote_code, **given.get("tokenizer_config", {})}
        if (
            "trust_remote_code" in inspect.signature(mlx_lm.load).parameters
        ):  # for the code of models, in newer versions
            given.setdefault("trust_remote_code", trust_remote_code)
        with self._told("could not be loaded"):
            self.model, self.tokenizer = mlx_lm.load(model_id, **given)
        window: Any = getattr(getattr(self.model, "args", None), "max_position_embeddings", None)
        self._find_out(context_window=window if isinstance(window, int) and window > 0 else None)

    def generate_stream(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> Generator[ChatMessageStreamDelta]:
        """The reply piece by piece; its tokens are counted in the last one. Other replies wait until it has ended.

        Raises:
            AgentGenerationError: As for `generate`.
        """
        yield from self._run(self._asked(messages, stop_sequences, response_format, tools_to_call_from, kwargs))

    def to_dict(self) -> dict[str, Any]:
        """The model's settings as plain data, without keys and tokens: pass those again when you load it."""
        data = super().to_dict()
        if self.trust_remote_code:
            data["trust_remote_code"] = True
        if self.load_kwargs:
            data["load_kwargs"] = without_secrets(self.load_kwargs)
        return data

    def _whole(self, asked: Asked, unwanted: Callable[[], bool] = lambda: False) -> ChatMessage:
        reply = StreamedReply()
        with closing(self._run(asked, unwanted)) as deltas:
            for delta in deltas:
                reply.add(delta)
        made = reply.message()
        return as_message(made.text, made.token_usage or TokenUsage(0, 0), asked)

    def _run(self, asked: Asked, unwanted: Callable[[], bool] = lambda: False) -> Generator[ChatMessageStreamDelta]:
        """The reply piece by piece, once it is this request's turn."""
        mlx_lm = library("mlx_lm", "mlx", "MLXModel", "mlx-lm")
        with self._turn.taken(unwanted) as mine, self._told():
            if not mine:
                return
            prompt = self._prompt(asked)
            options = _options(asked.options)
            options["max_tokens"] = self._room(asked, len(prompt))
            stops = StopFilter(asked.stops)
            made = 0
            with closing(mlx_lm.stream_generate(self.model, self.tokenizer, prompt, **options)) as responses:
                for response in responses:
                    made = int(response.generation_tokens)
                    if text := stops.feed(response.text):
                        yield ChatMessageStreamDelta(content=text)
                    if stops.stopped or unwanted():
                        break
            if text := stops.flush():
                yield ChatMessageStreamDelta(content=text)
            yield ChatMessageStreamDelta(token_usage=TokenUsage(len(prompt), made))

    def _prompt(self, asked: Asked) -> list[int]:
        """The conversation as token ids."""
        template = {"add_generation_prompt": True, **self.apply_chat_template_kwargs}
        made: Any = self.tokenizer.apply_chat_template(asked.messages, tools=asked.tools, **template)
        return list(made["input_ids"] if hasattr(made, "keys") else made)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `stream_generate`: how to sample is told to mlx-lm by functions that its own helpers make."""
    options = dict(given)
    helpers = library("mlx_lm.sample_utils", "mlx", "MLXModel", "mlx-lm")
    if "temperature" in options:
        options["temp"] = options.pop("temperature")
    for argument, helper in (("sampler", helpers.make_sampler), ("logits_processors", helpers.make_logits_processors)):
        known = inspect.signature(helper).parameters
        settings = {name: options.pop(name) for name in list(options) if name in known}
        if settings and argument not in options:
            options[argument] = helper(**settings)
    return options
