"""The contract of a service that speaks OpenAI's chat completions, and tests of the messages that are sent to one."""

from typing import Any

import pytest

from actloop.models.base import REMOVE_PARAMETER
from actloop.models.retry import ModelRequestError
from actloop.values.messages import ChatMessage, MessageRole

from .conftest import DONE, Answer, Service, chunk, completion, status, stream
from .contract import ASK, STREAMS, TOOLS, Said, ServiceContract, asked, reply, result, said


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


class CompletionsContract(ServiceContract):
    """What a model must do whose service speaks OpenAI's chat completions."""

    def whole(self, said: Said) -> Answer:
        calls = [
            {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}
            for identity, name, arguments in said.calls
        ]
        more: dict[str, Any] = {"tool_calls": calls} if calls else {}
        if said.thoughts:
            more["reasoning_content"] = said.thoughts
        return completion(said.content or None, usage=said.usage, **more)

    def pieces(self, said: Said) -> list[str | bytes]:
        pieces = [chunk(role="assistant")]
        pieces += [chunk(reasoning_content=letter) for letter in said.thoughts or ""]
        pieces += [chunk(content=letter) for letter in said.content]
        for index, (identity, name, arguments) in enumerate(said.calls):
            first = {"index": index, "id": identity, "type": "function", "function": {"name": name, "arguments": ""}}
            rest: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
            pieces += [chunk(tool_calls=[first]), chunk(tool_calls=[rest])]
        pieces.append(chunk(finish="tool_calls" if said.calls else "stop"))
        if said.usage:
            pieces.append(chunk(usage=said.usage))
        return [*pieces, DONE]

    def stream(self, *events: str | bytes, cut: bool = False, pause: float = 0.0) -> Answer:
        return stream(*events, cut=cut, pause=pause)

    def stops_sent(self, request: dict[str, Any]) -> Any:
        return request["stop"]

    def body_of(self, service: Service, messages: Any = ASK, **options: Any) -> dict[str, Any]:
        """What is sent for a conversation."""
        service.answers = [completion()]
        with self.make(service) as model:
            model.generate(messages, **options)
        return service.requests[-1]

    def test_calls_and_their_results_by_id(self, service: Service) -> None:
        picture = ChatMessage(MessageRole.USER, [{"type": "image", "image": "https://example.org/a.png"}])
        messages = [
            said(MessageRole.USER, "add"),
            asked(("c1", "add", {"x": 1}), ("c2", "ping", {})),
            result("c2", ""),
            picture,
            result("c1", "1"),
            result("unknown", "an answer without its call"),
            asked(("c3", "ping", {}), content="again"),
            said(MessageRole.USER, "go on"),
        ]
        sent = self.body_of(service, messages, tools_to_call_from=TOOLS)

        def call(identity: str, name: str, arguments: str) -> dict[str, Any]:
            return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}

        calls = [call("c1", "add", '{"x": 1}'), call("c2", "ping", "{}")]
        assert [self.cleaned(message) for message in sent["messages"]] == [
            {"role": "user", "content": [text("add")]},
            {"role": "assistant", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": [text("1")]},
            {"role": "tool", "tool_call_id": "c2", "content": [text("")]},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                    text("an answer without its call"),
                ],
            },
            {"role": "assistant", "content": [text("again")], "tool_calls": [call("c3", "ping", "{}")]},
            {"role": "tool", "tool_call_id": "c3", "content": [text("(no result was kept)")]},
            {"role": "user", "content": [text("go on")]},
        ]
        assert sent["tool_choice"] == "required"
        assert [tool["function"]["name"] for tool in sent["tools"]] == ["add", "ping"]

    def cleaned(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message without the fields that are null."""
        return {name: value for name, value in message.items() if value is not None}

    def test_without_native_calls_they_are_told_in_words(self, service: Service) -> None:
        service.answers = [completion()]
        messages = [said(MessageRole.USER, "add"), asked(("c1", "add", {"x": 1})), result("c1", "1")]
        with self.make(service, native_tool_calls=False) as model:
            model.generate(messages)
        assert [message["role"] for message in service.requests[0]["messages"]] == ["user", "assistant", "user"]
        assert '"name": "add"' in service.requests[0]["messages"][1]["content"][0]["text"]

    def test_parameters_pass_through_and_can_be_removed(self, service: Service) -> None:
        service.answers = [completion()]
        options: dict[str, Any] = {"max_completion_tokens": 10, "temperature": REMOVE_PARAMETER}
        with self.make(service, **options) as model:
            model.generate(ASK, temperature=0.5, tools_to_call_from=TOOLS, tool_choice="auto", seed=1)
        sent = service.requests[0]
        assert (sent["max_completion_tokens"], sent["tool_choice"], sent["seed"]) == (10, "auto", 1)
        assert "temperature" not in sent
        assert "max_tokens" not in sent

    def test_roles_may_be_converted(self, service: Service) -> None:
        service.answers = [completion()]
        with self.make(service, custom_role_conversions={"system": "user"}) as model:
            model.generate([said(MessageRole.SYSTEM, "a"), said(MessageRole.USER, "b")])
        assert service.requests[0]["messages"] == [{"role": "user", "content": [text("a\nb")]}]

    @pytest.mark.parametrize("face", STREAMS)
    async def test_usage_is_asked_for_in_a_stream(self, service: Service, face: str) -> None:
        service.answers = [self.answer(face)]
        with self.make(service) as model:
            await reply(model, face)
            await model.aclose()
        assert service.requests[0]["stream_options"] == {"include_usage": True}

    def test_an_answer_without_choices_is_told(self, service: Service) -> None:
        service.answers = [completion() for _ in range(3)]
        with self.make(service, retry=False) as model:
            assert model.generate(ASK).content == "hello"
            service.answers = [self.nothing()]
            with pytest.raises(ModelRequestError, match="holds no choices"):
                model.generate(ASK)

    def nothing(self) -> Answer:
        body: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
        return status(200, body)
