"""OpenAIModel against a service that misbehaves in every way that services do."""

import asyncio
import os
import socket
import sys
from typing import Any

import pytest

from actloop.errors import AgentGenerationError
from actloop.models.openai import OpenAIModel, OpenAIServerModel
from actloop.models.retry import ModelRequestError, RetryPolicy
from actloop.models.switch import forbid_real_requests
from actloop.values.messages import ChatMessage, MessageRole, StreamedReply
from actloop.values.usage import TokenUsage

from .conftest import DONE, Service, chunk, completion, dropped, status, stream, trickled

ASK = [ChatMessage(MessageRole.USER, "how many?")]
QUICK = RetryPolicy(attempts=3, first_wait=0.001, jitter=0.0)
FACES = ["generate", "agenerate", "generate_stream", "astream"]


async def reply(model: OpenAIModel, face: str, **options: Any) -> ChatMessage:
    """The reply by one of the four faces of a model."""
    whole = StreamedReply()
    match face:
        case "generate":
            return await asyncio.to_thread(model.generate, ASK, **options)
        case "agenerate":
            return await model.agenerate(ASK, **options)
        case "generate_stream":
            for delta in await asyncio.to_thread(lambda: list(model.generate_stream(ASK, **options))):
                whole.add(delta)
        case _:
            async for delta in model.astream(ASK, **options):
                whole.add(delta)
    return whole.message()


def answer(face: str, content: str = "hello") -> Any:
    """A good answer, streamed where the face asks for a stream."""
    if "stream" not in face:
        return completion(content)
    return stream(*(chunk(content=c) for c in content), chunk(finish="stop"), chunk(usage=(3, 2)), DONE)


@pytest.fixture
def model(service: Service) -> Any:
    with OpenAIModel("m", service.url, "key", retry=QUICK, timeout=20) as model:
        yield model


@pytest.mark.parametrize("face", FACES)
async def test_a_reply(model: OpenAIModel, service: Service, face: str) -> None:
    service.answers = [answer(face)]
    message = await reply(model, face, temperature=0.5, grammar="root ::= x")
    assert (message.role, message.content, message.token_usage) == ("assistant", "hello", TokenUsage(3, 2))
    sent = service.requests[0]
    assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "how many?"}]}]
    assert (sent["model"], sent["temperature"], sent["grammar"]) == ("m", 0.5, "root ::= x")
    assert service.headers[0]["authorization"] == "Bearer key"


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("failure", [status(500), status(503, "busy"), status(408), status(429), dropped])
async def test_what_may_pass_is_tried_again(model: OpenAIModel, service: Service, face: str, failure: Any) -> None:
    service.answers = [failure, failure, answer(face)]
    assert (await reply(model, face)).content == "hello"
    assert len(service.requests) == 3


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422, 501])
async def test_what_cannot_succeed_is_not_tried_again(
    model: OpenAIModel, service: Service, face: str, code: int
) -> None:
    service.answers = [status(code, {"error": {"message": "you may not"}}), answer(face)]
    with pytest.raises(ModelRequestError, match=f"m at {service.url} answered {code}: you may not") as caught:
        await reply(model, face)
    assert (caught.value.status, len(service.requests)) == (code, 1)


async def test_the_number_of_attempts_is_bounded_and_told(model: OpenAIModel, service: Service) -> None:
    service.answers = [status(500)] * 9
    with pytest.raises(ModelRequestError, match=r"answered 500: .*tried 3 times"):
        model.generate(ASK)
    assert len(service.requests) == 3


async def test_the_services_wish_to_wait_is_honoured_up_to_a_bound(service: Service) -> None:
    model = OpenAIModel("m", service.url, "key", retry=RetryPolicy(attempts=2, first_wait=9, jitter=0, patience=5))
    with model:
        service.answers = [status(429, Retry_After="0"), completion()]
        assert model.generate(ASK).content == "hello"
        service.answers = [status(429, Retry_After="3600"), completion()]
        with pytest.raises(ModelRequestError, match="asks to wait 3600 s, longer than the 5 s"):
            model.generate(ASK)


async def test_an_account_without_credit_is_not_asked_again(model: OpenAIModel, service: Service) -> None:
    service.answers = [status(429, {"error": {"message": "pay", "code": "insufficient_quota"}}), completion()]
    with pytest.raises(ModelRequestError, match="no credit left"):
        model.generate(ASK)


