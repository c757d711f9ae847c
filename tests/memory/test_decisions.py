"""Whatever a conversation holds, what is compacted leaves the task, the plan in force and the last step as they are."""

from __future__ import annotations

import itertools

from hypothesis import given, settings, strategies as st

from actloop import ActionStep, ChatMessage, MemoryStep, PlanningStep, TaskStep
from actloop.memory.compaction import ContextLimit, Measure, View, decide, size_of, summary_text
from actloop.values.messages import MessageRole
from actloop.values.usage import Timing


def made(kind: str, size: int) -> MemoryStep:
    text = "x" * size
    if kind == "task":
        return TaskStep(text)
    if kind == "plan":
        return PlanningStep(None, ChatMessage(MessageRole.ASSISTANT, text), text, Timing(0.0))
    return ActionStep(1, Timing(0.0), model_output="act", observations=text)


steps_of_all_kinds = st.lists(
    st.builds(made, st.sampled_from(["action", "action", "action", "plan", "task"]), st.integers(0, 6_000)), max_size=40
)
limits = st.builds(
    ContextLimit,
    tokens=st.integers(500, 20_000),
    start=st.floats(0.6, 1.0),
    target=st.floats(0.1, 0.5),
    keep_last=st.integers(1, 5),
    cut_to=st.integers(1, 2_000),
)


@settings(max_examples=200)
@given(steps_of_all_kinds, limits, st.booleans(), st.integers(0, 50_000))
def test_what_must_stay_stays(steps: list[MemoryStep], limit: ContextLimit, harder: bool, reported: int) -> None:
    view = View()
    protected = [
        next((step for step in reversed(steps) if isinstance(step, kind)), None) for kind in (TaskStep, ActionStep)
    ]
    task = max((place for place, step in enumerate(steps) if isinstance(step, TaskStep)), default=-1)
    plan = next((step for step in reversed(steps[task + 1 :]) if isinstance(step, PlanningStep)), None)
    measure, sizes = Measure(), list[int]()
    for _ in range(5):
        size = size_of(view.written(steps))
        sizes.append(size)
        decision = decide(steps, view, size, measure, limit, harder=harder)
        if decision is None:
            break
        assert harder or measure.estimate(size) > limit.start * (limit.tokens or 0)
        if decision.cut_to is not None:
            view = view.cutting(steps, decision.kept, decision.cut_to)
        if decision.replaces:
            summary = summary_text("s" * decision.room, len(decision.replaces), decision.room)
            view = view.replacing(steps, decision.summary_kept, summary)
            assert {id(step) for step in decision.replaces} <= set(view.replaced)
        for step in (*protected, plan):
            if step is not None:
                assert view.messages(step) == step.to_messages()
        measure = Measure(size, max(reported, 1)) if reported else measure
    # Deciding again and again ends: each decision made the conversation smaller.
    assert all(later < earlier for earlier, later in itertools.pairwise(sizes))


@given(steps_of_all_kinds, limits)
def test_a_conversation_below_the_start_is_left_alone(steps: list[MemoryStep], limit: ContextLimit) -> None:
    size = size_of(View().written(steps))
    if Measure().estimate(size) <= limit.start * (limit.tokens or 0):
        assert decide(steps, View(), size, Measure(), limit) is None
