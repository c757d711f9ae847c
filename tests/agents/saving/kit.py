"""What the tests of hostile saved agents share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from actloop import Model, OpenAIModel, tool

SRC = str(Path(__file__).parents[3] / "src")
MARK = "import pathlib; pathlib.Path({!r}).write_text('it ran')\n"


@tool
def area(radius: float) -> float:
    """Area of a circle.

    Args:
        radius: Of the circle.
    """
    return 3 * radius**2


def plain_model() -> Model:
    return OpenAIModel("m")


def changed(saved: Path, **changes: Any) -> Path:
    path = saved / "agent.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return saved