@pytest.mark.parametrize("body", ['{"choices": [', "<html>gateway</html>", '{"choices": []}', "{}", "[1]", "null"])
@pytest.mark.parametrize("face", ["generate", "agenerate"])
async def test_a_broken_answer_is_tried_again_and_then_told(
    model: OpenAIModel, service: Service, face: str, body: str
) -> None:
    service.answers = [status(200, body), completion()]
    assert (await reply(model, face)).content == "hello"
    service.answers = [status(200, body)] * 3
    with pytest.raises(ModelRequestError, match="gave a broken answer"):
        await reply(model, face)


@pytest.mark.parametrize("face", ["generate_stream", "astream"])
@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_breaks_off_is_an_error(model: OpenAIModel, service: Service, face: str, cut: bool) -> None:
    service.answers = [stream(chunk(content="he"), chunk(content="ll"), cut=cut), answer(face)]
    with pytest.raises(ModelRequestError):
        await reply(model, face)
    assert len(service.requests) == 1, "what was handed out cannot be taken back, so nothing is sent again"


@pytest.mark.parametrize("face", ["generate_stream", "astream"])
@pytest.mark.parametrize(
    "begun",
    [
        stream(chunk(role="assistant"), cut=True),
        stream(),
        stream("data: {broken\n\n"),
        stream('data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'),
    ],
)
async def test_a_stream_that_fails_before_its_first_piece_is_tried_again(
    model: OpenAIModel, service: Service, face: str, begun: Any
) -> None:
    service.answers = [begun, answer(face)]
    assert (await reply(model, face)).content == "hello"


@pytest.mark.parametrize("face", ["generate_stream", "astream"])
async def test_an_error_inside_a_stream_ends_it(model: OpenAIModel, service: Service, face: str) -> None:
    service.answers = [stream(chunk(content="he"), 'data: {"error": {"message": "out of memory", "code": 500}}\n\n')]
    with pytest.raises(ModelRequestError, match="failed while replying: out of memory"):
        await reply(model, face)


@pytest.mark.parametrize("face", FACES)
async def test_missing_usage_is_none(model: OpenAIModel, service: Service, face: str) -> None:
    whole, pieces = completion(usage=None), stream(chunk(content="hello"), chunk(finish="stop"), DONE)
    service.answers = [pieces if "stream" in face else whole]
    message = await reply(model, face)
    assert (message.content, message.token_usage) == ("hello", None)


@pytest.mark.parametrize("face", ["generate_stream", "astream"])
async def test_a_service_that_cannot_tell_usage_in_a_stream(model: OpenAIModel, service: Service, face: str) -> None:
    refusal = status(400, {"error": {"message": "Unknown parameter: stream_options"}})
    service.answers = [refusal, answer(face), answer(face)]
    assert (await reply(model, face)).content == "hello"
    assert (await reply(model, face)).content == "hello"
    assert ["stream_options" in request for request in service.requests] == [True, False, False]


async def test_usage_in_every_chunk_is_counted_once(model: OpenAIModel, service: Service) -> None:
    pieces = [chunk(content=c, usage=(3, n + 1)) for n, c in enumerate("abc")]
    service.answers = [stream(*pieces, chunk(finish="stop", usage=(3, 3)), DONE)]
    assert (await reply(model, "astream")).token_usage == TokenUsage(3, 3)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_is_kept_apart(model: OpenAIModel, service: Service, face: str, field: str) -> None:
    if "stream" in face:
        service.answers = [
            stream(chunk(**{field: "I "}), chunk(**{field: "think"}), chunk(content="4"), chunk(finish="stop"), DONE)
        ]
    else:
        service.answers = [completion("4", **{field: "I think"})]
    message = await reply(model, face)
    assert (message.content, message.reasoning_content) == ("4", "I think")


@pytest.mark.parametrize("face", FACES)
async def test_tool_calls(model: OpenAIModel, service: Service, face: str) -> None:
    function = {"name": "add", "arguments": '{"x": 1}'}
    if "stream" in face:
        first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"x"'}}
        rest: dict[str, Any] = {"index": 0, "function": {"arguments": ": 1}"}}
        service.answers = [
            stream(chunk(tool_calls=[first]), chunk(tool_calls=[rest]), chunk(finish="tool_calls"), DONE)
        ]
    else:
        service.answers = [completion(None, tool_calls=[{"id": "c1", "type": "function", "function": function}])]
    message = model.parse_tool_calls(await reply(model, face))
    assert [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()] == [
        ("c1", "add", {"x": 1})
    ]


async def test_pieces_of_tool_calls_without_numbers(model: OpenAIModel, service: Service) -> None:
    def piece(identity: str | None, name: str | None, arguments: str) -> str:
        return chunk(tool_calls=[{"id": identity, "function": {"name": name, "arguments": arguments}}])

    pieces = [piece("a", "one", "{"), piece(None, None, "}"), piece("b", "two", "{}")]
    service.answers = [stream(*pieces, chunk(finish="tool_calls"), DONE)]
    calls = (await reply(model, "astream")).tool_calls or []
    assert [(c.id, c.function.name, c.function.arguments) for c in calls] == [("a", "one", "{}"), ("b", "two", "{}")]


