"""The executor of this machine.

The names of smolagents' module `local_python_executor`, for programs that import from there; `actloop` has them all.
"""

from actloop import (
    BASE_BUILTIN_MODULES as BASE_BUILTIN_MODULES,
    CodeOutput as CodeOutput,
    InterpreterError as InterpreterError,
    LocalPythonExecutor as LocalPythonExecutor,
    LocalPythonInterpreter as LocalPythonInterpreter,
    PythonExecutor as PythonExecutor,
    evaluate_python_code as evaluate_python_code,
)
