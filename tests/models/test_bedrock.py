"""AmazonBedrockModel against a service that answers as Amazon's does, event streams in their binary frames included."""

import base64
import itertools
import json
import struct
import sys
import zlib
from typing import Any

import pytest

from actloop.errors import AgentGenerationError
from actloop.models.base import REMOVE_PARAMETER
from actloop.models.bedrock import AmazonBedrockModel, AmazonBedrockServerModel
from actloop.models.retry import ModelRequestError
from actloop.values.messages import ChatMessage, MessageRole
from actloop.values.usage import TokenUsage

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
    sent_messages,
    steps,
)

CACHING = "us.anthropic.claude-sonnet-4-20250514-v1:0"
POINT = {"cachePoint": {"type": "default"}}


def whole(*blocks: dict[str, Any], usage: Any = None, reason: str = "end_turn") -> Answer:
    message = {"role": "assistant", "content": list(blocks)}
    body: dict[str, Any] = {"output": {"message": message}, "stopReason": reason, "metrics": {"latencyMs": 1}}
    if usage:
        body["usage"] = usage
    return status(200, body)


def frame(kind: str, body: dict[str, Any], message_type: str = "event") -> bytes:
    """An event as AWS frames it: lengths, headers and payload, each part with its checksum."""
    name = "exception" if message_type == "exception" else "event"
    headers = b"".join(
        struct.pack(">B", len(key)) + key.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for key, value in (
            (f":{name}-type", kind),
            (":content-type", "application/json"),
            (":message-type", message_type),
        )
    )
    payload = json.dumps(body).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    message = prelude + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def streamed(*blocks: list[dict[str, Any]], usage: Any = None, reason: str = "end_turn") -> list[str | bytes]:
    """Events of a reply: each block is its beginning (empty for a text) and its deltas."""
    events = [frame("messageStart", {"role": "assistant"})]
    for index, (start, *deltas) in enumerate(blocks):
        if start:
            events.append(frame("contentBlockStart", {"start": start, "contentBlockIndex": index}))
        events.extend(frame("contentBlockDelta", {"delta": delta, "contentBlockIndex": index}) for delta in deltas)
        events.append(frame("contentBlockStop", {"contentBlockIndex": index}))
    events.append(frame("messageStop", {"stopReason": reason}))
    if usage:
        events.append(frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}))
    return [*events]


def served(*events: str | bytes, cut: bool = False, pause: float = 0.0) -> Answer:
    return stream(*events, cut=cut, pause=pause, content_type="application/vnd.amazon.eventstream")


def text_block(text: str) -> list[dict[str, Any]]:
    return [{}, *({"text": letter} for letter in text)]


def call_block(identity: str, name: str, arguments: str) -> list[dict[str, Any]]:
    parts = [arguments[:4], arguments[4:]] if arguments != "{}" else []
    return [{"toolUse": {"toolUseId": identity, "name": name}}, *({"toolUse": {"input": part}} for part in parts)]


def thinking_block(thoughts: str, signature: str) -> list[dict[str, Any]]:
    pieces = [{"reasoningContent": {"text": letter}} for letter in thoughts]
    return [{}, *pieces, {"reasoningContent": {"signature": signature}}]


def tokens(usage: tuple[int, int] | None) -> Any:
    return usage and {"inputTokens": usage[0], "outputTokens": usage[1], "totalTokens": sum(usage)}


def at(url: str, model_id: str = "m", **options: Any) -> AmazonBedrockModel:
    account = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": KEY, "region_name": "eu-west-1"}
    settings = {**account, "endpoint_url": url, **options.pop("client_kwargs", {})}
    return AmazonBedrockModel(model_id, client_kwargs=settings, **options)


