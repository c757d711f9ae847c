"""The model that the command line's options ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.cli.settings import AgentOptions, UsageError, api_key_of

if TYPE_CHECKING:
    from actloop.models.base import Model

CLASSES = {
    "local": "LocalModel",
    "openai": "OpenAIModel",
    "anthropic": "AnthropicModel",
    "azure": "AzureOpenAIModel",
    "bedrock": "AmazonBedrockModel",
    "huggingface": "InferenceClientModel",
    "litellm": "LiteLLMModel",
    "transformers": "TransformersModel",
    "vllm": "VLLMModel",
    "mlx": "MLXModel",
}
"""Class of each type of model; a type may also be given by its class's name, or an older name of that."""

_ALIASES = {
    "openaiservermodel": "openai",
    "azureopenaiservermodel": "azure",
    "amazonbedrockservermodel": "bedrock",
    "inference": "huggingface",
    "hf": "huggingface",
}
_NAMES = {name.lower(): kind for kind, name in CLASSES.items()} | _ALIASES | {kind: kind for kind in CLASSES}


def make_model(options: AgentOptions) -> Model:
    """The model that the options and the environment ask for; an embedded one is fetched and loaded, with progress.

    Raises:
        UsageError: The options do not fit together.
        AgentError: The model cannot be had.
    """
    kind = _kind(options)
    if kind == "local":
        return _local_model(options.model_id)
    if not options.model_id:
        raise UsageError("a model needs its name: --model-id NAME")
    if options.provider and kind != "huggingface":
        raise UsageError("--provider names a provider of Hugging Face's inference: add --model-type huggingface")
    given = _options(kind, options)
    import actloop

    try:
        return getattr(actloop, CLASSES[kind])(options.model_id, **given)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error


def _kind(options: AgentOptions) -> str:
    given = options.model_type
    if given is not None:
        kind = _NAMES.get(given.lower())
        if kind is None:
            raise UsageError(f"--model-type {given}: there are {', '.join(CLASSES)}")
        return kind
    if options.provider:
        return "huggingface"
    # On the command line: a key in the environment chooses nothing.
    return "openai" if options.api_base or options.api_key else "local"


def _options(kind: str, options: AgentOptions) -> dict[str, Any]:
    key = api_key_of(options.api_key)
    base = options.api_base
    match kind:
        case "openai" | "anthropic" | "litellm":
            return {"api_base": base, "api_key": key}
        case "azure":
            version = os.environ.get("OPENAI_API_VERSION")
            return {"azure_endpoint": base, "api_key": key, "api_version": version}
        case "huggingface":
            return {"base_url": base, "api_key": key, "provider": options.provider}
        case _ if base or key:
            raise UsageError(f"--api-base and --api-key mean nothing to --model-type {kind}")
        case _:
            return {}


def _local_model(name: str | None) -> Model:
    from actloop.cli.progress import ModelProgress
    from actloop.models.embedded import KNOWN_MODELS
    from actloop.models.local import LocalModel

    if name and name not in KNOWN_MODELS and not Path(name).expanduser().is_file():
        raise UsageError(
            f"--model-id {name}: there is no such file, and the embedded models are {', '.join(KNOWN_MODELS)};"
            " for a model behind an API add --model-type openai or --api-base URL"
        )
    with ModelProgress() as progress:
        model = LocalModel(name, progress=progress)
        try:
            model.load()
        except BaseException:
            model.close()
            raise
    return model
