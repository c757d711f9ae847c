"""The executor of this machine.

The names of smolagents' module `local_python_executor`, for programs that import from there; `actloop` has them all.
"""

import builtins
import math
from collections.abc import Callable
from typing import Any

from actloop import (
    BASE_BUILTIN_MODULES as BASE_BUILTIN_MODULES,
    CodeOutput as CodeOutput,
    InterpreterError as InterpreterError,
    LocalPythonExecutor as LocalPythonExecutor,
    LocalPythonInterpreter as LocalPythonInterpreter,
    PythonExecutor as PythonExecutor,
    evaluate_python_code as evaluate_python_code,
)

_COMPUTING = """
    abs all any bool callable chr complex dict divmod enumerate filter float getattr hasattr int isinstance issubclass
    iter len list map max min next ord pow print range reversed round set setattr sorted str sum tuple type zip
"""
_MATHEMATICS = "acos asin atan atan2 ceil cos degrees exp floor log radians sin sqrt tan"
BASE_PYTHON_TOOLS: dict[str, Callable[..., Any]] = {
    **{name: getattr(builtins, name) for name in _COMPUTING.split()},
    **{name: getattr(math, name) for name in _MATHEMATICS.split()},
}
"""What programs of the reference may call; those that are builtins need not be given here."""
