"""The scripted model: what it replies, counts, remembers and complains about."""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from actloop.errors import AgentGenerationError
from actloop.models.scripted import ScriptedModel, allow_real_requests, forbid_real_requests
from actloop.models.switch import check_real_requests
from actloop.values.messages import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    StreamedReply,
)
from actloop.values.usage import TokenUsage

ASK = [ChatMessage(MessageRole.USER, "how many?")]


def test_replies_come_in_order_and_requests_are_kept() -> None:
    model = ScriptedModel(["one", ChatMessage(MessageRole.ASSISTANT, "two"), lambda messages: f"{len(messages)} asked"])
    assert [model.generate(ASK).content for _ in range(3)] == ["one", "two", "1 asked"]
    assert [request.messages for request in model.requests] == [ASK] * 3
    model.check_exhausted()


def test_a_function_answers_every_request() -> None:
    model = ScriptedModel(lambda messages: messages[-1].text.upper())
    assert model(ASK).content == model(ASK).content == "HOW MANY?"


def test_exceptions_of_the_script_are_raised() -> None:
    model = ScriptedModel([ConnectionError("gone"), "back"])
    with pytest.raises(ConnectionError, match="gone"):
        model.generate(ASK)
    assert model.generate(ASK).content == "back"


def test_running_out_of_replies_says_how_many_there_were() -> None:
    model = ScriptedModel(["only"])
    model.generate(ASK)
    with pytest.raises(AgentGenerationError, match="has 1 replies, but was asked for reply 2"):
        model.generate(ASK)


def test_replies_left_over_are_a_failure_of_the_test() -> None:
    with pytest.raises(AssertionError, match=r"1 of 2 .* 'never asked'"), ScriptedModel(["asked", "never asked"]) as m:
        m.generate(ASK)


def test_an_error_inside_the_block_is_not_hidden_by_replies_left_over() -> None:
    with pytest.raises(KeyError), ScriptedModel(["never asked"]):
        raise KeyError


def test_tokens_follow_the_rule() -> None:
    usage = ScriptedModel(["12345"]).generate(ASK).token_usage
    assert usage == TokenUsage(input_tokens=4 + 3, output_tokens=2)


def test_a_growing_conversation_is_counted_like_a_new_one() -> None:
    conversation = [ChatMessage(MessageRole.USER, "x" * n) for n in range(1, 30)]
    growing = ScriptedModel(lambda _: "ok")
    for length in (3, 7, 7, 29, 2, 12):
        fresh = ScriptedModel(lambda _: "ok").generate(conversation[:length])
        assert growing.generate(conversation[:length]).token_usage == fresh.token_usage


def test_the_reply_ends_at_a_stop_sequence_unless_told_otherwise() -> None:
    assert ScriptedModel(["a STOP b"]).generate(ASK, stop_sequences=["STOP"]).content == "a "
    assert ScriptedModel(["a STOP b"], obey_stops=False).generate(ASK, stop_sequences=["STOP"]).content == "a STOP b"


def test_a_stream_adds_up_to_the_whole_reply() -> None:
    call = ChatMessageToolCall(ChatMessageToolCallFunction('{"x": 1}', "add"), id="c1")
    scripted = ChatMessage(MessageRole.ASSISTANT, "  two words\n ", tool_calls=[call], reasoning_content="hm")
    whole = ScriptedModel([scripted]).generate(ASK)
    reply = StreamedReply()
    deltas = list(ScriptedModel([scripted]).generate_stream(ASK))
    for delta in deltas:
        reply.add(delta)
    assert reply.message() == whole
    assert len([delta for delta in deltas if delta.content]) > 1


async def test_the_awaited_faces_reply_alike() -> None:
    model = ScriptedModel(["a b", "a b"], delay=0.01)
    assert (await model.agenerate(ASK)).content == "a b"
    assert "".join([delta.content or "" async for delta in model.astream(ASK)]) == "a b"


async def test_waiting_replies_do_not_hold_each_other_up() -> None:
    model = ScriptedModel(lambda _: "ok", delay=0.05)
    replies = await asyncio.gather(*(model.agenerate(ASK) for _ in range(500)))
    assert len(replies) == len(model.requests) == 500


def test_threads_get_each_reply_once() -> None:
    model = ScriptedModel([str(n) for n in range(400)])
    with ThreadPoolExecutor(16) as pool:
        replies = [reply.text for reply in pool.map(model.generate, [ASK] * 400)]
    assert sorted(replies, key=int) == [str(n) for n in range(400)]


def test_a_single_text_is_refused_as_a_script() -> None:
    with pytest.raises(TypeError, match="list of replies"):
        ScriptedModel("a text")


def test_the_switch_forbids_and_restores() -> None:
    with allow_real_requests():
        with forbid_real_requests(), pytest.raises(AgentGenerationError, match="gpt-x was refused"):
            check_real_requests("gpt-x")
        check_real_requests("gpt-x")


def test_the_environment_variable_forbids_too() -> None:
    program = "from actloop.models.switch import check_real_requests; check_real_requests('gpt-x')"
    environment = os.environ | {"ACTLOOP_FORBID_REAL_REQUESTS": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ACTLOOP_FORBID_REAL_REQUESTS" in done.stderr
