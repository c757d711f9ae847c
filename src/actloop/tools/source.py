"""A tool's source code: what is written down of it, and the checks of code that is to be loaded."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import symtable
import sys
import textwrap
import types
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from actloop.tools.decorator import SimpleTool
from actloop.values.arguments import parameters_of
from actloop.values.plain import is_secret, is_secret_name
from actloop.values.syntax import source_of, syntax_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actloop.tools.base import Tool

MAX_CODE = 1024 * 1024
"""Characters that a tool's code may have."""

_LITERALS = (str, int, float, bool, bytes, complex, type(None))
_REFERENCE = "smolagents"
_MODULE_NAMES = {"__name__", "__file__", "__doc__", "__builtins__", "__class__", "__package__", "__annotations__"}


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
    if not isinstance(saved, SimpleTool):
        _check_constructor(saved)
    try:
        source = _source_of(definition)
    except (OSError, TypeError) as error:
        raise ValueError(f"the source of tool '{saved.name}' cannot be found: {error}") from None
    node = syntax_tree(source).body[0]
    if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        raise ValueError(f"tool '{saved.name}' is not defined by 'class' or 'def' and cannot be saved")
    if not isinstance(node, ast.ClassDef):
        source = _with_decorators(source, node)
    header = _Header(saved.name)
    header.add(definition, source)
    return header.module(source)


def _source_of(definition: Any) -> str:
    return textwrap.dedent(source_of(definition)).strip()


def _check_constructor(saved: Tool) -> None:
    required = [
        name for name, parameter in parameters_of(type(saved)).items() if parameter.default is inspect.Parameter.empty
    ]
    if required:
        raise ValueError(
            f"tool '{saved.name}' cannot be saved: the arguments of __init__ need defaults: {', '.join(required)}"
        )