class TestAmazonBedrockModel(ServiceContract):
    bounded = STREAMS

    def make(self, service: Service, **options: Any) -> AmazonBedrockModel:
        return self.at(service.root, **{"retry": QUICK, "timeout": 20, **options})

    def at(self, url: str, **options: Any) -> AmazonBedrockModel:
        return at(url, **options)

    def whole(self, said: Said) -> Answer:
        blocks: list[dict[str, Any]] = []
        if said.thoughts:
            blocks.append({"reasoningContent": {"reasoningText": {"text": said.thoughts, "signature": "signed"}}})
        if said.content:
            blocks.append({"text": said.content})
        blocks += [{"toolUse": {"toolUseId": i, "name": n, "input": json.loads(a)}} for i, n, a in said.calls]
        return whole(*blocks, usage=tokens(said.usage))

    def pieces(self, said: Said) -> list[str | bytes]:
        blocks = [thinking_block(said.thoughts, "signed")] if said.thoughts else []
        if said.content:
            blocks.append(text_block(said.content))
        blocks += [call_block(*call) for call in said.calls]
        return streamed(*blocks, usage=tokens(said.usage))

    def stream(self, *events: str | bytes, cut: bool = False, pause: float = 0.0) -> Answer:
        return served(*events, cut=cut, pause=pause)

    def stops_sent(self, request: dict[str, Any]) -> Any:
        return request["inferenceConfig"]["stopSequences"]

    def refusal(self, code: int, message: str) -> Answer:
        return status(code, {"message": message}, **{"x-amzn-ErrorType": "SomeException"})


@pytest.fixture
def model(service: Service) -> Any:
    with at(service.root, retry=QUICK, timeout=20) as model:
        yield model


def hello() -> Answer:
    return whole({"text": "hello"})


def body_of(model: AmazonBedrockModel, service: Service, messages: Any = ASK, **options: Any) -> dict[str, Any]:
    """What is sent for a conversation."""
    service.answers = [hello()]
    model.generate(messages, **options)
    return service.requests[-1]


def test_a_request_in_bedrocks_form(model: AmazonBedrockModel, service: Service) -> None:
    messages = [said(MessageRole.SYSTEM, "Be brief."), said(MessageRole.USER, "how many?")]
    assert body_of(model, service, messages, temperature=0.5, max_tokens=10, top_p=0.9) == {
        "system": [{"text": "Be brief."}],
        "inferenceConfig": {"temperature": 0.5, "maxTokens": 10, "topP": 0.9},
        "messages": [{"role": "user", "content": [{"text": "how many?"}]}],
    }
    assert service.paths == ["/model/m/converse"]
    assert "AKIDEXAMPLE" in service.headers[0]["authorization"]


def test_bedrocks_own_parameters_pass_through(service: Service) -> None:
    options: dict[str, Any] = {
        "inferenceConfig": {"maxTokens": 3000},
        "guardrailConfig": {"guardrailIdentifier": "g1", "guardrailVersion": "1"},
        "additionalModelRequestFields": {"top_k": 5},
    }
    with at(service.root, temperature=REMOVE_PARAMETER, **options) as model:
        sent = body_of(model, service, temperature=0.3, stop_sequences=["X"])
    assert sent["inferenceConfig"] == {"maxTokens": 3000, "stopSequences": ["X"]}
    assert (sent["guardrailConfig"], sent["additionalModelRequestFields"]) == (
        options["guardrailConfig"],
        {"top_k": 5},
    )


def test_a_parameter_that_bedrock_does_not_know_is_named(model: AmazonBedrockModel, service: Service) -> None:
    with pytest.raises(AgentGenerationError, match="frobnicate"):
        model.generate(ASK, frobnicate=1)
    assert service.requests == []


def test_all_roles_may_be_sent_as_the_users(service: Service) -> None:
    roles = {"system": "user", "assistant": "user", "tool-call": "user", "tool-response": "user"}
    messages = [said(MessageRole.SYSTEM, "a"), said(MessageRole.USER, "b"), said(MessageRole.ASSISTANT, "c")]
    with at(service.root, custom_role_conversions=roles) as model:
        sent = body_of(model, service, messages)
    assert sent["messages"] == [{"role": "user", "content": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}]


