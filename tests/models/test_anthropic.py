"""AnthropicModel against a service that answers as Anthropic's does."""

import json
import sys
from typing import Any

import pytest

from actloop.errors import AgentGenerationError
from actloop.models.anthropic import AnthropicModel
from actloop.models.base import REMOVE_PARAMETER
from actloop.models.retry import ModelRequestError
from actloop.values.messages import ChatMessage, MessageRole
from actloop.values.usage import TokenUsage

from .anthropic_wire import call_block, event, streamed, text_block, thinking_block, whole
from .conftest import Answer, Service, status, stream
from .contract import (
    ASK,
    FACES,
    KEY,
    QUICK,
    STREAMS,
    TOOLS,
    Said,
    ServiceContract,
    asked,
    reply,
    result,
    said,
)

PNG = b"\x89PNG\r\n\x1a\nimage"


class TestAnthropicModel(ServiceContract):
    first_words = 4

    def make(self, service: Service, **options: Any) -> AnthropicModel:
        return self.at(service.root, **{"retry": QUICK, "timeout": 20, **options})

    def at(self, url: str, **options: Any) -> AnthropicModel:
        return AnthropicModel("m", KEY, url, **options)

    def whole(self, said: Said) -> Answer:
        blocks: list[dict[str, Any]] = []
        if said.thoughts:
            blocks.append({"type": "thinking", "thinking": said.thoughts, "signature": "signed"})
        if said.content:
            blocks.append({"type": "text", "text": said.content})
        blocks += [{"type": "tool_use", "id": i, "name": n, "input": json.loads(a)} for i, n, a in said.calls]
        usage = said.usage and {"input_tokens": said.usage[0], "output_tokens": said.usage[1]}
        return whole(*blocks, usage=usage)

    def pieces(self, said: Said) -> list[str | bytes]:
        blocks = [thinking_block(said.thoughts, "signed")] if said.thoughts else []
        if said.content:
            blocks.append(text_block(said.content))
        blocks += [call_block(*call) for call in said.calls]
        usage = said.usage and {"input_tokens": said.usage[0], "output_tokens": said.usage[1]}
        return [*streamed(*blocks, usage=usage)]

    def stream(self, *events: str | bytes, cut: bool = False, pause: float = 0.0) -> Answer:
        return stream(*events, cut=cut, pause=pause)

    def stops_sent(self, request: dict[str, Any]) -> Any:
        return request["stop_sequences"]

    def refusal(self, code: int, message: str) -> Answer:
        return status(code, {"type": "error", "error": {"type": "some_error", "message": message}})


@pytest.fixture
def model(service: Service) -> Any:
    with AnthropicModel("m", KEY, service.root, retry=QUICK, timeout=20) as model:
        yield model


def hello() -> Answer:
    return whole({"type": "text", "text": "hello"})


def body_of(model: AnthropicModel, service: Service, messages: Any = ASK, **options: Any) -> dict[str, Any]:
    """What is sent for a conversation."""
    service.answers = [hello()]
    model.generate(messages, **options)
    return service.requests[-1]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_a_request_holds_what_the_service_demands(model: AnthropicModel, service: Service) -> None:
    messages = [said(MessageRole.SYSTEM, "Be brief."), said(MessageRole.USER, "how many?")]
    assert body_of(model, service, messages, temperature=0.5, top_k=3) == {
        "model": "m",
        "max_tokens": 8192,
        "temperature": 0.5,
        "top_k": 3,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "cache_control": {"type": "ephemeral"},
        "messages": [{"role": "user", "content": [text("how many?")]}],
    }
    assert service.paths == ["/v1/messages"]
    assert KEY in "".join(service.headers[0].values())


def test_roles_alternate_beginning_with_the_user(model: AnthropicModel, service: Service) -> None:
    messages = [
        said(MessageRole.SYSTEM, "One."),
        said(MessageRole.SYSTEM, "Two."),
        said(MessageRole.ASSISTANT, "I begin."),
        said(MessageRole.USER, "a"),
        said(MessageRole.USER, "b"),
        said(MessageRole.ASSISTANT, " "),
        said(MessageRole.TOOL_CALL, "a call in words"),
        said(MessageRole.ASSISTANT, "c"),
        said(MessageRole.SYSTEM, "a later instruction"),
        said(MessageRole.TOOL_RESPONSE, "d"),
        said(MessageRole.ASSISTANT, "the beginning of a reply \n"),
    ]
    sent = body_of(model, service, messages)
    assert [block["text"] for block in sent["system"]] == ["One.", "Two."]
    assert [(turn["role"], [block["text"] for block in turn["content"]]) for turn in sent["messages"]] == [
        ("user", ["Begin."]),
        ("assistant", ["I begin."]),
        ("user", ["a", "b"]),
        ("assistant", ["a call in words", "c"]),
        ("user", ["a later instruction", "d"]),
        ("assistant", ["the beginning of a reply"]),
    ]