def _with_decorators(source: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The function under `@tool`, and under the other decorators that it had."""
    own = [ast.get_source_segment(source, decorator) or "" for decorator in node.decorator_list]
    names = ["tool" if text.rpartition(".")[2] == "tool" else text for text in own]
    if "tool" not in names:
        names.insert(0, "tool")
    lines = source.splitlines()[node.lineno - 1 :]
    return "\n".join([*(f"@{name}" for name in names), *lines])


class _Header:
    """Imports, constants, classes and functions that a definition uses, so that the module stands alone."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._imports: set[str] = set()
        self._parts: list[str] = []
        self._constants: list[str] = []
        self._faults: list[str] = []
        self._seen: dict[str, Any] = {}

    def add(self, definition: Any, source: str) -> None:
        """Take what `definition` uses, what that uses in turn included."""
        self._seen[definition.__name__] = definition
        known = _known_names(definition)
        run = {node.id for node in _run_nodes(syntax_tree(source)) if isinstance(node, ast.Name)}
        for name in sorted(_used_names(source)):
            if name in self._seen and self._seen[name] is known.get(name, self._seen[name]):
                continue
            if name == "tool" and name not in known:
                self._imports.add("from actloop import tool")
            if name not in known and name not in vars(builtins) and name in run and name != "tool":
                self._faults.append(name)
            if name not in known or known[name] is getattr(builtins, name, known):
                continue
            if name in self._seen:
                self._faults.append(f"{name} (two things of that name)")
                continue
            self._seen[name] = known[name]
            self._define(name, known[name])

    def _define(self, name: str, value: Any) -> None:
        if (isinstance(value, str) and value and is_secret_name(name)) or is_secret(value):
            _refuse_secret(self._name, f"uses {name}, which looks like a secret and would be written down")
        line = _import_of(name, value)
        if line is not None:
            self._imports.add(line)
        elif _is_literal(value):
            self._constants.append(f"{name} = {value!r}")
        elif not self._include(name, value):
            self._faults.append(name)

    def _include(self, name: str, value: Any) -> bool:
        """Take in a class or a function of the user's own, with its source."""
        if not (inspect.isclass(value) or inspect.isfunction(value)) or value.__name__ != name:
            return False
        try:
            source = _source_of(value)
            self.add(value, source)
        except (OSError, TypeError, SyntaxError):
            return False
        self._parts.append(source)
        return True

    def module(self, source: str) -> str:
        """The whole module.

        Raises:
            ValueError: Something that is used cannot be written down.
        """
        if self._faults:
            raise ValueError(
                f"tool '{self._name}' cannot be saved, since its code uses what is defined elsewhere: "
                f"{', '.join(self._faults)}; define or import that inside the tool"
            )
        if is_secret(source):
            _refuse_secret(self._name, "holds what looks like a secret")
        head = [["from __future__ import annotations"], sorted(self._imports), self._constants]
        return "\n\n\n".join(["\n\n".join("\n".join(part) for part in head if part), *self._parts, f"{source}\n"])


def _refuse_secret(tool: str, what: str) -> None:
    raise ValueError(f"tool '{tool}' cannot be saved: its code {what}; read it from the environment inside the tool")


def _known_names(definition: Any) -> dict[str, Any]:
    """Values of the global and enclosing names that a class or function can see."""
    module: Any = sys.modules.get(definition.__module__)
    known: dict[str, Any] = {**vars(module)} if module is not None else {}
    parts: list[Any] = list(vars(definition).values()) if inspect.isclass(definition) else [definition]
    for part in parts:
        function: Any = inspect.unwrap(getattr(part, "__func__", part))
        if inspect.isfunction(function):
            if function.__module__ == definition.__module__:
                known |= function.__globals__
            closure = inspect.getclosurevars(function).nonlocals
            known |= {name: value for name, value in closure.items() if name != "__class__"}
    return known


def _used_names(source: str) -> set[str]:
    """Names that a definition takes from outside of it."""
    used: set[str] = set()
    tables = [symtable.symtable(source, "<tool>", "exec")]
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        top = table.get_type() == "module"
        used |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (symbol.is_global() or top) and not (top and symbol.is_assigned())
        }
    for node in ast.walk(syntax_tree(source)):
        hint = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if isinstance(hint, ast.Constant) and isinstance(hint.value, str):
            used |= {part.id for part in ast.walk(syntax_tree(hint.value, mode="eval")) if isinstance(part, ast.Name)}
    return used


def _is_literal(value: Any, depth: int = 0) -> bool:
    if type(value) in _LITERALS:
        return True
    if depth > 8:
        return False
    if type(value) in (list, tuple, set):
        return bool(value or type(value) is not set) and all(_is_literal(item, depth + 1) for item in value)
    if type(value) is dict:
        pairs = cast("dict[Any, Any]", value).items()
        return all(_is_literal(key) and _is_literal(item, depth + 1) for key, item in pairs)
    return False


def _import_of(name: str, value: Any) -> str | None:
    """A line that imports a global name, or None."""
    if isinstance(value, types.ModuleType):
        if not _is_installed(value.__name__):
            return None
        return f"import {value.__name__}" if value.__name__ == name else f"import {value.__name__} as {name}"
    home = getattr(value, "__module__", None)
    original = getattr(value, "__name__", None) or getattr(value, "_name", None)
    if not isinstance(home, str) or not isinstance(original, str) or home == "__main__" or not _is_installed(home):
        return None
    if home.startswith("actloop."):
        import actloop

        home = "actloop" if original in actloop.__all__ else home
    if getattr(import_module(home), original, None) is not value:
        return None
    return f"from {home} import {original}" + (f" as {name}" if original != name else "")


def _is_installed(module: str) -> bool:
    """Whether a module is found wherever its package is installed, as one of the user's own is not."""
    top = module.partition(".")[0]
    where = str(getattr(sys.modules.get(top), "__file__", ""))
    return top in {*sys.stdlib_module_names, "actloop"} or "site-packages" in where or "dist-packages" in where


