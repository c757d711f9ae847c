"""What Monty lacks of Python, held against the installed version by `tests/executors/monty/test_lacks.py`."""

from __future__ import annotations

import ast
import builtins
import re
from typing import TYPE_CHECKING

from actloop.guest import allows_import

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from actloop.executors.session import GuestFailure

MODULES = frozenset(
    """
    __future__ asyncio base64 binascii bisect collections copy csv dataclasses datetime decimal functools hashlib
    itertools json math os os.path pathlib posixpath random re sys time tomllib typing unicodedata
    """.split()  # noqa: SIM905 - a list of names, not of strings
)
"""The modules that Monty has, each in part."""

ABSENT = {
    "asyncio": """Queue Lock Event Semaphore Task Future create_task wait wait_for as_completed to_thread timeout
        TaskGroup get_event_loop new_event_loop get_running_loop CancelledError TimeoutError ensure_future""",
    "collections": "ChainMap OrderedDict UserDict UserList UserString abc",
    "csv": "Sniffer register_dialect",
    "dataclasses": "fields asdict astuple make_dataclass replace InitVar KW_ONLY",
    "datetime": "tzinfo UTC MINYEAR MAXYEAR",
    "functools": "wraps update_wrapper total_ordering cmp_to_key partialmethod singledispatch cached_property",
    "json": "JSONEncoder JSONDecoder",
    "os": "system popen environb cpu_count getpid kill fork execv",
    "pathlib": "PurePath PurePosixPath PureWindowsPath PosixPath",
    "random": "SystemRandom",
    "re": "VERBOSE X UNICODE U LOCALE subn purge RegexFlag",
    "sys": "exit getsizeof getrecursionlimit setrecursionlimit modules path stdin exc_info intern",
    "time": "struct_time get_clock_info clock_gettime",
    "typing": """NamedTuple TypedDict cast overload ParamSpec Concatenate Hashable Awaitable Coroutine AsyncIterator
        Counter Deque DefaultDict OrderedDict Pattern Match IO TextIO AnyStr NewType Collection Sized""",
    "unicodedata": "bidirectional decimal decomposition digit numeric east_asian_width mirrored",
}
"""Names that programs look for in those modules and that are not there."""

_ABSENT = {module: frozenset(names.split()) for module, names in ABSENT.items()}

SHOWN = sorted(MODULES - {"__future__", "os", "os.path", "posixpath", "sys"})
"""Those that a model is told of."""

BUILTINS = frozenset(
    """
    BaseExceptionGroup BlockingIOError BrokenPipeError BufferError ChildProcessError ConnectionAbortedError
    ConnectionError ConnectionRefusedError ConnectionResetError DeprecationWarning EOFError EnvironmentError
    ExceptionGroup FloatingPointError FutureWarning GeneratorExit IOError ImportWarning IndentationError
    InterruptedError PendingDeprecationWarning ProcessLookupError ReferenceError ResourceWarning RuntimeWarning
    StopAsyncIteration SyntaxWarning SystemError TabError UnicodeError UnicodeTranslateError UnicodeWarning
    UserWarning Warning aiter anext ascii breakpoint bytearray callable classmethod compile delattr dir exit globals
    help input issubclass memoryview quit staticmethod super vars
    """.split()  # noqa: SIM905
)
"""Builtins that Monty lacks."""

METHODS = frozenset(
    """
    maketrans translate format_map bit_length bit_count to_bytes from_bytes as_integer_ratio is_integer
    difference_update intersection_update symmetric_difference_update
    """.split()  # noqa: SIM905
)
"""Methods of builtin types that Monty lacks."""

UNCALLED = frozenset(
    """
    __bool__ __ne__ __setattr__ __delattr__ __format__ __new__ __del__ __get__ __set__ __set_name__ __dir__
    """.split()  # noqa: SIM905
)
"""Special methods that Monty never calls, without saying so."""

REFUSED_METHODS = frozenset(
    """
    __len__ __lt__ __le__ __gt__ __ge__ __getattr__ __getattribute__ __reversed__ __bytes__ __complex__
    __class_getitem__ __instancecheck__ __fspath__ __iadd__ __isub__ __imul__ __itruediv__ __ifloordiv__ __imod__
    __ipow__ __imatmul__ __iand__ __ior__ __ixor__ __ilshift__ __irshift__
    """.split()  # noqa: SIM905
)
"""Special methods without which it fails to do what they are for."""

_TYPES = frozenset(("str", "list", "dict", "set", "frozenset", "tuple", "bytes", "int", "float", "complex"))
_CLASS_METHODS = {"dict": {"fromkeys"}, "bytes": {"fromhex"}}
_PARSER = "The monty syntax parser does not yet support"

INSTRUCTIONS = (
    "Programs run in Monty, a small Python without most of the standard library. There is no inheritance (neither"
    " class B(A) nor exceptions of your own), no yield, no del, no property,"
    " classmethod or staticmethod, no class inside of a class, no except*, no async with, no import *. A generator"
    " expression gives a list at once. Classes with methods, dataclasses, closures, decorators of functions, match,"
    " with, try and comprehensions work. Methods are only found to be called: write sorted(words, key=lambda w:"
    " w.lower()) instead of key=str.lower."
)
"""What a model must know that writes for Monty."""


def unkept(tree: ast.Module) -> tuple[int, str] | None:
    """The line and the reason why a program would not do what it says, if Monty would run it without a word."""
    for name, line in _methods(tree):
        if name in UNCALLED:
            return line, f"Monty does not call {name}, so that objects of this class would not do what it says"
    return None


