"""Tools as data, as folders and on the Hub, and back.

Loading a tool runs its code in this process with all its rights, and is done only with `trust_remote_code=True`. Tools
that come with actloop are an exception: what is saved of them names the class, and no saved code is run.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import types
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from actloop.hub.folder import write_files
from actloop.tools.base import Tool
from actloop.tools.decorator import SimpleTool
from actloop.tools.names import is_python_name
from actloop.tools.signature import describe_function
from actloop.tools.source import checked_code, imported_packages, tool_code
from actloop.values.arguments import arguments_of
from actloop.values.plain import Writer, foreign_classes, read
from actloop.values.syntax import syntax_tree

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from actloop.hub.client import CommitInfo

_ATTRIBUTES = ("name", "description", "inputs", "output_type", "output_schema")
_OURS = "actloop.tools."
_numbers = itertools.count(1)


def to_dict(saved: Tool) -> dict[str, Any]:
    """A tool's name, its code, the packages that the code needs and, where it has one, its `output_schema`.

    Arguments of the constructor and attributes that were changed later are there, too. Keys and live objects among
    them are left out, and a warning names them.

    Raises:
        ValueError: The code uses what cannot be written down; the message names it.
    """
    data, left_out = describe(saved)
    warn_left_out(f"tool '{saved.name}'", left_out)
    return data


def warn_left_out(what: str, left_out: list[str]) -> None:
    """Name what was not saved."""
    if left_out:
        warnings.warn(
            f"Saved without what cannot be written down, {what}: {', '.join(left_out)}. Give it again after loading.",
            stacklevel=4,
        )


def described(saved: Tool) -> tuple[dict[str, Any], list[str]]:
    """As `describe`, or what the tool's own `to_dict` gives, where its class has one."""
    own = type(saved).to_dict is not Tool.to_dict
    return (saved.to_dict(), []) if own else describe(saved)


def describe(saved: Tool) -> tuple[dict[str, Any], list[str]]:
    """What `to_dict` gives, and what was left out of it."""
    known = _known_class(saved)
    code = f"from {known.rpartition('.')[0]} import {known.rpartition('.')[2]}\n" if known else tool_code(saved)
    data: dict[str, Any] = {
        "name": saved.name,
        "code": code,
        "requirements": sorted({"actloop", *imported_packages(code)}),
    }
    writer = Writer()
    if known:
        data["class"] = known
    if saved.output_schema is not None:
        data["output_schema"] = saved.output_schema
    arguments = {} if isinstance(saved, SimpleTool) else writer.settings(arguments_of(saved), "arguments")
    attributes = writer.settings(_changed(saved), "attributes")
    data |= {key: value for key, value in (("arguments", arguments), ("attributes", attributes)) if value}
    return data, writer.left_out


def _known_class(saved: Tool) -> str | None:
    """Where the class of a tool that comes with actloop is found."""
    cls = type(saved)
    if isinstance(saved, SimpleTool) or not cls.__module__.startswith(_OURS):
        return None
    found = getattr(sys.modules.get(cls.__module__), cls.__qualname__, None)
    return f"{cls.__module__}.{cls.__qualname__}" if found is cls else None


def _changed(saved: Tool) -> dict[str, Any]:
    """Attributes that the code alone would not give."""
    if isinstance(saved, SimpleTool):
        about = describe_function(inspect.unwrap(saved.forward))
        return {key: getattr(saved, key) for key in _ATTRIBUTES if getattr(saved, key) != getattr(about, key)}
    own = vars(saved)
    return {key: own[key] for key in _ATTRIBUTES if key in own and own[key] != getattr(type(saved), key, None)}


# Loading


def runs_code(data: Mapping[str, Any]) -> bool:
    """Whether loading a saved tool would run code that was saved, or hand it arguments that were."""
    return not known_tool(data) or bool(data.get("arguments")) or bool(foreign_classes(data.get("attributes")))


def known_tool(data: Mapping[str, Any]) -> type[Tool] | None:
    """The class of a saved tool that comes with actloop; no saved code is run to find it."""
    module, _, name = str(data.get("class", "")).rpartition(".")
    if not module and is_plain_final_answer(str(data.get("code", ""))):
        module, name = "actloop.tools.final_answer", "FinalAnswerTool"
    if not module.startswith(_OURS) or not all(is_python_name(part) for part in (*module.split("."), name)):
        return None
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return None
    if not isinstance(found, type) or not issubclass(found, Tool):
        return None
    return found if found.__module__ == module else None


