"""What no request could ever be made with is refused at once."""

from collections.abc import Callable
from typing import Any

import pytest

from actloop.errors import AgentGenerationError
from actloop.models.anthropic import AnthropicModel
from actloop.models.api import ServiceModel
from actloop.models.azure import AzureOpenAIModel
from actloop.models.bedrock import AmazonBedrockModel
from actloop.models.inference import InferenceClientModel
from actloop.models.litellm import LiteLLMModel
from actloop.models.openai import OpenAIModel
from actloop.values.messages import ChatMessage, MessageRole

ASK = [ChatMessage(MessageRole.USER, "how many?")]
KINDS = [OpenAIModel, AzureOpenAIModel, AnthropicModel, AmazonBedrockModel, InferenceClientModel, LiteLLMModel]
ADDRESSED: list[tuple[Callable[..., ServiceModel], str]] = [
    (OpenAIModel, "api_base"),
    (AzureOpenAIModel, "azure_endpoint"),
    (AnthropicModel, "api_base"),
    (InferenceClientModel, "base_url"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model_id", [3, b"m", ["m"], OpenAIModel])
def test_a_name_that_is_no_text_is_refused(kind: Callable[..., Any], model_id: Any) -> None:
    with pytest.raises(TypeError, match="model_id must be a text, the model's name at the service; got "):
        kind(model_id)


@pytest.mark.parametrize(("kind", "argument"), ADDRESSED)
@pytest.mark.parametrize("address", ["nonsense", "localhost:8000/v1", "ftp://example.com", "http://", "", 3])
def test_an_address_that_is_none_is_refused(kind: Callable[..., Any], argument: str, address: Any) -> None:
    with pytest.raises(ValueError, match=f"{argument} must begin with http:// or https:// and name a host; got "):
        kind("m", **{argument: address})


@pytest.mark.parametrize(
    ("kind", "variable"),
    [(OpenAIModel, "OPENAI_BASE_URL"), (AnthropicModel, "ANTHROPIC_BASE_URL")],
)
async def test_an_address_from_the_environment_that_is_none_is_told_and_not_tried_again(
    kind: Callable[..., ServiceModel], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "nonsense")
    model = kind("m", api_key="key")
    for call in (lambda: model.generate(ASK), lambda: list(model.generate_stream(ASK))):
        with pytest.raises(AgentGenerationError, match="must begin with http:// or https://") as told:
            call()
        assert "tried" not in str(told.value)
    with pytest.raises(AgentGenerationError, match="must begin with http:// or https://"):
        await model.agenerate(ASK)
    await model.aclose()
