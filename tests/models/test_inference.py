"""InferenceClientModel against a service that answers as Hugging Face's providers do."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from actloop.errors import AgentGenerationError
from actloop.models.inference import InferenceClientModel
from actloop.models.retry import ModelRequestError

from .completions_wire import CompletionsContract
from .conftest import Service, completion, status, stream
from .contract import ASK, FACES, KEY, QUICK, STREAMS, reply


@pytest.fixture(autouse=True)
def closed_session() -> Iterator[None]:
    """The SDK keeps its connections in one pool for the process; no test leaves any behind."""
    import huggingface_hub

    yield
    huggingface_hub.close_session()


class TestInferenceClientModel(CompletionsContract):
    bounded = ["agenerate", *STREAMS]

    def make(self, service: Service, **options: Any) -> InferenceClientModel:
        return self.at(service.root, **{"retry": QUICK, "timeout": 20, **options})

    def at(self, url: str, **options: Any) -> InferenceClientModel:
        return InferenceClientModel("m", base_url=url, token=KEY, **options)


def test_where_and_how_a_request_is_sent(service: Service) -> None:
    service.answers = [completion()]
    options: dict[str, Any] = {"temperature": 0.5, "grammar": "root ::= x", "extra_body": {"guided": 1}}
    model = InferenceClientModel("m", token=KEY, base_url=f"{service.root}/v1", bill_to="acme", **options)
    with pytest.warns(UserWarning, match="bill_to"):  # the SDK's word on a key that is none of the Hub's
        model.generate(ASK)
    sent = service.requests[0]
    assert (service.paths[0], sent["model"]) == ("/v1/chat/completions", "m")
    assert (sent["temperature"], sent["grammar"], sent["guided"]) == (0.5, "root ::= x", 1)
    assert service.headers[0]["authorization"] == f"Bearer {KEY}"
    assert service.headers[0]["x-hf-bill-to"] == "acme"


def test_the_address_of_an_endpoint_as_the_model(service: Service) -> None:
    service.answers = [completion()]
    assert InferenceClientModel(f"{service.root}/deployed", token=KEY).generate(ASK).content == "hello"
    assert service.paths == ["/deployed/v1/chat/completions"]


def test_the_token_comes_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_from_the_environment")
    service.answers = [completion()]
    InferenceClientModel("m", base_url=service.root).generate(ASK)
    assert service.headers[0]["authorization"] == "Bearer hf_from_the_environment"


def test_token_and_api_key_are_the_same() -> None:
    with pytest.raises(ValueError, match="only one"):
        InferenceClientModel("m", token="a", api_key="b")
    assert InferenceClientModel("m", api_key="b").client_kwargs["token"] == "b"


def test_settings_reach_the_client() -> None:
    model = InferenceClientModel(provider="together", token=KEY, timeout=7, client_kwargs={"cookies": {"a": "b"}})
    assert (model.client.provider, model.client.timeout, model.client.cookies) == ("together", 7, {"a": "b"})
    assert model.client.model == "Qwen/Qwen3-Next-80B-A3B-Thinking"
    data = model.to_dict()
    assert (data["provider"], data["timeout"]) == ("together", 7)


def test_an_unknown_provider_is_named() -> None:
    with pytest.raises(AgentGenerationError, match="nobody"):
        InferenceClientModel("m", provider="nobody", token=KEY).generate(ASK)


def test_structured_output_is_handed_to_any_provider(service: Service) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "A", "schema": schema}}
    service.answers = [completion("{}")]
    InferenceClientModel("m", base_url=service.root, token=KEY).generate(ASK, response_format=form)
    assert schema in service.requests[0]["response_format"].values(), "endpoints take the schema in their own form"


@pytest.mark.parametrize("face", STREAMS)
@pytest.mark.parametrize("kind", ["overloaded", "validation"])
async def test_an_error_in_a_stream(service: Service, face: str, kind: str) -> None:
    event = f"data: {json.dumps({'error': 'Model is overloaded', 'error_type': kind})}\n\n"
    service.answers = [stream(event)] * 3
    with (
        InferenceClientModel("m", base_url=service.root, token=KEY, retry=QUICK) as model,
        pytest.raises(ModelRequestError, match="failed while replying: Model is overloaded"),
    ):
        await reply(model, face)
    assert len(service.requests) == (3 if kind == "overloaded" else 1)


@pytest.mark.parametrize("face", FACES)
async def test_what_the_service_says_is_told(service: Service, face: str) -> None:
    service.answers = [status(422, {"error": "Input validation error"})]
    with (
        InferenceClientModel("m", base_url=service.root, token=KEY) as model,
        pytest.raises(ModelRequestError, match="answered 422: Input validation error"),
    ):
        await reply(model, face)


def test_a_client_of_ones_own(service: Service) -> None:
    import huggingface_hub

    service.answers = [completion("given")]
    with huggingface_hub.InferenceClient(base_url=service.root, token="mine") as client:
        assert InferenceClientModel("m", client=client).generate(ASK).content == "given"
    assert service.headers[0]["authorization"] == "Bearer mine"


def test_without_the_sdk_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'actloop\[huggingface\]'"):
        InferenceClientModel("m", token=KEY).generate(ASK)
