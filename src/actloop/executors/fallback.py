"""An executor that falls over to the next of several when one cannot run a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def fallback_executor(names: list[str], imports: list[str], logger: Any, options: Mapping[str, Any]) -> Any:
    """An executor of several, by their names.

    Raises:
        ValueError: One of the names is not known.
    """
    raise ValueError(f"several executors {names} cannot be combined yet: {len(imports)}, {logger}, {options}")
