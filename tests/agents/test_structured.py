"""A code agent whose model replies in JSON with a thought and a program."""

from __future__ import annotations

import json

from actloop import ChatMessage, CodeAgent, LogLevel, ScriptedModel
from actloop.models.base import CODEAGENT_RESPONSE_FORMAT


def reply(code: str) -> str:
    return json.dumps({"thought": "so", "code": code})


def run(replies: list[str | ChatMessage]) -> tuple[object, ScriptedModel]:
    model = ScriptedModel(replies)
    with CodeAgent(
        [], model, use_structured_outputs_internally=True, verbosity_level=LogLevel.OFF, journal=None
    ) as agent:
        return agent.run("double it", additional_args={"number": 21}), model


def test_replies_in_json_are_asked_for_and_run() -> None:
    answer, model = run([reply("twice = number * 2\nprint(twice)"), reply("final_answer(twice)")])
    assert answer == 42
    assert all(request.response_format == CODEAGENT_RESPONSE_FORMAT for request in model.requests)
    system = model.requests[0].messages[0].text
    assert '{"thought"' in system
    assert "<code>" not in "".join(message.text for message in model.requests[1].messages)
    assert model.requests[1].messages[-1].text == "Observation:\n42"


def test_what_cannot_be_read_is_answered_with_the_form_in_json() -> None:
    answer, model = run(["It is 42.", reply("final_answer(42)")])
    assert answer == 42
    told = model.requests[1].messages[-1].text
    assert '{"thought"' in told
    assert "<code>" not in told


def test_the_closing_question_asks_for_no_program() -> None:
    model = ScriptedModel(["42"])
    with CodeAgent(
        [], model, use_structured_outputs_internally=True, max_steps=0, verbosity_level=LogLevel.OFF, journal=None
    ) as agent:
        assert agent.run("x") == "42"
    assert model.requests[0].response_format is None


def test_a_reply_in_json_is_not_ended_by_the_closing_tag() -> None:
    model = ScriptedModel(['{"thought": "It is known.", "code": "final_answer(7)"}'])
    with CodeAgent([], model, use_structured_outputs_internally=True, verbosity_level=LogLevel.OFF) as agent:
        assert agent.run("go") == 7
    assert model.requests[0].stop_sequences == ["Observation:"]
