"""What every model behind a service must do, whichever service it is; each one's tests run all of it."""

import asyncio
import itertools
import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from actloop.errors import AgentGenerationError
from actloop.models.api import ServiceModel
from actloop.models.retry import ModelRequestError, RetryPolicy
from actloop.models.switch import forbid_real_requests
from actloop.values.messages import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    StreamedReply,
)
from actloop.values.usage import TokenUsage

from .conftest import Answer, Service, dropped, status, trickled

ASK = [ChatMessage(MessageRole.USER, "how many?")]
QUICK = RetryPolicy(attempts=3, first_wait=0.001, jitter=0.0)
FACES = ["generate", "agenerate", "generate_stream", "astream"]
STREAMS = ["generate_stream", "astream"]
KEY = "sk-a-secret-of-the-user"


@dataclass
class Said:
    """What a service is to answer."""

    content: str = "hello"
    usage: tuple[int, int] | None = (3, 2)
    thoughts: str | None = None
    calls: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])


class AddTool:
    name = "add"
    description = "Adds."
    inputs = {"x": {"type": "integer", "description": "a number"}}
    output_type = "integer"


class PingTool:
    name = "ping"
    description = "Pings."
    inputs: dict[str, Any] = {}
    output_type = "string"


TOOLS: Any = [AddTool(), PingTool()]


async def reply(
    model: ServiceModel, face: str, messages: Sequence[ChatMessage | dict[str, Any]] = ASK, **options: Any
) -> ChatMessage:
    """The reply by one of the four faces of a model."""
    whole = StreamedReply()
    match face:
        case "generate":
            return await asyncio.to_thread(model.generate, messages, **options)
        case "agenerate":
            return await model.agenerate(messages, **options)
        case "generate_stream":
            for delta in await asyncio.to_thread(lambda: list(model.generate_stream(messages, **options))):
                whole.add(delta)
        case _:
            async for delta in model.astream(messages, **options):
                whole.add(delta)
    return whole.message()


def asked(*calls: tuple[str, str, Any], content: str | None = None, **more: Any) -> ChatMessage:
    """A model's turn with calls."""
    made = [ChatMessageToolCall(ChatMessageToolCallFunction(args, name), id_) for id_, name, args in calls]
    return ChatMessage(MessageRole.ASSISTANT, content, tool_calls=made, **more)


def result(identity: str, text: str) -> ChatMessage:
    return ChatMessage(MessageRole.TOOL_RESPONSE, text, tool_call_id=identity)


def said(role: MessageRole, text: str) -> ChatMessage:
    return ChatMessage(role, [{"type": "text", "text": text}])


def steps(count: int, *, native: bool) -> list[list[ChatMessage]]:
    """The conversations that an agent sends, one for each step of a run."""
    talk = [said(MessageRole.SYSTEM, "You add."), said(MessageRole.USER, "Add up.")]
    sent = [list(talk)]
    for number in range(count):
        if native:
            calls: list[tuple[str, str, Any]] = [(f"a{number}", "add", {"x": number}), (f"b{number}", "ping", {})]
            talk += [asked(*calls, content=f"step {number}"), result(f"a{number}", "1"), result(f"b{number}", "pong")]
        else:
            talk += [said(MessageRole.ASSISTANT, f"step {number}"), said(MessageRole.TOOL_RESPONSE, f"saw {number}")]
        sent.append(list(talk))
    return sent


def sent_messages(body: bytes) -> str:
    """The messages of a request, as the very text that was sent."""
    text = body.decode()
    start = text.index("[", text.index('"messages"'))
    _, end = json.JSONDecoder().raw_decode(text, start)
    return text[start:end]