def lacking(tree: ast.Module, elsewhere: Collection[str]) -> str:
    """What Monty lacks for a program, as far as can be seen in it; empty if nothing.

    Args:
        tree: The program.
        elsewhere: Modules that another executor could import.
    """
    nodes = list(ast.walk(tree))
    own = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    modules: dict[str, str] = {}
    for node in nodes:
        if found := _in_import(node, modules, elsewhere) or _in_syntax(node):
            return found
    own |= set(modules)
    for node in nodes:
        if found := _in_name(node, own, modules):
            return found
    for name, _ in _methods(tree):
        if name in UNCALLED or name in REFUSED_METHODS:
            return f"{name}"
    return ""


def _methods(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    yield item.name, item.lineno


def _in_import(node: ast.AST, modules: dict[str, str], elsewhere: Collection[str]) -> str:
    match node:
        case ast.Import(names=names):
            for alias in names:
                if alias.name not in MODULES and allows_import(alias.name, elsewhere):
                    return f"the module {alias.name}"
                modules[alias.asname or alias.name.partition(".")[0]] = alias.name
        case ast.ImportFrom(module=module, names=names, level=0) if module is not None:
            if module not in MODULES and allows_import(module, elsewhere):
                return f"the module {module}"
            for alias in names:
                if alias.name == "*":
                    return "import *"
                if alias.name in _ABSENT.get(module, ()):
                    return f"{module}.{alias.name}"
                modules.setdefault(alias.asname or alias.name, "")
        case _:
            pass
    return ""


_SYNTAX: tuple[tuple[type[ast.AST] | tuple[type[ast.AST], ...], str], ...] = (
    ((ast.Yield, ast.YieldFrom), "yield"),
    (ast.Delete, "del"),
    ((ast.AsyncWith, ast.AsyncFor), "async with and async for"),
    (ast.TryStar, "except*"),
)


def _in_syntax(node: ast.AST) -> str:
    for kinds, name in _SYNTAX:
        if isinstance(node, kinds):
            return name
    if isinstance(node, ast.ClassDef):
        if node.bases or node.keywords:
            return "inheritance"
        for item in node.body:
            if isinstance(item, ast.ClassDef):
                return "a class inside of a class"
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.decorator_list:
                return "decorators of methods"
    return ""


def _in_name(node: ast.AST, own: set[str], modules: dict[str, str]) -> str:
    match node:
        case ast.Name(id=name, ctx=ast.Load()) if name in BUILTINS and name not in own:
            return name
        case ast.Name(id="open", ctx=ast.Load()) if "open" not in own:
            return "files"
        case ast.Attribute(value=ast.Name(id=name), attr=attr):
            module = modules.get(name, "")
            if attr in _ABSENT.get(module, ()):
                return f"{module}.{attr}"
            if name in _TYPES and name not in own and attr not in _CLASS_METHODS.get(name, ()):
                return f"{name}.{attr}"
            return attr if attr in METHODS and not module else ""
        case ast.Attribute(attr=attr) if attr in METHODS:
            return attr
        case _:
            return ""


_OF_MONTY = re.compile(
    r"not yet supported|does not yet support|Internal error in monty|is not supported in this environment"
    r"|exceptions can only be called with"
)
_OF_OBJECTS = re.compile(
    r"object of type '(\w+)' has no len\(\)|instances of '(\w+)' and|'(\w+)' object is not reversible"
)
_MISSING_IN = re.compile(r"module '(\w+)' has no attribute '(\w+)'|cannot import name '(\w+)' from '([\w.]+)'")
_MISSING_OF = re.compile(r"(?:'(\w+)' object|type object '(\w+)') has no attribute '(\w+)'")


def lacked(failure: GuestFailure, elsewhere: Collection[str], classes: Collection[str] = ()) -> str:
    """What a program that failed would have needed that Python has and Monty has not; empty if it is its own fault.

    Args:
        failure: How it failed.
        elsewhere: Modules that another executor could import.
        classes: The user's own.
    """
    kind, text = failure.kind, failure.message
    if text.startswith(_PARSER):
        return text[len(_PARSER) :].strip()
    if _OF_MONTY.search(text) or (kind == "NotImplementedError" and "Monty" in text):
        return text
    if kind == "NameError" and (found := re.search(r"name '(\w+)'", text)):
        return found[1] if found[1] in BUILTINS else ""
    if kind in ("ModuleNotFoundError", "ImportError") and (found := re.search(r"No module named '([\w.]+)'", text)):
        return f"the module {found[1]}" if allows_import(found[1], elsewhere) else ""
    if found := _MISSING_IN.search(text):
        module, name = (found[1], found[2]) if found[1] else (found[4], found[3])
        return f"{module}.{name}" if name in _ABSENT.get(module, ()) else ""
    if kind == "AttributeError" and (found := _MISSING_OF.search(text)):
        owner = getattr(builtins, found[1] or found[2], None)
        return f"{found[1] or found[2]}.{found[3]}" if isinstance(owner, type) and hasattr(owner, found[3]) else ""
    if kind == "TypeError" and (found := _OF_OBJECTS.search(text)):
        return text if next(filter(None, found.groups())) in classes else ""
    return "a generator that is lazy" if kind == "TypeError" and "'list' object is not an iterator" in text else ""