def test_images(model: AmazonBedrockModel, service: Service) -> None:
    parts = [
        {"type": "image", "image": b"\xff\xd8jpeg"},
        {"type": "image", "image": "s3://bucket/a.jpg"},
    ]
    sent = body_of(model, service, [ChatMessage(MessageRole.USER, parts)])
    assert sent["messages"][0]["content"] == [
        {"image": {"format": "jpeg", "source": {"bytes": base64.b64encode(b"\xff\xd8jpeg").decode()}}},
        {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/a.jpg"}}}},
    ]
    with pytest.raises(ValueError, match="takes no image by its address"):
        model.generate([ChatMessage(MessageRole.USER, [{"type": "image", "image": "https://example.org/a.png"}])])


def test_results_of_parallel_calls_are_one_turn_of_the_user(model: AmazonBedrockModel, service: Service) -> None:
    messages = [
        said(MessageRole.USER, "add"),
        asked(("call:1", "add", '{"x": 1}'), ("c2", "ping", {}), content="I will."),
        result("c2", ""),
        result("call:1", "1"),
    ]
    sent = body_of(model, service, messages, tools_to_call_from=TOOLS)
    assert sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"text": "I will."},
                {"toolUse": {"toolUseId": "call_1", "name": "add", "input": {"x": 1}}},
                {"toolUse": {"toolUseId": "c2", "name": "ping", "input": {}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "call_1", "content": [{"text": "1"}]}},
                {"toolResult": {"toolUseId": "c2", "content": [{"text": "(nothing)"}]}},
            ],
        },
    ]
    spec = sent["toolConfig"]["tools"][0]["toolSpec"]
    assert (spec["name"], spec["inputSchema"]["json"]["properties"]["x"]["type"]) == ("add", "integer")


def test_without_tools_calls_are_told_in_words(model: AmazonBedrockModel, service: Service) -> None:
    messages = [said(MessageRole.USER, "add"), asked(("c1", "add", {"x": 1})), result("c1", "1")]
    sent = body_of(model, service, messages)
    assert {key for turn in sent["messages"] for block in turn["content"] for key in block} == {"text"}
    assert "toolConfig" not in sent


@pytest.mark.parametrize(
    ("model_id", "given", "expected"),
    [
        (CACHING, "required", {"any": {}}),
        ("meta.llama3-1-70b-instruct-v1:0", "required", None),
        (CACHING, "auto", None),
        (CACHING, "add", {"tool": {"name": "add"}}),
        (CACHING, {"type": "function", "function": {"name": "add"}}, {"tool": {"name": "add"}}),
        (CACHING, {"auto": {}}, {"auto": {}}),
    ],
)
def test_the_choice_of_a_tool(service: Service, model_id: str, given: Any, expected: Any) -> None:
    with at(service.root, model_id) as model:
        sent = body_of(model, service, tools_to_call_from=TOOLS, tool_choice=given)
        assert sent["toolConfig"].get("toolChoice") == expected
        assert "toolConfig" not in body_of(model, service, tools_to_call_from=TOOLS, tool_choice="none")


@pytest.mark.parametrize("face", FACES)
async def test_signed_thoughts_go_back_with_their_calls(model: AmazonBedrockModel, service: Service, face: str) -> None:
    hidden = {"reasoningContent": {"redactedContent": base64.b64encode(b"secret").decode()}}
    thought = {"reasoningContent": {"reasoningText": {"text": "one?", "signature": "signed"}}}
    call = {"toolUse": {"toolUseId": "c1", "name": "add", "input": {"x": 1}}}
    if "stream" in face:
        blocks = [thinking_block("one?", "signed"), [{}, hidden], call_block("c1", "add", '{"x": 1}')]
        service.answers = [served(*streamed(*blocks, reason="tool_use"))]
    else:
        service.answers = [whole(thought, hidden, call, reason="tool_use")]
    asking = [said(MessageRole.USER, "add")]
    options: dict[str, Any] = {
        "tools_to_call_from": TOOLS,
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    }
    message = await reply(model, face, asking, **options)
    assert message.reasoning_content == "one?"
    stored = ChatMessage.from_dict(json.loads(message.model_dump_json()))
    sent = body_of(model, service, [*asking, stored, result("c1", "1")], **options)
    assert sent["messages"][1] == {"role": "assistant", "content": [thought, hidden, call]}
    assert "toolChoice" not in sent["toolConfig"], "a model that thinks may not be made to call"
    unthought = asked(("c1", "add", {"x": 1}))
    sent = body_of(model, service, [*asking, unthought, result("c1", "1")], **options)
    assert "toolUse" not in json.dumps(sent["messages"])


@pytest.mark.parametrize("face", FACES)
async def test_tokens_of_the_cache_count_as_input(model: AmazonBedrockModel, service: Service, face: str) -> None:
    usage = {"inputTokens": 3, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 10, "outputTokens": 7}
    usage["totalTokens"] = 120
    blocks = streamed(text_block("hi"), usage=usage)
    service.answers = [served(*blocks) if "stream" in face else whole({"text": "hi"}, usage=usage)]
    assert (await reply(model, face)).token_usage == TokenUsage(113, 7)