class ServiceContract:
    """The tests. A subclass says how its service is spoken to, and what its answers look like."""

    def make(self, service: Service, **options: Any) -> ServiceModel:
        raise NotImplementedError

    def at(self, url: str, **options: Any) -> ServiceModel:
        """A model at another address."""
        raise NotImplementedError

    def whole(self, said: Said) -> Answer:
        raise NotImplementedError

    def pieces(self, said: Said) -> list[str | bytes]:
        raise NotImplementedError

    def stream(self, *events: str | bytes, cut: bool = False, pause: float = 0.0) -> Answer:
        raise NotImplementedError

    def stops_sent(self, request: dict[str, Any]) -> Any:
        raise NotImplementedError

    def refusal(self, code: int, message: str) -> Answer:
        return status(code, {"error": {"message": message}})

    @pytest.fixture
    def model(self, service: Service) -> Iterator[ServiceModel]:
        with self.make(service) as model:
            yield model

    def answer(self, face: str, said: Said | None = None) -> Answer:
        """A good answer, streamed where the face asks for a stream."""
        said = said or Said()
        return self.stream(*self.pieces(said)) if "stream" in face else self.whole(said)

    @pytest.mark.parametrize("face", FACES)
    async def test_a_reply(self, model: ServiceModel, service: Service, face: str) -> None:
        service.answers = [self.answer(face)]
        message = await reply(model, face)
        assert (message.role, message.content, message.token_usage) == ("assistant", "hello", TokenUsage(3, 2))

    @pytest.mark.parametrize("face", FACES)
    async def test_missing_usage_is_none(self, model: ServiceModel, service: Service, face: str) -> None:
        service.answers = [self.answer(face, Said(usage=None))]
        message = await reply(model, face)
        assert (message.content, message.token_usage) == ("hello", None)

    @pytest.mark.parametrize("face", FACES)
    @pytest.mark.parametrize("failure", [500, 503, 429, 0])
    async def test_what_may_pass_is_tried_again(
        self, model: ServiceModel, service: Service, face: str, failure: int
    ) -> None:
        failing = self.refusal(failure, "busy") if failure else dropped
        service.answers = [failing, failing, self.answer(face)]
        assert (await reply(model, face)).content == "hello"
        assert len(service.requests) == 3, "one layer of retries: the SDK's own are off"

    @pytest.mark.parametrize("face", FACES)
    @pytest.mark.parametrize("code", [400, 401, 403, 404])
    async def test_what_cannot_succeed_is_told_and_not_tried_again(
        self, model: ServiceModel, service: Service, face: str, code: int
    ) -> None:
        service.answers = [self.refusal(code, "you may not"), self.answer(face)]
        with pytest.raises(ModelRequestError, match=rf"(?s)m at .* answered {code}: .*you may not") as caught:
            await reply(model, face)
        assert (caught.value.status, len(service.requests)) == (code, 1)

    async def test_the_services_wish_to_wait_is_honoured_up_to_a_bound(self, service: Service) -> None:
        retry = RetryPolicy(attempts=2, first_wait=9, jitter=0, patience=5)
        with self.make(service, retry=retry) as model:
            service.answers = [status(429, Retry_After="0"), self.answer("generate")]
            assert (await reply(model, "generate")).content == "hello"
            service.answers = [status(429, Retry_After="3600"), self.answer("generate")]
            with pytest.raises(ModelRequestError, match="asks to wait 3600 s, longer than the 5 s"):
                await reply(model, "generate")

    @pytest.mark.parametrize("face", ["generate", "agenerate"])
    @pytest.mark.parametrize("body", ['{"content": [', "<html>gateway</html>", "{}", "[1]", "null"])
    async def test_a_broken_answer_is_tried_again_and_then_told(
        self, model: ServiceModel, service: Service, face: str, body: str
    ) -> None:
        service.answers = [status(200, body), self.answer(face)]
        assert (await reply(model, face)).content == "hello"
        service.answers = [status(200, body)] * 3
        with pytest.raises(ModelRequestError, match=self.broken):
            await reply(model, face)

    broken = "gave a broken answer"

    @pytest.mark.parametrize("face", STREAMS)
    @pytest.mark.parametrize("cut", [True, False])
    async def test_a_stream_that_breaks_off_is_an_error(
        self, model: ServiceModel, service: Service, face: str, cut: bool
    ) -> None:
        begun = self.pieces(Said("hello", usage=None))[: self.first_words]
        service.answers = [self.stream(*begun, cut=cut), self.answer(face)]
        with pytest.raises(ModelRequestError):
            await reply(model, face)
        assert len(service.requests) == 1, "what was handed out cannot be taken back, so nothing is sent again"

    first_words = 3
    """How many of the pieces it takes until text has come."""

    @pytest.mark.parametrize("face", STREAMS)
    @pytest.mark.parametrize("cut", [True, False])
    async def test_a_stream_that_fails_before_its_first_piece_is_tried_again(
        self, model: ServiceModel, service: Service, face: str, cut: bool
    ) -> None:
        service.answers = [self.stream(cut=cut), self.answer(face)]
        assert (await reply(model, face)).content == "hello"

    @pytest.mark.parametrize("face", FACES)
    async def test_tool_calls_in_parallel(self, model: ServiceModel, service: Service, face: str) -> None:
        calls = [("c1", "add", '{"x": 1}'), ("c2", "ping", "{}")]
        service.answers = [self.answer(face, Said("so", calls=calls))]
        message = model.parse_tool_calls(await reply(model, face, tools_to_call_from=TOOLS))
        found = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
        assert found == [("c1", "add", {"x": 1}), ("c2", "ping", {})]
        assert message.content == "so"

    @pytest.mark.parametrize("face", FACES)
    async def test_reasoning_is_kept_apart(self, model: ServiceModel, service: Service, face: str) -> None:
        service.answers = [self.answer(face, Said("4", thoughts="I think"))]
        message = await reply(model, face)
        assert (message.content, message.reasoning_content) == ("4", "I think")

    @pytest.mark.parametrize("face", FACES)
    async def test_stops_are_sent_and_obeyed_where_the_service_ignores_them(
        self, model: ServiceModel, service: Service, face: str
    ) -> None:
        service.answers = [self.answer(face, Said("a = 1</code> and more"))]
        assert (await reply(model, face, stop_sequences=["</code>"])).content == "a = 1"
        assert self.stops_sent(service.requests[0]) == ["</code>"]

    @pytest.mark.parametrize("face", FACES)
    async def test_no_content_is_no_error(self, model: ServiceModel, service: Service, face: str) -> None:
        service.answers = [self.answer(face, Said(""))]
        assert not (await reply(model, face)).content

    @pytest.mark.parametrize("face", FACES)
    async def test_slow_bytes_run_into_the_deadline(self, service: Service, face: str) -> None:
        if face not in self.bounded:
            pytest.skip("the SDK bounds only the wait for each part")
        slow = self.pieces(Said("x" * 400, usage=None))
        service.answers = [self.stream(*slow, pause=0.02) if "stream" in face else trickled]
        with self.make(service, retry=False, timeout=0.3) as model:
            with pytest.raises(ModelRequestError, match=r"did not answer within 0\.3 s"):
                await reply(model, face)
            await model.aclose()

    bounded = FACES
    """Faces whose whole reply the time-out bounds, not only each wait for a part of it."""

    @pytest.mark.parametrize("face", FACES)
    async def test_a_service_that_is_not_there(self, face: str) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            refused = pytest.raises(ModelRequestError, match=self.lost)
            with self.at(url, retry=QUICK) as model, refused:
                await reply(model, face)

    lost = r"The connection to m at http://127.0.0.1:\d+\S* failed: .*refused"

    async def test_leaving_a_stream_early_is_no_error(self, model: ServiceModel, service: Service) -> None:
        service.answers = [self.stream(*self.pieces(Said("x" * 100)), pause=0.01)] * 2
        pieces = model.generate_stream(ASK)
        assert next(pieces).content == "x"
        pieces.close()
        awaited = model.astream(ASK)
        assert (await anext(awaited)).content == "x"
        await awaited.aclose()

    async def test_cancelling_returns_at_once(self, model: ServiceModel, service: Service) -> None:
        service.answers = [trickled]
        task = asyncio.create_task(model.agenerate(ASK))
        await asyncio.to_thread(service.asked.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def test_one_model_in_several_event_loops(self, model: ServiceModel, service: Service) -> None:
        service.answers = [self.whole(Said(str(n))) for n in range(3)]
        assert [asyncio.run(model.agenerate(ASK)).content for _ in range(3)] == ["0", "1", "2"]

    def test_one_model_in_many_threads(self, model: ServiceModel, service: Service) -> None:
        service.answers = [self.whole(Said()) for _ in range(20)]
        heard: list[str | None] = []

        def ask() -> None:
            heard.append(model.generate(ASK).content)  # pyright: ignore[reportArgumentType]

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert heard == ["hello"] * 20

    def test_a_model_after_a_fork(self, model: ServiceModel, service: Service) -> None:
        service.answers = [self.whole(Said(word)) for word in ("parent", "child", "parent again")]
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

    @pytest.mark.parametrize("face", FACES)
    async def test_the_switch_forbids_requests(self, model: ServiceModel, service: Service, face: str) -> None:
        with forbid_real_requests(), pytest.raises(AgentGenerationError, match="real requests are forbidden"):
            await reply(model, face)
        assert service.requests == []

    @pytest.mark.parametrize("face", FACES)
    async def test_keys_are_shown_nowhere(self, model: ServiceModel, service: Service, face: str) -> None:
        assert KEY not in repr(model)
        assert KEY not in json.dumps(model.to_dict())
        service.answers = [self.refusal(401, f"the key {KEY} is wrong")]
        with pytest.raises(ModelRequestError, match=r"the key \*\*\* is wrong") as caught:
            await reply(model, face)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    def test_settings_survive_a_round_trip_without_the_key(self, service: Service) -> None:
        options: dict[str, Any] = {"temperature": 0.2, "requests_per_minute": 600.0, "native_tool_calls": False}
        with self.make(service, context_window=9000, **options) as model:
            data = json.loads(json.dumps(model.to_dict()))
        again = type(model).from_dict(data)
        assert again.to_dict() == model.to_dict()
        assert (again.kwargs, again.native_tool_calls) == ({"temperature": 0.2}, False)

    @pytest.mark.parametrize("native", [True, False])
    async def test_each_step_sends_the_former_steps_bytes_again(
        self, model: ServiceModel, service: Service, native: bool
    ) -> None:
        tools = TOOLS if native else None
        for messages in steps(4, native=native):
            service.answers.append(self.whole(Said()))
            await reply(model, "generate", messages, tools_to_call_from=tools)
        sent = [sent_messages(body).removesuffix("]") for body in service.bodies]
        assert len(sent) == 5
        for before, after in itertools.pairwise(sent):
            assert after.startswith(before)
            assert len(after) > len(before)
        rest = [{**request, "messages": None} for request in service.requests]
        assert all(other == rest[0] for other in rest)
