"""`Tool`: a function on the host that an agent may call, with a name, a description and typed inputs."""

from __future__ import annotations

import inspect
import threading
from abc import ABC, abstractmethod
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, cast

from actloop.tools.names import python_name
from actloop.tools.schema import AUTHORIZED_TYPES, COMPOSITE, Schema
from actloop.tools.signature import tool_signature
from actloop.tools.streaming import gathered, is_async_function
from actloop.values.arguments import remember_arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actloop.hub.client import CommitInfo
    from actloop.tools.foreign.space import SpaceTool

_REQUIRED = {"name": str, "description": str, "inputs": dict, "output_type": str}


class BaseTool(ABC):
    """Anything with a name that an agent may call."""

    name: str

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the tool does."""


class Tool(BaseTool):
    """A tool: subclass it, set the class attributes and write `forward`.

    `forward` may be `async`. It may be a generator, too, or an async one: each piece is shown as it comes, and the
    result is what the generator returns, else the joined text of its pieces, else their list.

    Attributes:
        name: The name that it is called by. Any name will do: in Python code it goes by `code_name`.
        description: What it does and returns, for the model.
        inputs: For each argument of `forward` a mapping with its "type" (one of `AUTHORIZED_TYPES`, or a list of them),
            its "description" and, where it may be left out, "nullable": True; further JSON Schema keywords are kept.
        output_type: Type of the result, one of `AUTHORIZED_TYPES`.
        output_schema: JSON Schema of a structured result, shown to the model.
        output_description: What the result is, where the description does not say.
        skip_forward_signature_validation: Set it where `forward` takes `*args, **kwargs` instead of the inputs by name.

    Raises:
        TypeError: An attribute is missing or of the wrong type.
        ValueError: An attribute has a value that cannot be used.
    """

    name: str
    description: str
    inputs: dict[str, dict[str, Any]]
    output_type: str
    output_schema: dict[str, Any] | None = None
    output_description: str = ""
    skip_forward_signature_validation: bool = False
    is_initialized: bool = False

    _setup_lock: threading.RLock
    _set_up: bool = False
    _valid: ClassVar[tuple[Any, ...] | None] = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """A tool, with the lock that its set-up takes, whether or not `__init__` calls `super().__init__()`."""
        self = super().__new__(cls)
        self._setup_lock = threading.RLock()
        remember_arguments(self, args, kwargs)
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self.is_initialized = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own: Callable[..., None] | None = cls.__dict__.get("__init__")

        @wraps(own or Tool.__init__)
        def checked(self: Tool, *args: Any, **kwargs: Any) -> None:
            if own is not None:
                own(self, *args, **kwargs)
            else:
                cast("Any", super(cls, self)).__init__(*args, **kwargs)
            if type(self) is cls:  # whole only once the outermost `__init__` has ended
                self.validate_arguments()

        cls.__init__ = checked

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the lock, so that tools can be copied."""
        return {key: value for key, value in self.__dict__.items() if key != "_setup_lock"}

    def validate_arguments(self) -> None:
        """Check the attributes and the signature of `forward`.

        Raises:
            TypeError: An attribute is missing or of the wrong type.
            ValueError: An attribute has a value that cannot be used.
        """
        parts = (
            *(getattr(self, name, None) for name in _REQUIRED),
            self.output_schema,
            getattr(self.forward, "__func__", self.forward),
        )
        known = type(self).__dict__.get("_valid")
        if known is not None and all(a is b for a, b in zip(known, parts, strict=True)):
            return
        self._check_attributes()
        for name, schema in self.inputs.items():
            _check_input(self.name, name, schema)
        self._check_forward()
        type(self)._valid = parts

    def _check_attributes(self) -> None:
        for attribute, expected in _REQUIRED.items():
            value = getattr(self, attribute, None)
            if value is None:
                raise TypeError(f"tool class {type(self).__name__} must set the attribute '{attribute}'")
            if not isinstance(value, expected):
                raise TypeError(
                    f"tool class {type(self).__name__}: attribute '{attribute}' must be a {expected.__name__}, "
                    f"got {type(value).__name__}"
                )
        schema: Any = self.output_schema
        if schema is not None and not isinstance(schema, dict):
            raise TypeError(f"tool '{self.name}': output_schema must be a dict, got {type(schema).__name__}")
        if not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"a tool's name is text on one line; got {self.name!r}")
        if self.output_type not in AUTHORIZED_TYPES:
            raise ValueError(
                f"tool '{self.name}': output_type {self.output_type!r} is not one of {', '.join(AUTHORIZED_TYPES)}"
            )

    def _check_forward(self) -> None:
        signature = tool_signature(self)
        if signature is None or signature.takes_more:
            return
        takes, told = set(signature.parameters), set(self.inputs)
        missing = sorted(told - takes) if not signature.takes_rest else []
        untold = sorted(name for name in takes - told if signature.parameters[name].default is inspect.Parameter.empty)
        faults = [f"'forward' does not take {', '.join(missing)}"] if missing else []
        if untold:
            faults.append(f"'inputs' lacks {', '.join(untold)}")
        if faults:
            raise ValueError(
                f"tool '{self.name}': the arguments of 'forward' must be the keys of 'inputs'; {'; '.join(faults)}"
            )

    @property
    def is_async(self) -> bool:
        """Whether calling the tool gives something to be awaited."""
        return is_async_function(self.forward)

    @property
    def code_name(self) -> str:
        """Its name in Python code: an identifier that is no keyword."""
        return python_name(self.name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the tool does; write it in a subclass."""
        raise NotImplementedError(f"tool '{self.name}' has no method 'forward'")

    def setup(self) -> None:
        """Override it for what is slow and needed before first use; called once, just before the first call."""
        self.is_initialized = True

    def ensure_setup(self) -> None:
        """Run `setup` unless that was done; threads that come meanwhile wait for it.

        A set-up that raises is tried again at the next call.
        """
        if self.is_initialized:
            return
        with self._setup_lock:
            if not self.is_initialized:
                self.setup()
                self.is_initialized = True

    def __call__(self, /, *args: Any, sanitize_inputs_outputs: bool = False, **kwargs: Any) -> Any:
        """Call the tool, with its arguments or with one dict of them.

        Args:
            args: Positional arguments.
            sanitize_inputs_outputs: Unwrap `AgentText` and the like in arguments, and wrap the result in them.
            kwargs: Named arguments.

        Returns:
            What `forward` returns: for an async tool, something to be awaited; for a generator, its pieces put
            together (see `streaming.gathered`).
        """
        self.ensure_setup()
        if len(args) == 1 and not kwargs and isinstance(args[0], dict):
            given = cast("dict[str, Any]", args[0])
            if all(key in self.inputs for key in given) and bool(given) == bool(self.inputs):
                args, kwargs = (), given
        if not sanitize_inputs_outputs:
            return gathered(self.forward(*args, **kwargs), self.output_type)
        from actloop.tools.types import handle_agent_input_types, handle_agent_output_types

        args, kwargs = handle_agent_input_types(*args, **kwargs)
        output = gathered(self.forward(*args, **kwargs), self.output_type)
        if inspect.isawaitable(output):

            async def awaited() -> Any:
                return handle_agent_output_types(await output, self.output_type)

            return awaited()
        return handle_agent_output_types(output, self.output_type)

    def to_code_prompt(self) -> str:
        """The tool as a typed Python function with a docstring, for agents that write code."""
        from actloop.tools.render import to_code_prompt

        return to_code_prompt(self)

    def to_tool_calling_prompt(self) -> str:
        """The tool in a few lines of text, for agents that call tools by name."""
        from actloop.tools.render import to_tool_calling_prompt

        return to_tool_calling_prompt(self)

    def to_dict(self) -> dict[str, Any]:
        """The tool as data: `name`, `code`, `requirements` and, where it has one, `output_schema`.

        Raises:
            ValueError: Its code uses what cannot be written down; the message names it.
        """
        from actloop.tools.saving import to_dict

        return to_dict(self)

    @classmethod
    def from_dict(cls, tool_dict: dict[str, Any], *, trust_remote_code: bool = False, **kwargs: Any) -> Tool:
        """The tool that `to_dict` gave. Its code is run in this process, and only with `trust_remote_code=True`.

        Raises:
            ValueError: `trust_remote_code` is not set, or there is no code of a tool.
        """
        from actloop.tools.saving import from_dict

        return from_dict(tool_dict, trust_remote_code=trust_remote_code, **kwargs)

    @classmethod
    def from_code(cls, tool_code: str, *, trust_remote_code: bool = False, **kwargs: Any) -> Tool:
        """The tool that a source defines. It is run in this process, and only with `trust_remote_code=True`.

        Raises:
            ValueError: `trust_remote_code` is not set, or the source defines no tool.
        """
        from actloop.tools.saving import from_code

        return from_code(tool_code, trust_remote_code=trust_remote_code, **kwargs)

    def save(self, output_dir: str | Path, tool_file_name: str = "tool", make_gradio_app: bool = True) -> None:
        """Write the tool's code into a folder; see `saving.save`."""
        from actloop.tools.saving import save

        save(self, output_dir, tool_file_name, make_gradio_app)

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str = "Upload tool",
        private: bool | None = None,
        token: bool | str | None = None,
        create_pr: bool = False,
    ) -> CommitInfo:
        """Upload the tool as a Space of the Hugging Face Hub; see `saving.push_to_hub`."""
        from actloop.tools.saving import push_to_hub

        return push_to_hub(self, repo_id, commit_message, private, token, create_pr)

    @classmethod
    def from_hub(cls, repo_id: str, token: str | None = None, trust_remote_code: bool = False, **kwargs: Any) -> Tool:
        """The tool that a Space of the Hugging Face Hub defines; see `saving.from_hub`."""
        from actloop.tools.saving import from_hub

        return from_hub(repo_id, token, trust_remote_code, **kwargs)

    @staticmethod
    def from_langchain(langchain_tool: Any) -> Tool:
        """A tool of LangChain's as one of ours; async where LangChain has no synchronous form of it."""
        from actloop.tools.foreign.langchain import LangChainTool

        return LangChainTool(langchain_tool)

    @staticmethod
    def from_gradio(gradio_tool: Any) -> Tool:
        """An object with `name`, `description` and `run`, such as those of `gradio_tools`, as a tool."""
        from actloop.tools.foreign.gradio import GradioObjectTool

        return GradioObjectTool(gradio_tool)

    @staticmethod
    def from_space(
        space_id: str,
        name: str,
        description: str = "",
        api_name: str | None = None,
        token: str | None = None,
        **options: Any,
    ) -> SpaceTool:
        """An endpoint of a Space of the Hugging Face Hub, or of any Gradio app, as a tool.

        Args:
            space_id: `owner/name`, or the address of an app.
            name: The tool's name.
            description: What it does; by default what the app says.
            api_name: The endpoint; by default the first.
            token: Sent to the app; none is taken from the environment.
            options: Further arguments of `actloop.tools.foreign.space.SpaceTool`.

        Raises:
            ValueError: There is no such app or endpoint.
            FetchError: The app cannot be reached.
        """
        from actloop.tools.foreign.space import SpaceTool

        return SpaceTool(space_id, name, description, api_name, token, **options)


def _check_input(tool: str, name: Any, schema: Any) -> None:
    if not isinstance(name, str) or not name.isprintable():
        raise TypeError(f"tool '{tool}': the name of an input must be text on one line, got {name!r}")
    if not isinstance(schema, dict):
        raise TypeError(f"tool '{tool}': input '{name}' must be a dict with 'type' and 'description', got {schema!r}")
    content = cast("Schema", schema)
    kinds: Any = content.get("type")
    if kinds is None:
        if not any(keyword in content for keyword in COMPOSITE):
            raise ValueError(f"tool '{tool}': input '{name}' must have the key 'type'; it has {sorted(content)}")
        return
    names = cast("list[Any]", kinds) if isinstance(kinds, list) else [kinds]
    if not all(isinstance(kind, str) for kind in names):
        raise TypeError(f"tool '{tool}': input '{name}': 'type' must be a string or a list of strings, got {kinds!r}")
    unknown = [kind for kind in names if kind not in AUTHORIZED_TYPES]
    if unknown or not names:
        raise ValueError(f"tool '{tool}': input '{name}': type {kinds!r} is not one of {', '.join(AUTHORIZED_TYPES)}")