def is_plain_final_answer(code: str) -> bool:
    """Whether code is that of smolagents' own `FinalAnswerTool`, which every agent saved by it has."""
    try:
        classes = [node for node in syntax_tree(code).body if isinstance(node, ast.ClassDef)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if len(classes) != 1 or classes[0].name != "FinalAnswerTool":
        return False
    methods = {node.name: node for node in classes[0].body if isinstance(node, ast.FunctionDef)}
    return "forward" in methods and [ast.unparse(line) for line in methods["forward"].body] == ["return answer"]


def from_code(code: str, *, trust_remote_code: bool = False, name: str | None = None, **kwargs: Any) -> Tool:
    """The tool that a module's source defines: its `Tool` subclass, or the tool made by `@tool`.

    Args:
        code: The source. It is run in this process, with all its rights. Written for smolagents, it will do as well.
        trust_remote_code: Say that the source may be run.
        name: Where it defines several tools, the name of the one that is wanted; the first by default.
        kwargs: For the constructor of the subclass.

    Raises:
        ValueError: `trust_remote_code` is not set, the code is broken, or it defines no tool.
    """
    if trust_remote_code is not True:
        raise ValueError(
            "loading a tool runs its code in this process, outside any sandbox; read the code, and pass "
            "trust_remote_code=True if you trust it"
        )
    code = checked_code(code)
    module = types.ModuleType(f"actloop_loaded_tool_{next(_numbers)}")
    # Type hints are evaluated, and classes look their module up, by name.
    sys.modules[module.__name__] = module
    try:
        _run(code, module)
        found = _defined_tool(module, name)
        if isinstance(found, SimpleTool):
            inspect.unwrap(found.forward).__dict__["__tool_source__"] = code
            return found
        if found is not None:
            if found.__module__ == module.__name__:
                cast("Any", found).__tool_source__ = code
            for key in ("inputs", "output_schema"):
                if isinstance(found.__dict__.get(key), str):
                    setattr(found, key, ast.literal_eval(found.__dict__[key]))
            return found(**kwargs)
    finally:
        sys.modules.pop(module.__name__, None)
    raise ValueError("the code defines no tool: neither a subclass of Tool nor a function with @tool")


def _run(code: str, module: types.ModuleType) -> None:
    try:
        exec(compile(code, "<tool>", "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except ModuleNotFoundError as error:
        raise ValueError(f"the tool's code needs the module '{error.name}', which is not installed") from error
    except Exception as error:
        raise ValueError(f"the tool's code failed while it was loaded: {type(error).__name__}: {error}") from error


def _defined_tool(module: types.ModuleType, name: str | None) -> SimpleTool | type[Tool] | None:
    """The tool of a module: its own before imported ones, none that others derive from, the named one if there is."""
    values = [value for value in vars(module).values() if value not in (Tool, SimpleTool)]
    classes = [value for value in values if isinstance(value, type) and issubclass(value, Tool)]
    own = [cls for cls in classes if cls.__module__ == module.__name__]
    own = [cls for cls in own if not any(other is not cls and issubclass(other, cls) for other in own)]
    made = [value for value in values if isinstance(value, SimpleTool)]
    found: list[Any] = [*own, *made] or classes
    named = [value for value in found if name is not None and getattr(value, "name", None) == name]
    return next(iter(named or found), None)


def from_dict(data: Mapping[str, Any], *, trust_remote_code: bool = False, **kwargs: Any) -> Tool:
    """The tool that `to_dict` wrote down.

    Raises:
        ValueError: It has no code, or `trust_remote_code` is not set.
    """
    code = data.get("code")
    if not isinstance(code, str):
        raise ValueError("the tool's data has no 'code'")
    arguments, attributes = _object(data, "arguments"), _object(data, "attributes")
    if trust_remote_code is not True and not runs_code(data):
        loaded = cast("type[Tool]", known_tool(data))(**kwargs)
    elif trust_remote_code is True and (known := known_tool(data)):
        loaded = known(**{**read(arguments, trust=True), **kwargs})
    else:
        given: dict[str, Any] = {**(read(arguments, trust=True) if trust_remote_code is True else {}), **kwargs}
        name = data.get("name")
        loaded = from_code(code, trust_remote_code=trust_remote_code, name=name, **given)
    if "output_schema" in data:
        loaded.output_schema = data["output_schema"]
    for key, value in attributes.items():
        if key not in _ATTRIBUTES:
            raise ValueError(f"a saved tool has no attribute {key!r} to be set")
        setattr(loaded, key, read(value, trust=trust_remote_code is True))
    loaded.validate_arguments()
    return loaded


def _object(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value: Any = data.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"'{key}' of a saved tool is an object; got {type(value).__name__}")
    return cast("dict[str, Any]", value)


# Folders and the Hub


def tool_files(saved: Tool, tool_file_name: str, *, app: bool) -> dict[str, str]:
    """The files of a saved tool, by their paths.

    Raises:
        ValueError: Its code uses what cannot be written down, or `tool_file_name` is no name of a module.
    """
    if not is_python_name(tool_file_name):
        raise ValueError(f"tool_file_name is the name of a module, without '.py'; got {tool_file_name!r}")
    data, left_out = described(saved)
    warn_left_out(f"tool '{saved.name}'", left_out)
    files = {f"{tool_file_name}.py": data["code"]}
    if app:
        files["app.py"] = _app(tool_file_name, data)
        files["requirements.txt"] = "".join(f"{package}\n" for package in data["requirements"])
    return files


def _app(module: str, data: Mapping[str, Any]) -> str:
    rest = {key: data[key] for key in ("name", "class", "arguments", "attributes", "output_schema") if key in data}
    return (
        '"""Web page of a saved tool."""\n\n'
        "from pathlib import Path\n\n"
        "from actloop import Tool, launch_gradio_demo\n\n"
        f'code = Path(__file__).with_name("{module}.py").read_text(encoding="utf-8")\n'
        f'tool = Tool.from_dict({{"code": code, **{rest!r}}}, trust_remote_code=True)\n\n'
        'if __name__ == "__main__":\n'
        "    launch_gradio_demo(tool)\n"
    )


def save(
    saved: Tool, output_dir: str | os.PathLike[str], tool_file_name: str = "tool", make_gradio_app: bool = True
) -> None:
    """Write a tool's code into a folder, and a web page for it with the packages that it needs.

    Args:
        saved: The tool.
        output_dir: The folder; made where there is none.
        tool_file_name: Name of the module, without `.py`.
        make_gradio_app: Write `app.py` and `requirements.txt`, too.

    Raises:
        ValueError: Its code uses what cannot be written down.
        OSError: The folder cannot be written; what was there before is unchanged.
    """
    write_files(output_dir, tool_files(saved, tool_file_name, app=make_gradio_app))


def push_to_hub(
    saved: Tool,
    repo_id: str,
    commit_message: str = "Upload tool",
    private: bool | None = None,
    token: bool | str | None = None,
    create_pr: bool = False,
) -> CommitInfo:
    """Upload a tool as a Space.

    Args:
        saved: The tool.
        repo_id: Name of the Space, with the owner before it where that is an organisation.
        commit_message: Message of the commit.
        private: Make the Space private; one that is there already stays as it is.
        token: Token to sign in with; the one of `hf auth login` or `HF_TOKEN` by default.
        create_pr: Propose the change instead of making it.

    Raises:
        HubError: The Hub refuses or cannot be reached.
        ValueError: The tool cannot be saved.
    """
    from actloop.hub.client import HubClient

    files = tool_files(saved, "tool", app=True)
    hub = HubClient(token)
    return hub.upload_space(repo_id, files, ["actloop", "tool"], commit_message, private=private, create_pr=create_pr)


def from_hub(repo_id: str, token: str | None = None, trust_remote_code: bool = False, **kwargs: Any) -> Tool:
    """The tool that a Space defines in its `tool.py`.

    Args:
        repo_id: Name of the Space.
        token: Token to sign in with; the one of `hf auth login` or `HF_TOKEN` by default.
        trust_remote_code: Say that its code may be run in this process.
        kwargs: `cache_dir`, `force_download`, `revision`, `subfolder` and `local_files_only` are for the download; the
            others for the tool's constructor.

    Raises:
        ValueError: `trust_remote_code` is not set, or there is no code of a tool.
        HubError: The Hub refuses or cannot be reached.
    """
    if trust_remote_code is not True:
        raise ValueError(
            f"loading the tool of {repo_id} runs its code, tool.py, in this process, outside any sandbox; read it on "
            "the Hub, and pass trust_remote_code=True if you trust it"
        )
    from actloop.hub.client import HubClient, split_options

    options, arguments = split_options(kwargs)
    code = HubClient(token).text(repo_id, "tool.py", **options)
    return from_code(code, trust_remote_code=True, **arguments)