def imported_packages(code: str) -> set[str]:
    """Packages beyond the standard library that the code imports, as they are called where they are installed from."""
    found: set[str] = set()
    for node in ast.walk(syntax_tree(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return {package_of(name) for name in found - set(sys.stdlib_module_names)}


def package_of(module: str) -> str:
    """The package that a module is installed by: `pillow` for `PIL`; the module's own name where none is known."""
    if module == "actloop":
        return module
    owners = _owners().get(module, frozenset())
    same = {owner for owner in owners if re.sub(r"[-_.]+", "_", owner).lower() == module.lower()}
    return module if same or len(owners) != 1 else next(iter(owners))


@lru_cache(maxsize=1)
def _owners() -> dict[str, frozenset[str]]:
    from importlib.metadata import packages_distributions

    return {module: frozenset(owners) for module, owners in packages_distributions().items()}


# Code that is to be loaded


def checked_code(code: str) -> str:
    """Code of a tool, as it can be run: parsed and checked, and its imports of smolagents turned into ours.

    Raises:
        ValueError: It is too long, no Python, or uses names that nothing defines.
    """
    if len(code) > MAX_CODE:
        raise ValueError(f"the tool's code is longer than {MAX_CODE:,} characters")
    try:
        tree = syntax_tree(code)
        code = _own_imports(code, tree)
        unknown = sorted(_unknown_names(syntax_tree(code)))
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"the tool's code is no valid Python: {error}") from None
    if unknown:
        raise ValueError(f"the tool's code uses names that it neither defines nor imports: {', '.join(unknown)}")
    return code


def _own_imports(code: str, tree: ast.Module) -> str:
    """The code with imports from smolagents replaced by imports from actloop."""
    lines = code.replace("\r\n", "\n").encode().split(b"\n")
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in sorted(found, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        replaced = _own_import(node)
        if replaced is None or node.end_lineno is None or node.end_col_offset is None:
            continue
        first, last = node.lineno - 1, node.end_lineno - 1
        kept = lines[first][: node.col_offset] + replaced.encode() + lines[last][node.end_col_offset :]
        lines[first : last + 1] = [kept]
    return b"\n".join(lines).decode()


def _own_import(node: ast.Import | ast.ImportFrom) -> str | None:
    if isinstance(node, ast.ImportFrom):
        if node.level or (node.module or "").partition(".")[0] != _REFERENCE:
            return None
        import actloop

        lacking = [alias.name for alias in node.names if alias.name not in {*actloop.__all__, "*"}]
        if lacking:
            raise ValueError(f"the tool's code imports from {_REFERENCE} what actloop lacks: {', '.join(lacking)}")
        return f"from actloop import {', '.join(ast.unparse(alias) for alias in node.names)}"
    if not any(alias.name.partition(".")[0] == _REFERENCE for alias in node.names):
        return None
    names: list[str] = []
    for alias in node.names:
        own = alias.name.partition(".")[0] == _REFERENCE
        names.append(f"actloop as {alias.asname or _REFERENCE}" if own else ast.unparse(alias))
    return f"import {', '.join(names)}"


def _unknown_names(tree: ast.Module) -> set[str]:
    """Names that are used but bound nowhere in a module, in whatever scope."""
    used: set[str] = set()
    bound = {*vars(builtins), *_MODULE_NAMES}
    for node in _run_nodes(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.add(node.id)
        bound |= set(_bindings(node))
    return set() if "*" in bound else used - bound


def _run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of type hints, which may name what is there for type checkers alone."""
    left = [tree]
    while left:
        node = left.pop()
        yield node
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns"):
                items = cast("list[Any]", value) if isinstance(value, list) else [value]
                left += [item for item in items if isinstance(item, ast.AST)]


_NAMING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)


def _bindings(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, _NAMING) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    elif isinstance(node, ast.Global | ast.Nonlocal):
        yield from node.names
    elif type(node).__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple"):
        yield cast("Any", node).name