def test_a_conversation_of_instructions_alone_is_the_users(model: AnthropicModel, service: Service) -> None:
    sent = body_of(model, service, [said(MessageRole.SYSTEM, "Say hello.")])
    assert sent["messages"] == [{"role": "user", "content": [text("Say hello.")]}]
    assert "system" not in sent


def test_roles_may_be_converted(service: Service) -> None:
    with AnthropicModel("m", KEY, service.root, custom_role_conversions={"system": "user"}) as model:
        sent = body_of(model, service, [said(MessageRole.SYSTEM, "a"), said(MessageRole.USER, "b")])
    assert sent["messages"] == [{"role": "user", "content": [text("a"), text("b")]}]


def test_images(model: AnthropicModel, service: Service) -> None:
    parts = [
        text("what is this?"),
        {"type": "image", "image": PNG},
        {"type": "image", "image": "https://example.org/a.png"},
        {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}},
    ]
    sent = body_of(model, service, [ChatMessage(MessageRole.USER, parts)])
    sources = [block["source"] for block in sent["messages"][0]["content"][1:]]
    assert [source["type"] for source in sources] == ["base64", "url", "base64"]
    assert sources[0] == {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgppbWFnZQ=="}
    assert sources[1]["url"] == "https://example.org/a.png"
    assert (sources[2]["media_type"], sources[2]["data"]) == ("image/webp", "AAAA")


def test_tools_are_declared_and_one_is_demanded(model: AnthropicModel, service: Service) -> None:
    sent = body_of(model, service, tools_to_call_from=TOOLS)
    assert [(tool["name"], tool["description"]) for tool in sent["tools"]] == [("add", "Adds."), ("ping", "Pings.")]
    assert sent["tools"][0]["input_schema"]["properties"]["x"]["type"] == "integer"
    assert sent["tool_choice"] == {"type": "any"}
    assert "cache_control" not in sent["tools"][0]
    assert sent["tools"][1]["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("add", {"type": "tool", "name": "add"}),
        ({"type": "function", "function": {"name": "add"}}, {"type": "tool", "name": "add"}),
        ({"type": "tool", "name": "add"}, {"type": "tool", "name": "add"}),
        (REMOVE_PARAMETER, None),
    ],
)
def test_the_choice_of_a_tool(model: AnthropicModel, service: Service, given: Any, expected: Any) -> None:
    assert body_of(model, service, tools_to_call_from=TOOLS, tool_choice=given).get("tool_choice") == expected


def test_calls_may_be_limited_to_one_at_a_time(model: AnthropicModel, service: Service) -> None:
    sent = body_of(model, service, tools_to_call_from=TOOLS, parallel_tool_calls=False)
    assert sent["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert "parallel_tool_calls" not in sent


def test_results_of_parallel_calls_are_one_turn_of_the_user(model: AnthropicModel, service: Service) -> None:
    messages = [
        said(MessageRole.USER, "add"),
        asked(("call:1", "add", '{"x": 1}'), ("c2", "ping", ""), content="I will."),
        result("c2", ""),
        ChatMessage(MessageRole.USER, [{"type": "image", "image": "https://example.org/a.png"}]),
        result("call:1", "1"),
        result("unknown", "an answer without its call"),
    ]
    sent = body_of(model, service, messages, tools_to_call_from=TOOLS)
    assert sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                text("I will."),
                {"type": "tool_use", "id": "call_1", "name": "add", "input": {"x": 1}},
                {"type": "tool_use", "id": "c2", "name": "ping", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": [text("1")]},
                {"type": "tool_result", "tool_use_id": "c2", "content": [text("(nothing)")]},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                text("an answer without its call"),
            ],
        },
    ]


def test_a_call_without_an_answer_gets_one(model: AnthropicModel, service: Service) -> None:
    messages = [said(MessageRole.USER, "add"), asked(("c1", "add", {"x": 1})), said(MessageRole.USER, "go on")]
    sent = body_of(model, service, messages, tools_to_call_from=TOOLS)
    answered = {"type": "tool_result", "tool_use_id": "c1", "content": [text("(no result was kept)")]}
    assert sent["messages"][2]["content"] == [answered, text("go on")]


@pytest.mark.parametrize("off", [True, False])
def test_without_tools_calls_are_told_in_words(service: Service, off: bool) -> None:
    messages = [said(MessageRole.USER, "add"), asked(("c1", "add", {"x": 1})), result("c1", "1")]
    with AnthropicModel("m", KEY, service.root, native_tool_calls=not off) as model:
        sent = body_of(model, service, messages, tools_to_call_from=TOOLS if off else None)
    blocks = [block for turn in sent["messages"] for block in turn["content"]]
    assert {block["type"] for block in blocks} == {"text"}
    assert '"name": "add"' in blocks[1]["text"]


