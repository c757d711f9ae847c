"""Several models as one."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actloop import AgentGenerationError, ChatMessage, CodeAgent, LogLevel, Model, ScriptedModel
from actloop.errors import AgentInterruptedError
from actloop.models.fallback import FallbackModel
from actloop.models.openai import OpenAIModel
from actloop.models.retry import ModelRequestError

from .conftest import Service, chunk, completion, status, stream

if TYPE_CHECKING:
    from collections.abc import Callable

ASK: list[ChatMessage | dict[str, Any]] = [{"role": "user", "content": "hello"}]
DOWN = ModelRequestError("the service is down")


def whole(model: Model) -> str:
    return model.generate(ASK).text


def streamed(model: Model) -> str:
    return "".join(delta.content or "" for delta in model.generate_stream(ASK))


def awaited(model: Model) -> str:
    async def ask() -> str:
        return (await model.agenerate(ASK)).text

    return asyncio.run(ask())


def awaited_stream(model: Model) -> str:
    async def ask() -> str:
        return "".join([delta.content or "" async for delta in model.astream(ASK)])

    return asyncio.run(ask())


FACES = pytest.mark.parametrize("face", [whole, streamed, awaited, awaited_stream])


@FACES
def test_the_next_model_answers_where_one_fails(face: Callable[[Model], str]) -> None:
    model = FallbackModel([ScriptedModel([DOWN]), ScriptedModel([RuntimeError("broken")]), ScriptedModel(["third"])])
    assert face(model) == "third"


@FACES
def test_the_first_model_is_asked_alone_while_it_answers(face: Callable[[Model], str]) -> None:
    first, second = ScriptedModel(["one"]), ScriptedModel(["two"])
    assert face(FallbackModel([first, second])) == "one"
    assert not second.requests


@FACES
def test_where_all_fail_the_error_holds_what_each_said(face: Callable[[Model], str]) -> None:
    failing = [ScriptedModel([DOWN], model_id="a"), ScriptedModel([ValueError("no such key")], model_id="b")]
    with pytest.raises(AgentGenerationError, match=r"(?s)a: the service is down.*b: no such key"):
        face(FallbackModel(failing))


def test_a_model_that_failed_is_left_alone_for_a_while() -> None:
    first, second = ScriptedModel([DOWN, "back"]), ScriptedModel(["two", "again"])
    model = FallbackModel([first, second], pause=3600)
    assert [whole(model), whole(model)] == ["two", "again"]
    assert len(first.requests) == 1
    assert whole(FallbackModel([first, ScriptedModel([])], pause=0)) == "back"


def test_where_all_are_left_alone_all_are_tried() -> None:
    model = FallbackModel([ScriptedModel([DOWN, "one"]), ScriptedModel([DOWN])], pause=3600)
    with pytest.raises(AgentGenerationError):
        whole(model)
    assert whole(model) == "one"


def test_a_reply_that_breaks_off_after_its_first_piece_is_not_begun_again(service: Service) -> None:
    service.answers.append(stream(chunk(content="half a "), cut=True))
    second = ScriptedModel(["another"])
    model = FallbackModel([OpenAIModel("m", service.url, "k", retry=False), second])
    pieces = model.generate_stream(ASK)
    assert next(pieces).content == "half a "
    with pytest.raises(ModelRequestError):
        list(pieces)
    assert not second.requests


def test_over_the_wire_after_the_models_own_retries(service: Service) -> None:
    service.answers += [status(500), completion("late")]
    assert (
        whole(FallbackModel([OpenAIModel("m", service.url, "k", retry=False), OpenAIModel("n", service.url, "k")]))
        == "late"
    )
    assert [request["model"] for request in service.requests] == ["m", "n"]


def test_failures_are_told() -> None:
    told: list[tuple[Model, Exception]] = []

    def note(model: Model, error: Exception) -> None:
        told.append((model, error))

    first = ScriptedModel([DOWN])
    whole(FallbackModel([first, ScriptedModel(["two"])], on_failure=note))
    assert told == [(first, DOWN)]


def test_an_interrupt_is_no_failure() -> None:
    second = ScriptedModel(["two"])
    with pytest.raises(AgentInterruptedError):
        whole(FallbackModel([ScriptedModel([AgentInterruptedError("stop")]), second]))
    assert not second.requests


def test_an_agent_goes_on_with_the_next_model() -> None:
    program = "Thought: I do it.\n<code>\n{}\n</code>"
    first = ScriptedModel([program.format("x = 6"), DOWN])
    second = ScriptedModel([program.format("final_answer(x * 7)")])
    with CodeAgent([], FallbackModel([first, second]), verbosity_level=LogLevel.OFF, journal=None) as agent:
        assert agent.run("compute") == 42


def test_many_threads_share_it() -> None:
    def down(messages: list[ChatMessage]) -> Exception:
        return DOWN

    def up(messages: list[ChatMessage]) -> str:
        return "two"

    model = FallbackModel([ScriptedModel(down), ScriptedModel(up)], pause=0)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(whole(model))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["two"] * 20


def test_what_it_can_is_what_all_can() -> None:
    model = FallbackModel([OpenAIModel("m"), ScriptedModel([])])
    assert not model.native_tool_calls
    assert not model.supports_grammar
    assert FallbackModel([OpenAIModel("m"), OpenAIModel("n")]).native_tool_calls


def test_saved_and_loaded() -> None:
    model = FallbackModel([OpenAIModel("m", "http://localhost:1/v1", "secret"), OpenAIModel("n")], pause=5)
    data = model.to_dict()
    assert "secret" not in str(data)
    again = FallbackModel.from_dict(data)
    assert [one.model_id for one in again.models] == ["m", "n"]
    assert again.pause == 5
    with pytest.raises(ValueError, match="no model class 'system'"):
        FallbackModel.from_dict({"models": [{"class": "system", "data": {}}]})


@pytest.mark.parametrize("wrong", [[], None, "gpt", ["gpt"], ScriptedModel([])])
def test_what_is_no_list_of_models_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="one or more models"):
        FallbackModel(wrong)
