"""What a step's outcome brings in images is shown to the model with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import PIL.Image

from actloop.loop.effects import Answer, CallOutcome, Execute, Execution
from actloop.loop.images import showing_images
from actloop.values.events import StepFinished, StepStarted

if TYPE_CHECKING:
    from actloop.loop.effects import Loop

IMAGE = PIL.Image.new("RGB", (4, 3))
LARGE = PIL.Image.new("1", (5_000, 4_000))


def one_step(*, answered: bool = False) -> Loop:
    yield StepStarted(number=1)
    yield Execute("program_1", "x")
    yield StepFinished(number=1, answered=answered)
    return Answer(None)


def images_after(outcome: Any, **options: Any) -> list[Any]:
    loop = showing_images(one_step(**options))
    assert isinstance(loop.send(None), StepStarted)
    assert isinstance(loop.send(None), Execute)
    ended = loop.send(outcome)
    assert isinstance(ended, StepFinished)
    loop.close()
    return ended.images


def test_the_value_of_a_program() -> None:
    assert images_after(Execution(output=IMAGE)) == [IMAGE]
    assert images_after(Execution(output={"a": [1], "b": IMAGE})) == [IMAGE]
    assert images_after(Execution(output=3)) == []


def test_results_of_calls() -> None:
    assert images_after([CallOutcome(IMAGE), CallOutcome("text"), CallOutcome([IMAGE])]) == [IMAGE, IMAGE]
    assert images_after([CallOutcome(IMAGE, final=True)]) == []


def test_no_more_than_a_few_and_none_that_is_huge() -> None:
    assert len(images_after([CallOutcome([IMAGE] * 6), CallOutcome([IMAGE] * 6)])) == 8
    assert images_after(Execution(output=LARGE)) == []


def test_an_answer_needs_no_showing() -> None:
    assert images_after(Execution(output=IMAGE, answered=True)) == []
    assert images_after(Execution(output=IMAGE), answered=True) == []
