"""LiteLLMModel and its router against a service that speaks OpenAI's chat completions, and one that speaks Anthropic's.

LiteLLM needs an older release of OpenAI's SDK than the other tests, so these run in an environment of their own.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("litellm", reason="LiteLLM has an environment of its own: make test runs these there")

from actloop.models.api import ServiceModel
from actloop.models.litellm import LiteLLMModel, LiteLLMRouterModel
from actloop.models.openai import OpenAIModel
from actloop.values.messages import MessageRole
from actloop.values.usage import TokenUsage

from .anthropic_wire import call_block, streamed, thinking_block, whole
from .completions_wire import CompletionsContract
from .conftest import Service, completion, status, stream
from .contract import ASK, FACES, KEY, QUICK, STREAMS, TOOLS, Said, reply, result, said

pytestmark = [  # LiteLLM's own use of pydantic; what is left open is an error here too
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def router(service: Service, **options: Any) -> LiteLLMRouterModel:
    params = {"model": "openai/m", "api_base": service.url, "api_key": KEY}
    models = [{"model_name": "group", "litellm_params": params}]
    options = {"retry": QUICK, "timeout": 20, **options}
    return LiteLLMRouterModel("group", models, **options)


class TestLiteLLMModel(CompletionsContract):
    broken = ""
    lost = "Connection error"
    bounded = STREAMS

    def make(self, service: Service, **options: Any) -> LiteLLMModel:
        return self.at(service.url, **{"retry": QUICK, "timeout": 20, **options})

    def at(self, url: str, **options: Any) -> LiteLLMModel:
        return LiteLLMModel("openai/m", url, KEY, **options)

    @pytest.mark.parametrize("face", FACES)
    async def test_missing_usage_is_none(self, model: ServiceModel, service: Service, face: str) -> None:
        service.answers = [self.answer(face, Said(usage=None))]
        message = await reply(model, face)
        assert message.content == "hello"  # LiteLLM counts tokens itself where a service does not

    @pytest.mark.parametrize("face", STREAMS)
    @pytest.mark.parametrize("cut", [True])  # LiteLLM makes up the end of a stream that has none
    async def test_a_stream_that_breaks_off_is_an_error(
        self, model: ServiceModel, service: Service, face: str, cut: bool
    ) -> None:
        await super().test_a_stream_that_breaks_off_is_an_error(model, service, face, cut)

    @pytest.mark.parametrize("face", STREAMS)
    @pytest.mark.parametrize("cut", [True])
    async def test_a_stream_that_fails_before_its_first_piece_is_tried_again(
        self, model: ServiceModel, service: Service, face: str, cut: bool
    ) -> None:
        await super().test_a_stream_that_fails_before_its_first_piece_is_tried_again(model, service, face, cut)


@pytest.mark.parametrize("face", FACES)
async def test_the_router_sends_to_a_model_of_the_group(service: Service, face: str) -> None:
    contract = TestLiteLLMModel()
    service.answers = [status(500), contract.answer(face)]
    with router(service, client_kwargs={"routing_strategy": "simple-shuffle"}) as model:
        message = await reply(model, face)
    assert (message.content, service.requests[1]["model"]) == ("hello", "m")
    assert len(service.requests) == 2, "one layer of retries: the router's own are off"


def test_the_routers_settings_are_saved_without_keys(service: Service) -> None:
    with router(service) as model:
        data = model.to_dict()
        assert KEY not in json.dumps(data)
        assert KEY not in repr(model)
    assert data["model_list"][0]["litellm_params"] == {"model": "openai/m", "api_base": service.url}
    assert LiteLLMRouterModel.from_dict(data).to_dict() == data


def test_some_services_get_plain_text() -> None:
    assert LiteLLMModel("ollama/x").flatten_messages_as_text
    assert LiteLLMModel("groq/x").flatten_messages_as_text
    assert not LiteLLMModel("openai/x").flatten_messages_as_text


def test_a_missing_model_id_is_warned_of() -> None:
    with pytest.warns(FutureWarning, match="model_id"):
        assert LiteLLMModel().model_id == "anthropic/claude-3-5-sonnet-20240620"


def test_claudes_cache_is_marked(service: Service) -> None:
    body = {"id": "1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn"}
    usage = {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 10, "output_tokens": 7}
    content = [{"type": "text", "text": "hello"}]
    service.answers = [status(200, {**body, "content": content, "usage": usage})] * 2
    messages = [said(MessageRole.SYSTEM, "s"), *ASK]
    with LiteLLMModel("anthropic/claude-sonnet-4-5", service.root, KEY) as model:
        message = model.generate(messages)
    assert (message.content, message.token_usage) == ("hello", TokenUsage(113, 7))
    sent = service.requests[0]
    mark = {"type": "ephemeral"}
    assert sent["system"][0]["cache_control"] == mark
    assert sent["messages"][-1]["content"][-1]["cache_control"] == mark
    with LiteLLMModel("anthropic/claude-sonnet-4-5", service.root, KEY, prompt_caching=False) as model:
        model.generate(messages)
    assert "cache_control" not in json.dumps(service.requests[1])


@pytest.mark.parametrize("face", FACES)
async def test_signed_thoughts_go_back_with_their_calls(service: Service, face: str) -> None:
    thought = {"type": "thinking", "thinking": "one?", "signature": "signed"}
    call = {"type": "tool_use", "id": "c1", "name": "add", "input": {"x": 1}}
    usage = {"input_tokens": 3, "output_tokens": 7}
    if "stream" in face:
        blocks = [thinking_block("one?", "signed"), call_block("c1", "add", '{"x": 1}')]
        service.answers = [stream(*streamed(*blocks, usage=usage, reason="tool_use"))]
    else:
        service.answers = [whole(thought, call, usage=usage, reason="tool_use")]
    service.answers.append(whole({"type": "text", "text": "done"}, usage=usage))
    asking = [said(MessageRole.USER, "add")]
    options: dict[str, Any] = {"tools_to_call_from": TOOLS, "tool_choice": "auto"}
    thinking = {"type": "enabled", "budget_tokens": 2000}
    with LiteLLMModel("anthropic/claude-sonnet-4-5", service.root, KEY, thinking=thinking) as model:
        message = await reply(model, face, asking, **options)
        assert (message.reasoning_content, message.reasoning_details) == ("one?", [thought])
        model.generate([*asking, message, result("c1", "1")], **options)
    assert service.requests[1]["messages"][1]["content"][0] == thought


def test_openais_models_work_beside_it(service: Service) -> None:
    service.answers = [completion()]
    with OpenAIModel("m", service.url, KEY) as model:
        assert model.generate(ASK).content == "hello"


def test_it_is_imported_when_it_is_used() -> None:
    program = (
        "import sys; from actloop.models.litellm import LiteLLMModel; LiteLLMModel('x/y');"
        "sys.exit('litellm' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": "src"})
