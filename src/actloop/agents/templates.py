"""Prompt templates are data, also those of a saved agent: what they can reach is text about tools and agents.

Jinja's sandbox refuses private attributes; here a template gets no live object (a model, a logger) either, and cannot
call a tool.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from actloop.tools.base import BaseTool

if TYPE_CHECKING:
    from jinja2 import Environment

_PLAIN = (str, int, float, bool, list, tuple, dict, set, frozenset, type(None), BaseTool)
_CALLABLE = frozenset({"to_code_prompt", "to_tool_calling_prompt"})


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The environment in which templates are compiled; made when it is first used."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class TemplateEnvironment(ImmutableSandboxedEnvironment):
        """Jinja, with no way from a template to a live object."""

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            allowed = isinstance(value, _PLAIN) or hasattr(value, "__self__") or _is_jinjas(value) or _is_jinjas(obj)
            return allowed and super().is_safe_attribute(obj, attr, value)

        def is_safe_callable(self, obj: Any) -> bool:
            owner = getattr(obj, "__self__", None)
            built_in = owner is not None and type(owner) in _PLAIN
            allowed = built_in or _is_jinjas(obj) or _is_jinjas(owner) or obj is dict or obj is range
            return (allowed or getattr(obj, "__name__", "") in _CALLABLE) and super().is_safe_callable(obj)

    return TemplateEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)


def _is_jinjas(value: Any) -> bool:
    return type(value).__module__.startswith("jinja2.") or str(getattr(value, "__module__", "")).startswith("jinja2.")
