"""Tools as source code, and back.

A tool's code is its class or function as it was written, with the imports that it needs. Loading runs that code in this
process with all its rights, and is done only with `trust_remote_code=True`.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import sys
import textwrap
import types
from typing import TYPE_CHECKING, Any, cast

from actloop.tools.base import Tool
from actloop.tools.decorator import SimpleTool, tool

if TYPE_CHECKING:
    from collections.abc import Mapping

_LITERALS = (str, int, float, bool, bytes, type(None))


def to_dict(saved: Tool) -> dict[str, Any]:
    """A tool's name, its code, the packages that the code needs and, where it has one, its `output_schema`.

    Raises:
        ValueError: The code uses what cannot be written down; the message names it.
    """
    code = tool_code(saved)
    data: dict[str, Any] = {"name": saved.name, "code": code, "requirements": sorted({"actloop", *_packages(code)})}
    if saved.output_schema is not None:
        data["output_schema"] = saved.output_schema
    return data


def tool_code(saved: Tool) -> str:
    """A module that defines the tool, and nothing else that is not needed for it.

    Raises:
        ValueError: The source is not to be had, or uses what cannot be written down.
    """
    definition: Any = inspect.unwrap(saved.forward) if isinstance(saved, SimpleTool) else type(saved)
    if inspect.ismethod(definition):
        raise ValueError(f"tool '{saved.name}' is a method of an object and cannot be saved; write a Tool subclass")
    stored = getattr(definition, "__tool_source__", None)
    if isinstance(stored, str):
        return stored
    try:
        source = textwrap.dedent(inspect.getsource(definition)).strip()
    except (OSError, TypeError) as error:
        raise ValueError(f"the source of tool '{saved.name}' cannot be found: {error}") from None
    tree = ast.parse(source)
    node = tree.body[0]
    if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        raise ValueError(f"tool '{saved.name}' is not defined by 'class' or 'def' and cannot be saved")
    if not isinstance(node, ast.ClassDef):
        node.decorator_list = [ast.Name("tool", ast.Load())]
        source = "@tool\n" + "\n".join(source.splitlines()[node.lineno - 1 :])
    else:
        _check_constructor(saved.name, node)
    return f"{_header(saved.name, definition, node)}\n\n\n{source}\n"


def _check_constructor(name: str, node: ast.ClassDef) -> None:
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            required = method.args.args[1 : len(method.args.args) - len(method.args.defaults)]
            if required:
                names = ", ".join(argument.arg for argument in required)
                raise ValueError(f"tool '{name}' cannot be saved: the arguments of __init__ need defaults: {names}")


def _header(name: str, definition: Any, node: ast.AST) -> str:
    """Imports and constants for every global name that the definition uses."""
    module: Any = sys.modules.get(definition.__module__)
    known: dict[str, Any] = {**vars(module)} if module is not None else {}
    known |= getattr(definition, "__globals__", {})
    closure: Any = inspect.getclosurevars(definition).nonlocals if inspect.isfunction(definition) else {}
    known |= closure
    used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}
    imports: list[str] = []
    constants: list[str] = []
    faults: list[str] = []
    for used_name in sorted(used):
        if used_name not in known or (
            hasattr(builtins, used_name) and known[used_name] is getattr(builtins, used_name)
        ):
            continue
        line = _definition(used_name, known[used_name])
        if line is None:
            faults.append(used_name)
        else:
            (imports if line.startswith(("import ", "from ")) else constants).append(line)
    if faults:
        raise ValueError(
            f"tool '{name}' cannot be saved, since its code uses what is defined elsewhere: {', '.join(faults)}; "
            "define or import that inside the tool"
        )
    parts = [["from __future__ import annotations"], sorted(imports), constants]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _definition(name: str, value: Any) -> str | None:
    """A line that defines a global name, or None."""
    if value is Tool or value is tool:
        return f"from actloop import {name}"
    if isinstance(value, types.ModuleType):
        return f"import {name}" if value.__name__ == name else f"import {value.__name__} as {name}"
    if isinstance(value, _LITERALS):
        return f"{name} = {value!r}"
    home = getattr(value, "__module__", None)
    original = getattr(value, "__name__", None) or getattr(value, "_name", None)
    if not isinstance(home, str) or not isinstance(original, str) or home == "__main__":
        return None
    top = home.partition(".")[0]
    if top not in sys.stdlib_module_names and "site-packages" not in str(getattr(sys.modules.get(top), "__file__", "")):
        return None  # a module of the user's own, which is not there when the tool is loaded elsewhere
    if getattr(importlib.import_module(home), original, None) is not value:
        return None
    return f"from {home} import {original}" + (f" as {name}" if original != name else "")


def _packages(code: str) -> set[str]:
    """Packages beyond the standard library that the code imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


def from_code(code: str, *, trust_remote_code: bool = False, **kwargs: Any) -> Tool:
    """The tool that a module's source defines: its first `Tool` subclass, or the tool made by `@tool`.

    Args:
        code: The source. It is run in this process, with all its rights.
        trust_remote_code: Say that the source may be run.
        kwargs: For the constructor of the subclass.

    Raises:
        ValueError: `trust_remote_code` is not set, or the source defines no tool.
    """
    if trust_remote_code is not True:
        raise ValueError(
            "loading a tool runs its code in this process, outside any sandbox; read the code, and pass "
            "trust_remote_code=True if you trust it"
        )
    module = types.ModuleType("actloop_loaded_tool")
    # Type hints are evaluated, and classes look their module up, by name.
    sys.modules[module.__name__] = module
    try:
        exec(compile(code, "<tool>", "exec"), module.__dict__)  # noqa: S102
        for value in list(vars(module).values()):
            if isinstance(value, type) and issubclass(value, Tool) and value.__module__ == module.__name__:
                cast("Any", value).__tool_source__ = code
                return value(**kwargs)
            if isinstance(value, SimpleTool):
                inspect.unwrap(value.forward).__tool_source__ = code
                return value
    finally:
        sys.modules.pop(module.__name__, None)
    raise ValueError("the code defines no tool: neither a subclass of Tool nor a function with @tool")


def from_dict(data: Mapping[str, Any], *, trust_remote_code: bool = False, **kwargs: Any) -> Tool:
    """The tool that `to_dict` wrote down.

    Raises:
        ValueError: It has no code, or `trust_remote_code` is not set.
    """
    code = data.get("code")
    if not isinstance(code, str):
        raise ValueError("the tool's data has no 'code'")
    loaded = from_code(code, trust_remote_code=trust_remote_code, **kwargs)
    if "output_schema" in data:
        loaded.output_schema = data["output_schema"]
    return loaded
