"""What an object was constructed with, so that it can be saved and constructed again."""

from __future__ import annotations

import inspect
from typing import Any

_KEY = "_constructed_with"
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def remember_arguments(instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note the arguments of a constructor; to be called from `__new__`."""
    instance.__dict__[_KEY] = (args, kwargs)


def parameters_of(cls: type) -> dict[str, inspect.Parameter]:
    """The named parameters that a class can be constructed with, also those of its bases that `**kwargs` reaches."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        own = base.__dict__.get("__init__")
        if own is None or base is object:
            continue
        parameters = list(inspect.signature(own).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in _NAMED:
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def arguments_of(instance: Any) -> dict[str, Any]:
    """The arguments that an object was constructed with, by name; those that it was not given are left out."""
    args, kwargs = instance.__dict__.get(_KEY, ((), {}))
    try:
        bound = inspect.signature(type(instance).__init__).bind_partial(instance, *args, **kwargs)
    except TypeError:
        return dict(kwargs)
    given: dict[str, Any] = {}
    for index, (name, value) in enumerate(bound.arguments.items()):
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            given |= value
        elif index and kind is not inspect.Parameter.VAR_POSITIONAL:
            given[name] = value
    return given


def takes_any_name(cls: type) -> bool:
    """Whether the constructor takes named arguments that are not declared."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
