"""Models that vLLM runs in this process, on a graphics card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actloop.errors import AgentGenerationError
from actloop.models.base import remove_content_after_stop_sequences
from actloop.models.in_process import Asked, InProcessModel, as_message, check_images_inline, library
from actloop.models.secrets import without_secrets
from actloop.models.switch import check_real_requests
from actloop.values.cuts import cut
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.values.messages import ChatMessage

_OF_CHAT = ("use_tqdm", "lora_request", "chat_template_content_format", "tokenization_kwargs", "mm_processor_kwargs")
"""Options that are arguments of `LLM.chat`; all others are sampling parameters."""

_OF_TEMPLATE = ("chat_template", "add_generation_prompt", "continue_final_message")
"""Arguments of a chat template that `LLM.chat` has under their own names."""


class VLLMModel(InProcessModel):
    """A model of the Hugging Face Hub, or of a folder, run in this process by vLLM.

    It is loaded when the object is made. Conversations go through `LLM.chat`, so that the chat template and, for models
    that see, images are vLLM's own care. Tool calls are read from the reply's text. A `response_format` constrains what
    the model writes. A reply comes as a whole, and one at a time: where many agents are to share a card, or replies are
    to be streamed, start `vllm serve` and take `OpenAIModel`.

    Args:
        model_id: Name at the Hub, or the path of a folder.
        model_kwargs: Further arguments of `vllm.LLM`, such as `max_model_len` or `revision`.
        apply_chat_template_kwargs: Further arguments of the chat template.
        **kwargs: `context_window`, `supports_images` and the like as for `Model`; arguments of `LLM.chat`; all else are
            sampling parameters. `temperature` is 0 where nothing else is said.

    Attributes:
        model: vLLM's `LLM`; None after `cleanup`.
        tokenizer: Its tokenizer.

    Raises:
        AgentGenerationError: The model cannot be loaded.
        MissingExtraError: vLLM is not installed.
    """

    library = "vLLM"
    constrains = True

    def __init__(
        self,
        model_id: str,
        model_kwargs: dict[str, Any] | None = None,
        apply_chat_template_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model_id=model_id, apply_chat_template_kwargs=apply_chat_template_kwargs, **kwargs)
        self.model_kwargs = dict(model_kwargs or {})
        check_real_requests(self._where)
        vllm = library("vllm", "vllm", "VLLMModel")
        with self._told("could not be loaded"):
            self.model: Any = vllm.LLM(model=model_id, **self.model_kwargs)
            self.tokenizer = self.model.get_tokenizer()
        config = self.model.llm_engine.model_config
        self._is_vlm = bool(config.is_multimodal_model)
        self.flatten_messages_as_text = kwargs.get("flatten_messages_as_text", not self._is_vlm)
        self._find_out(
            supports_images=self._is_vlm if kwargs.get("supports_images") is None else None,
            context_window=config.max_model_len,
        )

    def cleanup(self) -> None:
        """End the engine and give the card's memory back; the object makes no replies after that."""
        with self._turn.taken():
            model, self.model = self.model, None
        if model is None:
            return
        engine = getattr(model.llm_engine, "engine_core", None)
        if engine is not None:
            engine.shutdown()
        del model, engine
        library("vllm.distributed.parallel_state", "vllm", "VLLMModel").cleanup_dist_env_and_memory()

    def to_dict(self) -> dict[str, Any]:
        """The model's settings as plain data, without keys and tokens: pass those again when you load it."""
        data = super().to_dict()
        if self.model_kwargs:
            data["model_kwargs"] = without_secrets(self.model_kwargs)
        return data

    def _whole(self, asked: Asked, unwanted: Callable[[], bool] = lambda: False) -> ChatMessage:
        check_images_inline(asked.messages)
        with self._turn.taken(unwanted) as mine, self._told():
            if not mine:
                return as_message("", TokenUsage(0, 0), asked)
            if self.model is None:
                raise AgentGenerationError(f"{self._where} was ended by cleanup(). Make a new VLLMModel.")
            sampling, arguments = self._arguments(asked)
            # A request that was interrupted may still be in the engine, and ends with this one: ours is the last.
            made = self.model.chat(asked.messages, sampling, tools=asked.tools, **arguments)[-1]
        text = remove_content_after_stop_sequences(made.outputs[0].text, asked.stops) or ""
        usage = TokenUsage(len(made.prompt_token_ids or ()), len(made.outputs[0].token_ids))
        return as_message(text, usage, asked)

    def _arguments(self, asked: Asked) -> tuple[Any, dict[str, Any]]:
        """Sampling parameters, and the other arguments of `LLM.chat`."""
        parameters = library("vllm.sampling_params", "vllm", "VLLMModel")
        options = dict(asked.options)
        arguments = {"use_tqdm": False, **{name: options.pop(name) for name in _OF_CHAT if name in options}}
        template = dict(self.apply_chat_template_kwargs)
        arguments |= {name: template.pop(name) for name in _OF_TEMPLATE if name in template}
        if template:
            arguments["chat_template_kwargs"] = template
        sampling: dict[str, Any] = {"temperature": 0.0, "max_tokens": asked.max_tokens}
        if asked.stops:
            sampling["stop"] = asked.stops
        if (constraint := self._constraint(asked.response_format)) is not None:
            sampling["structured_outputs"] = parameters.StructuredOutputsParams(**constraint)
        return parameters.SamplingParams(**{**sampling, **options}), arguments

    def _constraint(self, response_format: dict[str, Any] | None) -> dict[str, Any] | None:
        match response_format:
            case None | {"type": "text"}:
                return None
            case {"type": "json_object"}:
                return {"json_object": True}
            case {"type": "json_schema", "json_schema": {"schema": schema}}:
                return {"json": schema}
            case _:
                raise AgentGenerationError(
                    f"{self._where} does not know this response_format: {cut(str(response_format), 200)}. It takes "
                    "{'type': 'json_schema', 'json_schema': {'schema': ...}} and {'type': 'json_object'}."
                )
