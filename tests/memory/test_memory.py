"""Messages are appended, edits are seen, and nothing of a step is stored twice."""

from __future__ import annotations

import pytest

from actloop.errors import AgentParsingError
from actloop.memory.callbacks import CallbackRegistry
from actloop.memory.memory import AgentMemory
from actloop.memory.steps import ActionStep, FinalAnswerStep, MemoryStep, PlanningStep, SystemPromptStep, TaskStep
from actloop.values.messages import ChatMessage, MessageRole
from actloop.values.usage import Timing


def step(number: int, output: str = "I act", observations: str | None = "it worked") -> ActionStep:
    return ActionStep(number, Timing(0.0), model_output=output, observations=observations)


def texts(memory: AgentMemory) -> list[str]:
    return [message.text for message in memory.messages()]


def test_messages_of_earlier_steps_are_reused() -> None:
    memory = AgentMemory("system")
    memory.append(TaskStep("task"))
    memory.append(step(1))
    first = memory.messages()
    memory.append(step(2))
    second = memory.messages()
    assert all(a is b for a, b in zip(first, second, strict=False))
    assert len(second) == len(first) + 2


def test_a_list_once_given_does_not_change() -> None:
    memory = AgentMemory("system")
    given = memory.messages()
    memory.append(step(1))
    memory.messages()
    assert len(given) == 1


@pytest.mark.parametrize("attribute", ["observations", "model_output"])
def test_an_edited_step_is_written_anew(attribute: str) -> None:
    memory = AgentMemory("system")
    memory.append(step(1))
    memory.append(step(2))
    memory.messages()
    setattr(memory.steps[0], attribute, "edited")
    assert any("edited" in text for text in texts(memory))


def test_removing_and_replacing_steps_is_seen() -> None:
    memory = AgentMemory("system")
    for number in (1, 2, 3):
        memory.append(step(number, output=f"act {number}"))
    memory.messages()
    del memory.steps[0]
    memory.steps[1] = step(9, output="act 9")
    assert [text for text in texts(memory) if text.startswith("act")] == ["act 2", "act 9"]
    memory.reset()
    assert texts(memory) == ["system"]


def test_a_replaced_system_prompt_is_seen() -> None:
    memory = AgentMemory("system")
    memory.messages()
    memory.system_prompt = SystemPromptStep("other")
    assert texts(memory) == ["other"]
    memory.system_prompt.system_prompt = "edited"
    assert texts(memory) == ["edited"]


def test_a_step_in_two_memories_is_never_stale_in_either() -> None:
    one, two = AgentMemory("one"), AgentMemory("two")
    shared = step(1)
    one.append(shared)
    two.append(shared)
    one.messages()
    two.messages()
    shared.observations = "edited"
    assert "edited" in texts(one)[-1]
    assert "edited" in texts(two)[-1]


def test_input_messages_are_computed_and_not_stored() -> None:
    memory = AgentMemory("system")
    memory.append(TaskStep("task"))
    memory.append(step(1))
    memory.append(step(2))
    last = memory.steps[-1]
    assert isinstance(last, ActionStep)
    assert not any(isinstance(value, list) for value in last.__dict__.values())
    assert last.model_input_messages is not None
    assert [message.text for message in last.model_input_messages] == texts(memory)[:-2]
    last.model_input_messages = [ChatMessage(MessageRole.USER, "mine")]
    assert [message.text for message in last.model_input_messages or ()] == ["mine"]
    assert step(3).model_input_messages is None


def test_an_edited_task_reaches_the_model() -> None:
    task = TaskStep("find it", prompt="Tools:\nnone\n\nTask: find it")
    task.task = "lose it"
    assert task.to_messages()[0].text == "Tools:\nnone\n\nTask: lose it"


def test_images_of_a_task_are_sent_once() -> None:
    from PIL import Image

    memory = AgentMemory("system")
    memory.append(TaskStep("look", task_images=[Image.new("RGB", (2, 2))]))
    memory.append(step(1))
    memory.append(step(2))
    parts = [part for m in memory.messages() if isinstance(m.content, list) for part in m.content]
    assert sum(part["type"] == "image" for part in parts) == 1


def test_errors_and_observations_come_in_one_message() -> None:
    failed = step(1, observations="printed")
    failed.error = AgentParsingError("no program")
    messages = failed.to_messages()
    assert [message.role for message in messages] == [MessageRole.ASSISTANT, MessageRole.TOOL_RESPONSE]
    assert messages[1].text == "Observation:\nprinted\nError: no program"


def test_summary_mode_leaves_out_what_would_bias_a_plan() -> None:
    plan = PlanningStep(None, ChatMessage(MessageRole.ASSISTANT, "p"), "plan", Timing(0.0, 1.0))
    assert plan.to_messages(summary_mode=True) == []
    assert SystemPromptStep("s").to_messages(summary_mode=True) == []
    assert [m.text for m in step(1).to_messages(summary_mode=True)] == ["Observation:\nit worked"]


def test_steps_as_plain_data() -> None:
    memory = AgentMemory("system")
    memory.append(TaskStep("task"))
    memory.append(step(1))
    succinct = memory.get_succinct_steps()
    assert "model_input_messages" not in succinct[1]
    assert memory.get_full_steps()[1]["model_input_messages"][0]["content"][0]["text"] == "system"
    assert succinct[1]["timing"] == {"start_time": 0.0, "end_time": None, "duration": None}


def test_full_code_joins_the_programs() -> None:
    memory = AgentMemory("system")
    for number, code in enumerate(["a = 1", None, "print(a)"], 1):
        memory.append(ActionStep(number, Timing(0.0), code_action=code))
    assert memory.return_full_code() == "a = 1\n\nprint(a)"


def test_callbacks_by_class_and_by_number_of_parameters() -> None:
    seen: list[tuple[str, object]] = []
    registry = CallbackRegistry()

    def with_step(step: MemoryStep) -> None:
        seen.append(("any", step))

    def with_agent(step: ActionStep, agent: object) -> None:
        seen.append(("action", agent))

    registry.register(MemoryStep, with_step)
    registry.register(ActionStep, with_agent)
    registry.callback(step(1), agent="agent")
    registry.callback(FinalAnswerStep(1), agent="agent")
    assert [name for name, _ in seen] == ["action", "any", "any"]
    assert seen[0][1] == "agent"
    with pytest.raises(TypeError, match="callable"):
        registry.register(ActionStep, "no")  # pyright: ignore[reportArgumentType]
