"""Shows the model the images that its programs and calls gave: a part around every kind of loop."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from actloop.loop.effects import CallOutcome, Execution
from actloop.values.events import StepFinished, StepStarted
from actloop.values.media import images_in

if TYPE_CHECKING:
    from actloop.loop.effects import Loop

_MOST = 8
"""Images of one step that the model is shown."""


def showing_images(loop: Loop) -> Loop:
    """The same loop, whose steps show the model the images that came of them, besides describing them."""
    try:
        outcome: Any = None
        images: list[Any] = []
        while True:
            try:
                asked = loop.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(asked, StepStarted):
                images = []
            elif isinstance(asked, StepFinished) and images and not asked.answered:
                asked = replace(asked, images=images[:_MOST])
            outcome = yield asked
            images.extend(_images_of(outcome))
    finally:
        loop.close()


def _images_of(outcome: Any) -> list[Any]:
    if isinstance(outcome, Execution):
        return [] if outcome.answered else images_in(outcome.output)
    if isinstance(outcome, list):
        calls = [call for call in cast("list[Any]", outcome) if isinstance(call, CallOutcome) and not call.final]
        return [image for call in calls for image in images_in(call.value)]
    return []