@pytest.mark.parametrize("face", FACES)
async def test_signed_thoughts_go_back_with_their_calls(model: AnthropicModel, service: Service, face: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    hidden = {"type": "redacted_thinking", "data": "c2VjcmV0"}
    thought = {"type": "thinking", "thinking": "one?", "signature": "signed"}
    call = {"type": "tool_use", "id": "c1", "name": "add", "input": {"x": 1}}
    if "stream" in face:
        blocks = [thinking_block("one?", "signed"), [hidden], call_block("c1", "add", '{"x": 1}')]
        service.answers = [stream(*streamed(*blocks, reason="tool_use"))]
    else:
        service.answers = [whole(thought, hidden, call, reason="tool_use")]
    asking = [said(MessageRole.USER, "add")]
    message = await reply(model, face, asking, tools_to_call_from=TOOLS, thinking=thinking)
    assert message.reasoning_content == "one?"
    stored = ChatMessage.from_dict(json.loads(message.model_dump_json()))
    sent = body_of(model, service, [*asking, stored, result("c1", "1")], tools_to_call_from=TOOLS, thinking=thinking)
    assert sent["messages"][1] == {"role": "assistant", "content": [thought, hidden, call]}
    assert sent["max_tokens"] == 2000 + 8192
    assert sent["tool_choice"] == {"type": "auto"}, "a model that thinks may not be made to call"


def test_calls_whose_thoughts_were_lost_are_told_in_words(model: AnthropicModel, service: Service) -> None:
    signed = [{"type": "thinking", "thinking": "t", "signature": "s"}]
    messages = [
        said(MessageRole.USER, "add"),
        asked(("c1", "add", {"x": 1})),
        result("c1", "1"),
        asked(("c2", "add", {"x": 2}), reasoning_details=signed),
        result("c2", "2"),
        said(MessageRole.USER, "again"),
        asked(("c3", "add", {"x": 3}), reasoning_details=signed),
        result("c3", "3"),
        asked(("c4", "add", {"x": 4})),
        result("c4", "4"),
    ]
    thinking = {"type": "enabled", "budget_tokens": 2000}
    sent = body_of(model, service, messages, tools_to_call_from=TOOLS, thinking=thinking)
    kinds = [[block["type"] for block in turn["content"]] for turn in sent["messages"]]
    assert kinds == [
        ["text"],
        ["text"],
        ["text"],
        ["text"],
        ["text", "text"],
        ["thinking", "tool_use"],
        ["tool_result"],
        ["tool_use"],
        ["tool_result"],
    ]


@pytest.mark.parametrize("face", FACES)
async def test_tokens_of_the_cache_count_as_input(model: AnthropicModel, service: Service, face: str) -> None:
    usage = {"input_tokens": 3, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 100, "output_tokens": 7}
    if "stream" in face:
        service.answers = [stream(*streamed(text_block("hi"), usage=usage))]
    else:
        service.answers = [whole(text("hi"), usage=usage)]
    assert (await reply(model, face)).token_usage == TokenUsage(113, 7)


def test_cache_marks_can_be_turned_off_or_set(service: Service) -> None:
    messages = [said(MessageRole.SYSTEM, "s"), *ASK]
    with AnthropicModel("m", KEY, service.root, prompt_caching=False) as model:
        assert "cache_control" not in json.dumps(body_of(model, service, messages, tools_to_call_from=TOOLS))
    hour = {"type": "ephemeral", "ttl": "1h"}
    with AnthropicModel("m", KEY, service.root, cache_control=hour) as model:
        sent = body_of(model, service, messages)
    assert (sent["cache_control"], sent["system"][0]["cache_control"]) == (hour, hour)


def test_structured_output(model: AnthropicModel, service: Service) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "A", "strict": True, "schema": schema}}
    sent = body_of(model, service, response_format=form, output_config={"effort": "low"})
    assert sent["output_config"] == {"format": {"type": "json_schema", "schema": schema}, "effort": "low"}
    assert "response_format" not in sent


@pytest.mark.parametrize("face", FACES)
async def test_stops_of_white_space_are_obeyed_but_not_sent(model: AnthropicModel, service: Service, face: str) -> None:
    answer = stream(*streamed(text_block("a\n\nb"))) if "stream" in face else whole(text("a\n\nb"))
    service.answers = [answer]
    assert (await reply(model, face, stop_sequences=["\n\n"])).content == "a"
    assert "stop_sequences" not in service.requests[0]


