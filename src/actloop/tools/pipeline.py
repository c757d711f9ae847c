"""`PipelineTool`: a model of transformers as a tool, in three steps: encode, forward, decode."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any, cast

from actloop.errors import MissingExtraError
from actloop.tools.base import Tool


class PipelineTool(Tool):
    """A tool around a model of transformers, which is loaded at the first call.

    Subclasses set `model_class` and, besides the attributes of a `Tool`, what else they need of the attributes below;
    they override `encode`, `forward` and `decode` where those of a plain classifier will not do. `encode` takes the
    tool's arguments.

    Attributes:
        model_class: Loads the model: `model_class.from_pretrained(checkpoint)`.
        default_checkpoint: Name or folder of the checkpoint that is taken where none is given.
        pre_processor_class: Loads the pre-processor; `transformers.AutoProcessor` by default.
        post_processor_class: Loads the post-processor, where that is another one.

    Args:
        model: Name or folder of a checkpoint, or a model; `default_checkpoint` by default.
        pre_processor: The same of a tokenizer, processor or the like; that of `model` by default.
        post_processor: The same; the pre-processor by default.
        device: Where the model works: a torch device, or its name or number. By default an accelerator if there is
            one, else the CPU.
        device_map: Handed to the model's loader, which then places it; needs the package `accelerate`.
        model_kwargs: Further arguments for the model's loader.
        token: For private checkpoints on the Hub.
        hub_kwargs: Further arguments for all loaders, such as `revision`.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ValueError: No checkpoint is given, and the class has no default.
    """

    pre_processor_class: Any = None
    model_class: Any = None
    post_processor_class: Any = None
    default_checkpoint: str | None = None
    name = "pipeline"
    description = "Runs a model of transformers."
    inputs: dict[str, dict[str, Any]] = {"prompt": {"type": "string", "description": "The input."}}  # noqa: RUF012
    output_type = "any"
    skip_forward_signature_validation = True

    def __init__(
        self,
        model: Any = None,
        pre_processor: Any = None,
        post_processor: Any = None,
        device: Any = None,
        device_map: Any = None,
        model_kwargs: dict[str, Any] | None = None,
        token: str | None = None,
        **hub_kwargs: Any,
    ) -> None:
        for package in ("torch", "transformers"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, "transformers", type(self).__name__)
        if model is None:
            if self.default_checkpoint is None:
                raise ValueError(f"{type(self).__name__} has no default_checkpoint: give it a model")
            model = self.default_checkpoint
        self.model = model
        self.pre_processor = model if pre_processor is None else pre_processor
        self.post_processor = post_processor
        self.device = device
        self.device_map = device_map
        self.model_kwargs = dict(model_kwargs or {})
        if device_map is not None:
            self.model_kwargs["device_map"] = device_map
        self.hub_kwargs = {**hub_kwargs, "token": token}
        super().__init__()

    def setup(self) -> None:
        """Load what is not loaded yet. What was loaded stays, where a later part fails."""
        if isinstance(self.pre_processor, str):
            self.pre_processor = self._loaded(self.pre_processor_class, self.pre_processor)
        if isinstance(self.model, str):
            if self.model_class is None:
                raise ValueError(f"{type(self).__name__} must set model_class, which loads {self.model!r}")
            self.model = self.model_class.from_pretrained(self.model, **self.model_kwargs, **self.hub_kwargs)
        if self.post_processor is None:
            self.post_processor = self.pre_processor
        elif isinstance(self.post_processor, str):
            self.post_processor = self._loaded(self.post_processor_class, self.post_processor)
        if self.device is None:
            placed: Any = getattr(self.model, "hf_device_map", None) if self.device_map is not None else None
            self.device = next(iter(placed.values())) if placed else best_device()
        if self.device_map is None:
            self.model.to(self.device)
        super().setup()

    def _loaded(self, loader: Any, checkpoint: str) -> Any:
        if loader is None:
            from transformers import AutoProcessor

            loader = AutoProcessor
        return loader.from_pretrained(checkpoint, **self.hub_kwargs)

    def encode(self, raw_inputs: Any) -> Any:
        """The model's inputs, by name, of the tool's arguments; by default as the pre-processor makes them."""
        return self.pre_processor(raw_inputs, return_tensors="pt")

    def forward(self, inputs: Any) -> Any:
        """The model's output; by default of `model(**inputs)`, without gradients."""
        import torch

        with torch.no_grad():
            return self.model(**inputs)

    def decode(self, outputs: Any) -> Any:
        """The tool's result of the model's output; by default as the post-processor makes it."""
        return self.post_processor(outputs)

    def __call__(self, /, *args: Any, sanitize_inputs_outputs: bool = False, **kwargs: Any) -> Any:
        """Encode, forward, decode; as in `Tool`. Tensors go to the model's device and come back to the CPU."""
        from actloop.tools.types import handle_agent_input_types, handle_agent_output_types

        self.ensure_setup()
        if sanitize_inputs_outputs:
            args, kwargs = handle_agent_input_types(*args, **kwargs)
        encoded = self.encode(*self._arguments(args, kwargs), **({} if self._by_position(kwargs) else kwargs))
        outputs = moved(self.forward(moved(encoded, self.device)), "cpu")
        result = self.decode(outputs)
        return handle_agent_output_types(result, self.output_type) if sanitize_inputs_outputs else result

    def _by_position(self, kwargs: dict[str, Any]) -> bool:
        """Whether `encode` calls its arguments otherwise than `inputs` does."""
        parameters = inspect.signature(self.encode).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        return not takes_any and not kwargs.keys() <= parameters.keys() and kwargs.keys() <= self.inputs.keys()

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        if not self._by_position(kwargs):
            return args
        return (*args, *(kwargs[name] for name in self.inputs if name in kwargs))


def best_device() -> Any:
    """A torch device: the accelerator of this machine, if it has one, else the CPU."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found is not None else torch.device("cpu")


def moved(value: Any, device: Any) -> Any:
    """A value with all tensors in it on a device; mappings and sequences keep their class."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        made = {key: moved(item, device) for key, item in entries.items()}
        return made if type(entries) is dict else _remade(entries, made)
    if isinstance(value, tuple) and hasattr(cast("object", value), "_fields"):
        fields: Any = cast("Any", value)
        return fields._make(moved(item, device) for item in fields)
    if isinstance(value, list | tuple):
        made = [moved(item, device) for item in cast("list[Any]", value)]
        return made if isinstance(value, list) else tuple(made)
    return value


def _remade(entries: Mapping[Any, Any], made: dict[Any, Any]) -> Any:
    """A mapping of the class of `entries`, such as a batch or a model's output, or a dict where that cannot be made."""
    if all(made[key] is entries[key] for key in made):
        return entries
    try:
        return type(entries)(**made)
    except TypeError:
        return made
