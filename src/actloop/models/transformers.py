"""Models that the library transformers runs in this process."""

from __future__ import annotations

import contextvars
import inspect
import threading
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from actloop.errors import AgentError, AgentGenerationError, message_of
from actloop.models.base import ToolLike, as_delta, remove_content_after_stop_sequences
from actloop.models.in_process import MAX_NEW_TOKENS, Asked, InProcessModel, as_message, library, with_pictures
from actloop.models.secrets import without_secrets
from actloop.models.stops import StopFilter
from actloop.models.switch import check_real_requests
from actloop.values.cuts import cut
from actloop.values.messages import ChatMessage, ChatMessageStreamDelta
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    Conversation = Sequence[ChatMessage | dict[str, Any]]

DEFAULT_MODEL_ID = "HuggingFaceTB/SmolLM2-1.7B-Instruct"

_SOURCE = ("revision", "token", "cache_dir", "local_files_only", "force_download", "proxies", "subfolder")
"""Arguments of the model's `from_pretrained` that its configuration and its tokenizer need, too."""

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "typical_p")
_DECODING: dict[str, Any] = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}


class TransformersModel(InProcessModel):
    """A model of the Hugging Face Hub, or of a folder, run in this process by transformers on PyTorch.

    It is loaded when the object is made. A model that sees images is recognised by its configuration. Tool calls are
    read from the reply's text. Structured output is not supported, since transformers does not constrain what a model
    writes: take `VLLMModel` or a service for that.

    Args:
        model_id: Name at the Hub, or the path of a folder.
        device_map: Where the model's parts go; None for the graphics card where there is one. `device` says the same.
        torch_dtype: Type of the weights, such as "bfloat16"; None for what the model's maker chose.
        trust_remote_code: Run Python code that comes with the model.
        model_kwargs: Further arguments of `from_pretrained`, such as `revision`.
        max_new_tokens: Tokens that a reply may have; less where the model's context is full before.
        max_tokens: The same; it wins.
        apply_chat_template_kwargs: Further arguments of the tokenizer's chat template.
        **kwargs: `context_window`, `supports_images` and the like as for `Model`; all else is passed to the library's
            `generate`. A `temperature` above 0 switches sampling on, and 0 off.

    Attributes:
        model: The library's model.
        tokenizer: Its tokenizer.
        processor: What prepares texts and images together, for a model that sees images; else None.

    Raises:
        AgentGenerationError: The model cannot be loaded.
        MissingExtraError: transformers or PyTorch is not installed.
    """

    library = "transformers"

    def __init__(
        self,
        model_id: str | None = None,
        device_map: str | dict[str, Any] | None = None,
        torch_dtype: Any = None,
        trust_remote_code: bool = False,
        model_kwargs: dict[str, Any] | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        max_tokens: int | None = None,
        apply_chat_template_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not model_id:
            model_id = DEFAULT_MODEL_ID
            warnings.warn(f"No model_id was given to TransformersModel: it takes {model_id}.", FutureWarning, 2)
        self.device_map = kwargs.pop("device", None) if device_map is None else device_map
        self.torch_dtype = torch_dtype
        self.trust_remote_code = trust_remote_code
        self.model_kwargs = dict(model_kwargs or {})
        sees = kwargs.get("supports_images")
        super().__init__(
            model_id=model_id,
            apply_chat_template_kwargs=apply_chat_template_kwargs,
            max_new_tokens=max_new_tokens if max_tokens is None else max_tokens,
            **kwargs,
        )
        check_real_requests(self._where)
        library("torch", "transformers", "TransformersModel")
        library("transformers", "transformers", "TransformersModel")
        with self._told("could not be loaded"):
            self._load()
        self.flatten_messages_as_text = kwargs.get("flatten_messages_as_text", not self._is_vlm)
        window: Any = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        self._find_out(
            supports_images=self._is_vlm if sees is None else None,
            context_window=window if isinstance(window, int) and window > 0 else None,
        )

    def make_stopping_criteria(self, stop_sequences: list[str], tokenizer: Any) -> Any:
        """A `StoppingCriteriaList` that ends a generation as soon as one of the texts is in what was generated."""
        from transformers import StoppingCriteriaList

        return StoppingCriteriaList([_StopOnText(stop_sequences, tokenizer)])

    def generate_stream(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> Generator[ChatMessageStreamDelta]:
        """The reply piece by piece; its tokens are counted in the last one.

        The model works in a thread, which ends with the stream: leaving the stream ends it at its next token.

        Raises:
            AgentGenerationError: As for `generate`.
        """
        asked = self._asked(messages, stop_sequences, response_format, tools_to_call_from, kwargs)
        if (asked.options.get("num_beams") or 1) > 1:  # which reply it will be is known at the end only
            yield as_delta(self._whole(asked))
            return
        work = _Work(self, asked)
        stops = StopFilter(asked.stops)
        with work:
            for piece in work.pieces():
                if text := stops.feed(piece):
                    yield ChatMessageStreamDelta(content=text)
            if text := stops.flush():
                yield ChatMessageStreamDelta(content=text)
            yield ChatMessageStreamDelta(token_usage=work.generated().usage)

    def to_dict(self) -> dict[str, Any]:
        """The model's settings as plain data, without keys and tokens: pass those again when you load it."""
        data = super().to_dict()
        if self.torch_dtype is not None:
            data["torch_dtype"] = str(self.torch_dtype).removeprefix("torch.")
        if self.trust_remote_code:
            data["trust_remote_code"] = True
        if self.model_kwargs:
            data["model_kwargs"] = without_secrets(self.model_kwargs)
        return data

    def _load(self) -> None:
        import torch
        import transformers

        trust: dict[str, Any] = {"trust_remote_code": self.trust_remote_code}
        source = trust | {name: self.model_kwargs[name] for name in _SOURCE if name in self.model_kwargs}
        own: dict[str, Any] = trust | self.model_kwargs
        own.setdefault("device_map", self.device_map or ("cuda" if torch.cuda.is_available() else "cpu"))
        if self.torch_dtype is not None:
            own.setdefault("dtype", self.torch_dtype)
        lib: Any = transformers
        try:
            config = own.get("config") or lib.AutoConfig.from_pretrained(self.model_id, **source)
            self._is_vlm = _sees_images(lib, config)
            kind = lib.AutoModelForImageTextToText if self._is_vlm else lib.AutoModelForCausalLM
            self.processor: Any = None
            if self._is_vlm:
                self.processor = lib.AutoProcessor.from_pretrained(self.model_id, **source)
                self.tokenizer = self.processor.tokenizer
            else:
                self.tokenizer = lib.AutoTokenizer.from_pretrained(self.model_id, **source)
            self.model: Any = kind.from_pretrained(self.model_id, **own)
        except (OSError, ValueError) as error:
            raise AgentGenerationError(_unloadable(str(self.model_id), error)) from error
        self.model.eval()

    def _whole(self, asked: Asked, unwanted: Callable[[], bool] = lambda: False) -> ChatMessage:
        made = self._run(asked, unwanted)
        return as_message(made.text, made.usage, asked)

    def _run(self, asked: Asked, unwanted: Callable[[], bool], streamer: Any = None) -> _Generated:
        """Make the reply, once it is this request's turn."""
        with self._turn.taken(unwanted) as mine, self._told():
            if not mine:
                return _Generated("", TokenUsage(0, 0))
            inputs = self._inputs(asked)
            prompt = int(inputs["input_ids"].shape[1])
            room = self._room(asked, prompt)
            options = self._options(asked, prompt, unwanted)
            made: Any = self.model.generate(**inputs, **options, max_new_tokens=room, streamer=streamer)
            tokens = getattr(made, "sequences", made)[0, prompt:]
            text = str(self.tokenizer.decode(tokens, **_DECODING))
            usage = TokenUsage(prompt, len(tokens))
        return _Generated(remove_content_after_stop_sequences(text, asked.stops) or "", usage)

    def _inputs(self, asked: Asked) -> dict[str, Any]:
        """The conversation as tensors where the model is."""
        template = {"add_generation_prompt": True, **self.apply_chat_template_kwargs}
        made = (self.processor or self.tokenizer).apply_chat_template(
            with_pictures(asked.messages) if self._is_vlm else asked.messages,
            tools=asked.tools,
            **{**template, "tokenize": True, "return_tensors": "pt", "return_dict": True},
        )
        known = inspect.signature(self.model.forward).parameters
        return {
            name: _moved(value, self.model)
            for name, value in made.items()
            if name in known or name != "token_type_ids"  # tokenizers make these for models that know none
        }

    def _options(self, asked: Asked, prompt: int, unwanted: Callable[[], bool]) -> dict[str, Any]:
        """The arguments of the library's `generate`."""
        options = dict(asked.options)
        if "do_sample" not in options and any(options.get(name) is not None for name in _SAMPLING):
            options["do_sample"] = options.get("temperature") != 0
        if options.get("do_sample") is False:
            options = {name: value for name, value in options.items() if name not in _SAMPLING}
            options.update(dict.fromkeys(("temperature", "top_p", "top_k"), None))  # those of the model's maker
        if self.model.generation_config.pad_token_id is None:
            pad = self.tokenizer.pad_token_id
            options.setdefault("pad_token_id", self.tokenizer.eos_token_id if pad is None else pad)
        criteria = self.make_stopping_criteria(asked.stops, self.tokenizer)
        criteria[0].start = prompt
        criteria[0].unwanted = unwanted
        criteria.extend(options.pop("stopping_criteria", None) or ())
        return {**options, "stopping_criteria": criteria}


class _Generated(NamedTuple):
    text: str
    usage: TokenUsage


class _StopOnText:
    """Ends a generation where a stop sequence is in its text, or where nobody wants it any more.

    Only the last tokens are decoded each time, as many as the longest stop sequence can have, so that the cost of a
    token does not grow with the reply.
    """

    def __init__(self, stop_sequences: Sequence[str], tokenizer: Any) -> None:
        self._stops = [stop for stop in stop_sequences if stop]
        self._tokenizer = tokenizer
        self._window = max((len(stop.encode()) for stop in self._stops), default=0) + 8
        self.start: int | None = None  # where the reply begins
        self.unwanted: Callable[[], bool] = lambda: False

    def __call__(self, input_ids: Any, *_: Any, **__: Any) -> Any:
        import torch

        if self.start is None:
            self.start = int(input_ids.shape[1]) - 1
        # A process that ends waits for its threads, and its main thread has ended by then.
        ended = self.unwanted() or not threading.main_thread().is_alive()
        tails = input_ids[:, max(self.start, int(input_ids.shape[1]) - self._window) :]
        done = [ended or self._stopped(tail) for tail in tails]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)

    def _stopped(self, tail: Any) -> bool:
        if not self._stops:
            return False
        text = self._tokenizer.decode(tail, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return any(stop in text for stop in self._stops)


class _Work:
    """A generation in a thread of its own, for the time of a block."""

    def __init__(self, model: TransformersModel, asked: Asked) -> None:
        from transformers import TextIteratorStreamer

        self._streamer: Any = TextIteratorStreamer(model.tokenizer, skip_prompt=True, **_DECODING)
        self._unwanted = threading.Event()
        self._outcome: _Generated | BaseException | None = None

        def work() -> None:
            try:
                self._outcome = model._run(asked, self._unwanted.is_set, self._streamer)  # pyright: ignore[reportPrivateUsage]
            except BaseException as error:
                self._outcome = error
            finally:
                self._streamer.text_queue.put(self._streamer.stop_signal)  # also where it never began

        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(work,), name="actloop-transformers")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._unwanted.set()
        self._thread.join()

    def pieces(self) -> Generator[str]:
        """The text as it is made, until the generation has ended."""
        for piece in self._streamer:
            if piece:
                yield piece

    def generated(self) -> _Generated:
        """The whole reply, or the error that ended it."""
        self._thread.join()
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome


def _moved(value: Any, model: Any) -> Any:
    """A tensor where the model is, images in its data type; processors also give what is no tensor."""
    if not hasattr(value, "is_floating_point"):
        return value
    return value.to(model.device, model.dtype if value.is_floating_point() else None)


def _sees_images(lib: Any, config: Any) -> bool:
    if "AutoModelForImageTextToText" in (getattr(config, "auto_map", None) or {}):
        return True
    return type(config) in lib.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def _unloadable(model_id: str, error: Exception) -> str:
    """Why a model cannot be loaded, and what to do."""
    if isinstance(error, AgentError):
        return error.message
    said = message_of(error)
    causes = {type(cause).__name__ for cause in _causes(error)}
    start = f"The model {model_id!r} could not be loaded"
    if "trust_remote_code" in said:
        return f"{start}: it comes with Python code of its own. If you trust its maker, pass trust_remote_code=True."
    if "GatedRepoError" in causes:
        return (
            f"{start}: its maker asks you to accept terms. Do so on its page at the Hub, then log in or give a token."
        )
    if "RepositoryNotFoundError" in causes or "HFValidationError" in causes:
        return f"{start}: there is no folder and no model at the Hub of this name, or your token may not see it."
    if "LocalEntryNotFoundError" in causes or "couldn't connect" in said:
        return (
            f"{start}: it is no folder, it is not in the cache, and the Hub cannot be reached (or HF_HUB_OFFLINE is "
            "set). Check the name and the network, or give the path of a folder that holds the model."
        )
    return f"{start}: {cut(said, 1000)}"


def _causes(error: BaseException) -> Generator[BaseException]:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__