@pytest.mark.parametrize("face", FACES)
async def test_no_content_is_no_error(model: OpenAIModel, service: Service, face: str) -> None:
    service.answers = [stream(chunk(finish="stop"), DONE) if "stream" in face else completion(None)]
    assert not (await reply(model, face)).content


@pytest.mark.parametrize("face", FACES)
async def test_stops_are_obeyed_where_the_service_ignores_them(model: OpenAIModel, service: Service, face: str) -> None:
    service.answers = [answer(face, "a = 1</code> and more")]
    assert (await reply(model, face, stop_sequences=["</code>"])).content == "a = 1"
    assert service.requests[0]["stop"] == ["</code>"]


async def test_stops_are_not_sent_to_models_that_refuse_them(service: Service) -> None:
    with OpenAIModel("o4-mini", service.url, "key") as model:
        service.answers = [completion("a STOP b")]
        assert model.generate(ASK, stop_sequences=["STOP"]).content == "a "
    assert "stop" not in service.requests[0]


@pytest.mark.parametrize("face", FACES)
async def test_slow_bytes_run_into_the_deadline(service: Service, face: str) -> None:
    slow = [chunk(content="x")] * 500
    service.answers = [stream(*slow, pause=0.02) if "stream" in face else trickled]
    with OpenAIModel("m", service.url, "key", retry=False, timeout=0.3) as model:
        with pytest.raises(ModelRequestError, match=r"did not answer within 0\.3 s"):
            await reply(model, face)
        await model.aclose()


@pytest.mark.parametrize("face", FACES)
async def test_a_service_that_is_not_there(face: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        refused = pytest.raises(ModelRequestError, match=f"The connection to m at {url} failed: .*refused")
        with OpenAIModel("m", url, "key", retry=QUICK) as model, refused:
            await reply(model, face)


async def test_leaving_a_stream_early_is_no_error(model: OpenAIModel, service: Service) -> None:
    service.answers = [stream(*[chunk(content="x")] * 100, pause=0.01)] * 2
    pieces = model.generate_stream(ASK)
    assert next(pieces).content == "x"
    pieces.close()
    awaited = model.astream(ASK)
    assert (await anext(awaited)).content == "x"
    await awaited.aclose()


async def test_cancelling_ends_the_request(model: OpenAIModel, service: Service) -> None:
    service.answers = [trickled]
    task = asyncio.create_task(model.agenerate(ASK))
    await asyncio.to_thread(service.asked.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_one_model_in_several_event_loops(model: OpenAIModel, service: Service) -> None:
    service.answers = [completion(str(n)) for n in range(3)]
    assert [asyncio.run(model.agenerate(ASK)).content for _ in range(3)] == ["0", "1", "2"]


def test_a_model_after_a_fork(model: OpenAIModel, service: Service) -> None:
    service.answers = [completion("parent"), completion("child"), completion("parent again")]
    assert model.generate(ASK).content == "parent"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if model.generate(ASK).content == "child" else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert model.generate(ASK).content == "parent again"


def test_the_switch_forbids_requests(model: OpenAIModel, service: Service) -> None:
    with forbid_real_requests(), pytest.raises(AgentGenerationError, match="real requests are forbidden"):
        model.generate(ASK)
    assert service.requests == []


def test_without_a_key_the_message_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(AgentGenerationError, match="OPENAI_API_KEY"):
        OpenAIServerModel("gpt-x").generate(ASK)


def test_a_client_of_ones_own(service: Service) -> None:
    import openai

    service.answers = [completion("given"), stream(chunk(content="given"), chunk(finish="stop"), DONE)]
    with openai.OpenAI(base_url=service.url, api_key="mine") as client:
        model = OpenAIModel("m", client=client)
        assert model.generate(ASK).content == "given"
        assert asyncio.run(reply(model, "astream")).content == "given"
    assert service.headers[0]["authorization"] == "Bearer mine"


def test_without_the_sdk_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r"pip install 'actloop\[openai\]'"):
        OpenAIModel("m", "http://127.0.0.1:1/v1", "key").generate(ASK)


def test_settings_survive_a_round_trip_without_the_key() -> None:
    data = OpenAIModel("m", "http://127.0.0.1:1/v1", "secret", temperature=0.2).to_dict()
    assert "secret" not in repr(data)
    assert OpenAIModel.from_dict(data).to_dict() == data