@pytest.mark.parametrize(
    ("model_id", "caches"),
    [
        (CACHING, True),
        ("amazon.nova-pro-v1:0", True),
        ("anthropic.claude-3-haiku-20240307-v1:0", False),
        ("meta.llama3-1-70b-instruct-v1:0", False),
    ],
)
def test_cache_points_where_the_model_takes_them(service: Service, model_id: str, caches: bool) -> None:
    messages = [said(MessageRole.SYSTEM, "s"), *ASK]
    with at(service.root, model_id) as model:
        sent = body_of(model, service, messages)
        assert (sent["system"][-1] == POINT, sent["messages"][-1]["content"][-1] == POINT) == (caches, caches)
        sent = body_of(model, service, ASK, tools_to_call_from=TOOLS)
        assert (sent["toolConfig"]["tools"][-1] == POINT) is caches
    with at(service.root, model_id, prompt_caching=False) as model:
        assert "cachePoint" not in json.dumps(body_of(model, service, messages, tools_to_call_from=TOOLS))


def test_each_step_sends_the_former_steps_bytes_again_but_for_the_cache_points(service: Service) -> None:
    with at(service.root, CACHING) as model:
        for messages in steps(4, native=True):
            body_of(model, service, messages, tools_to_call_from=TOOLS)
    mark = f", {json.dumps(POINT)}"
    assert all(body.count(mark.encode()) == 2 for body in service.bodies), "system prompt and end"
    sent = [sent_messages(body).replace(mark, "").removesuffix("]") for body in service.bodies]
    assert all(after.startswith(before) for before, after in itertools.pairwise(sent))


def test_structured_output(model: AmazonBedrockModel, service: Service) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "A", "schema": schema}}
    sent = body_of(model, service, response_format=form)
    format_sent = sent["outputConfig"]["textFormat"]
    assert format_sent["structure"]["jsonSchema"]["name"] == "A"
    assert json.loads(format_sent["structure"]["jsonSchema"]["schema"]) == schema


@pytest.mark.parametrize("face", STREAMS)
@pytest.mark.parametrize(
    ("kind", "code", "again"),
    [
        ("throttlingException", 429, True),
        ("serviceUnavailableException", 503, True),
        ("validationException", 400, False),
    ],
)
async def test_an_error_in_a_stream(
    model: AmazonBedrockModel, service: Service, face: str, kind: str, code: int, again: bool
) -> None:
    failure = frame(kind, {"message": "too much"}, "exception")
    good = streamed(text_block("hello"))
    service.answers = [served(failure), served(*good)]
    if again:
        assert (await reply(model, face)).content == "hello"
        service.answers = [served(*good[:3], failure)]
    with pytest.raises(ModelRequestError, match="too much") as caught:
        await reply(model, face)
    assert caught.value.status == code


@pytest.mark.parametrize("face", STREAMS)
async def test_frames_that_are_damaged_are_told(model: AmazonBedrockModel, service: Service, face: str) -> None:
    good = streamed(text_block("hello"))
    damaged = bytes(good[3])[:-1] + b"!" if isinstance(good[3], bytes) else b""
    service.answers = [served(*good[:3], damaged)]
    with pytest.raises(ModelRequestError, match="broken answer"):
        await reply(model, face)


@pytest.mark.parametrize("face", FACES)
async def test_a_guardrail_that_steps_in_is_told_in_words(
    model: AmazonBedrockModel, service: Service, face: str
) -> None:
    stopped = "guardrail_intervened"
    service.answers = [served(*streamed(reason=stopped)) if "stream" in face else whole(reason=stopped)]
    with pytest.raises(ModelRequestError, match="stopped by a guardrail"):
        await reply(model, face)


def test_without_a_region_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(AgentGenerationError, match="region"):
        AmazonBedrockServerModel("m").generate(ASK)


def test_without_the_sdk_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ImportError, match=r"pip install 'actloop\[bedrock\]'"):
        AmazonBedrockModel("m").generate(ASK)


def test_a_client_of_ones_own(service: Service) -> None:
    with at(service.root) as lender:
        service.answers = [hello()]
        assert AmazonBedrockModel("m", lender.client).generate(ASK).content == "hello"