def test_parameters_pass_through_and_can_be_removed(service: Service) -> None:
    with AnthropicModel("m", KEY, service.root, max_tokens=10, temperature=REMOVE_PARAMETER, extra=1) as model:
        sent = body_of(model, service, temperature=0.5, extra_headers={"anthropic-beta": "x"})
    assert (sent["max_tokens"], sent["extra"]) == (10, 1)
    assert "temperature" not in sent
    assert service.headers[0]["anthropic-beta"] == "x"


def test_long_replies_need_no_stream(model: AnthropicModel, service: Service) -> None:
    assert body_of(model, service, max_tokens=100_000)["max_tokens"] == 100_000


@pytest.mark.parametrize("face", STREAMS)
async def test_an_overloaded_service_is_asked_again_until_it_has_begun(
    model: AnthropicModel, service: Service, face: str
) -> None:
    overloaded = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    good = streamed(text_block("hello"))
    service.answers = [stream(overloaded), status(529, {"error": {"message": "Overloaded"}}), stream(*good)]
    assert (await reply(model, face)).content == "hello"
    service.answers = [stream(*good[:5], overloaded)]
    with pytest.raises(ModelRequestError, match="failed while replying: Overloaded") as caught:
        await reply(model, face)
    assert (caught.value.status, len(service.requests)) == (529, 4)


@pytest.mark.parametrize("face", STREAMS)
async def test_an_error_in_a_stream_that_will_not_pass(model: AnthropicModel, service: Service, face: str) -> None:
    service.answers = [stream(event("error", error={"type": "invalid_request_error", "message": "no"}))]
    with pytest.raises(ModelRequestError, match="failed while replying: no") as caught:
        await reply(model, face)
    assert caught.value.status == 400


@pytest.mark.parametrize("face", FACES)
async def test_a_model_that_declines_is_told_in_words(model: AnthropicModel, service: Service, face: str) -> None:
    service.answers = [stream(*streamed(reason="refusal")) if "stream" in face else whole(reason="refusal")]
    with pytest.raises(ModelRequestError, match="declined to answer"):
        await reply(model, face)


def test_an_account_without_credit_is_not_asked_again(model: AnthropicModel, service: Service) -> None:
    service.answers = [status(400, {"error": {"type": "billing_error", "message": "pay"}})]
    with pytest.raises(ModelRequestError, match="no credit left"):
        model.generate(ASK)


def test_without_a_key_the_message_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AgentGenerationError, match="ANTHROPIC_API_KEY"):
        AnthropicModel("m").generate(ASK)


def test_without_the_sdk_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)
    with pytest.raises(ImportError, match=r"pip install 'actloop\[anthropic\]'"):
        AnthropicModel("m", KEY).generate(ASK)


def test_a_client_of_ones_own(service: Service) -> None:
    import anthropic

    service.answers = [hello()]
    with anthropic.Anthropic(base_url=service.root, api_key="mine", max_retries=0) as client:
        assert AnthropicModel("m", client=client).generate(ASK).content == "hello"
    assert "mine" in "".join(service.headers[0].values())


def test_arguments_of_the_client(service: Service) -> None:
    settings = {"default_headers": {"x-team": "one"}, "max_retries": 0}
    with AnthropicModel("m", KEY, service.root, client_kwargs=settings) as model:
        service.answers = [status(500), hello()]
        with pytest.raises(ModelRequestError):
            model.generate(ASK)
    assert service.headers[0]["x-team"] == "one"
    assert model.to_dict()["client_kwargs"] == {"max_retries": 0}


def test_a_tool_calling_agent_at_work(model: AnthropicModel, service: Service) -> None:
    """Thoughts, calls and results of a whole run, as the agent's memory hands them on."""
    from actloop import ToolCallingAgent, tool

    @tool
    def add(x: int) -> int:
        """Adds one.

        Args:
            x: a number
        """
        return x + 1

    model.kwargs["thinking"] = {"type": "enabled", "budget_tokens": 2000}
    thought = {"type": "thinking", "thinking": "one?", "signature": "signed"}
    call = {"type": "tool_use", "id": "c1", "name": "add", "input": {"x": 1}}
    done = {"type": "tool_use", "id": "c2", "name": "final_answer", "input": {"answer": 2}}
    service.answers = [whole(thought, call, reason="tool_use"), whole(thought, done, reason="tool_use")]
    assert ToolCallingAgent(tools=[add], model=model, verbosity_level=0).run("Add one to one.") == 2
    first, second = service.requests
    assert second["messages"][: len(first["messages"])] == first["messages"]
    asking, answering = second["messages"][len(first["messages"]) :]
    assert asking == {"role": "assistant", "content": [thought, call]}
    assert answering["role"] == "user"
    assert (answering["content"][0]["type"], answering["content"][0]["tool_use_id"]) == ("tool_result", "c1")
    assert "2" in answering["content"][0]["content"][0]["text"]
