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

_MOST_PIXELS = 16 * 1024 * 1024
"""Pixels of an image that is decoded and encoded for the model; a larger one is only described."""


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
    values: list[Any] = []
    if isinstance(outcome, Execution) and not outcome.answered:
        values = [outcome.output]
    elif isinstance(outcome, list):
        calls = cast("list[Any]", outcome)
        values = [call.value for call in calls if isinstance(call, CallOutcome) and not call.final]
    return [image for value in values for image in images_in(value) if _can_be_sent(image)]


def _can_be_sent(image: Any) -> bool:
    try:
        width, height = image.size
    except Exception:  # the file of an image that is read only now
        return False
    return 0 < width * height <= _MOST_PIXELS
