"""Agents that act by writing Python.

Public names are found in their modules on first use, so that `import actloop` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actloop.agents.base import MultiStepAgent as MultiStepAgent
    from actloop.agents.code import CodeAgent as CodeAgent
    from actloop.agents.managed import ManagedAgent as ManagedAgent
    from actloop.agents.prompting import (
        EMPTY_PROMPT_TEMPLATES as EMPTY_PROMPT_TEMPLATES,
        FinalAnswerPromptTemplate as FinalAnswerPromptTemplate,
        ManagedAgentPromptTemplate as ManagedAgentPromptTemplate,
        PlanningPromptTemplate as PlanningPromptTemplate,
        PromptTemplates as PromptTemplates,
        populate_template as populate_template,
    )
    from actloop.agents.result import RunResult as RunResult
    from actloop.agents.tool_calling import ToolCallingAgent as ToolCallingAgent
    from actloop.errors import (
        AgentError as AgentError,
        AgentExecutionError as AgentExecutionError,
        AgentGenerationError as AgentGenerationError,
        AgentInterruptedError as AgentInterruptedError,
        AgentMaxStepsError as AgentMaxStepsError,
        AgentParsingError as AgentParsingError,
        AgentToolCallError as AgentToolCallError,
        AgentToolExecutionError as AgentToolExecutionError,
        ContextLimitError as ContextLimitError,
        InterpreterError as InterpreterError,
        MissingExtraError as MissingExtraError,
        ProtocolError as ProtocolError,
        SandboxUnavailableError as SandboxUnavailableError,
        UnsupportedError as UnsupportedError,
    )
    from actloop.executors.blaxel import BlaxelExecutor as BlaxelExecutor
    from actloop.executors.docker import DockerExecutor as DockerExecutor, LocalDockerExecutor as LocalDockerExecutor
    from actloop.executors.e2b import E2BExecutor as E2BExecutor
    from actloop.executors.fallback import FallbackExecutor as FallbackExecutor
    from actloop.executors.local import (
        CodeOutput as CodeOutput,
        LocalPythonExecutor as LocalPythonExecutor,
        LocalPythonInterpreter as LocalPythonInterpreter,
        PythonExecutor as PythonExecutor,
        evaluate_python_code as evaluate_python_code,
    )
    from actloop.executors.modal import ModalExecutor as ModalExecutor
    from actloop.executors.monty import MontyExecutor as MontyExecutor
    from actloop.executors.remote import RemotePythonExecutor as RemotePythonExecutor
    from actloop.executors.session import SandboxLimits as SandboxLimits, Snapshot as Snapshot
    from actloop.executors.unsafe import UnsafeInProcessExecutor as UnsafeInProcessExecutor
    from actloop.executors.wasm import WasmExecutor as WasmExecutor
    from actloop.executors.workspace import Workspace as Workspace, WorkspaceFile as WorkspaceFile
    from actloop.guest import (
        BASE_BUILTIN_MODULES as BASE_BUILTIN_MODULES,
        Audio as Audio,
        Opaque as Opaque,
        Record as Record,
    )
    from actloop.hub.client import HubError as HubError
    from actloop.journal import Journal as Journal, MemoryJournal as MemoryJournal, default_journal as default_journal
    from actloop.mcp.client import MCPClient as MCPClient
    from actloop.mcp.errors import (
        MCPConnectionError as MCPConnectionError,
        MCPTimeoutError as MCPTimeoutError,
        MCPToolError as MCPToolError,
    )
    from actloop.mcp.server import serve_agent as serve_agent
    from actloop.memory.callbacks import CallbackRegistry as CallbackRegistry
    from actloop.memory.compaction import ContextLimit as ContextLimit
    from actloop.memory.memory import AgentMemory as AgentMemory
    from actloop.memory.steps import (
        ActionOutput as ActionOutput,
        ActionStep as ActionStep,
        FinalAnswerStep as FinalAnswerStep,
        MemoryStep as MemoryStep,
        PlanningStep as PlanningStep,
        SystemPromptStep as SystemPromptStep,
        TaskStep as TaskStep,
        ToolCall as ToolCall,
        ToolOutput as ToolOutput,
    )
    from actloop.models.anthropic import AnthropicModel as AnthropicModel
    from actloop.models.azure import (
        AzureOpenAIModel as AzureOpenAIModel,
        AzureOpenAIServerModel as AzureOpenAIServerModel,
    )
    from actloop.models.base import (
        CODEAGENT_RESPONSE_FORMAT as CODEAGENT_RESPONSE_FORMAT,
        REMOVE_PARAMETER as REMOVE_PARAMETER,
        Model as Model,
        parse_json_if_needed as parse_json_if_needed,
    )
    from actloop.models.bedrock import (
        AmazonBedrockModel as AmazonBedrockModel,
        AmazonBedrockServerModel as AmazonBedrockServerModel,
    )
    from actloop.models.conversion import (
        get_clean_message_list as get_clean_message_list,
        tool_role_conversions as tool_role_conversions,
    )
    from actloop.models.fallback import FallbackModel as FallbackModel
    from actloop.models.inference import InferenceClientModel as InferenceClientModel
    from actloop.models.litellm import LiteLLMModel as LiteLLMModel, LiteLLMRouterModel as LiteLLMRouterModel
    from actloop.models.local import LocalModel as LocalModel
    from actloop.models.mlx import MLXModel as MLXModel
    from actloop.models.openai import (
        ApiModel as ApiModel,
        OpenAIModel as OpenAIModel,
        OpenAIServerModel as OpenAIServerModel,
    )
    from actloop.models.retry import (
        ModelRequestError as ModelRequestError,
        RateLimiter as RateLimiter,
        RetryPolicy as RetryPolicy,
    )
    from actloop.models.scripted import ScriptedModel as ScriptedModel
    from actloop.models.switch import (
        allow_real_requests as allow_real_requests,
        forbid_real_requests as forbid_real_requests,
    )
    from actloop.models.transformers import TransformersModel as TransformersModel
    from actloop.models.vllm import VLLMModel as VLLMModel
    from actloop.screens.chat import stream_to_gradio as stream_to_gradio
    from actloop.screens.gradio import GradioUI as GradioUI
    from actloop.tools.base import BaseTool as BaseTool, Tool as Tool
    from actloop.tools.collection import ToolCollection as ToolCollection
    from actloop.tools.decorator import tool as tool
    from actloop.tools.default import (
        TOOL_MAPPING as TOOL_MAPPING,
        PythonInterpreterTool as PythonInterpreterTool,
        UserInputTool as UserInputTool,
    )
    from actloop.tools.final_answer import FinalAnswerTool as FinalAnswerTool
    from actloop.tools.foreign.gradio import GradioTool as GradioTool
    from actloop.tools.loading import launch_gradio_demo as launch_gradio_demo, load_tool as load_tool
    from actloop.tools.pipeline import PipelineTool as PipelineTool
    from actloop.tools.speech import SpeechToTextTool as SpeechToTextTool
    from actloop.tools.types import (
        AgentAudio as AgentAudio,
        AgentImage as AgentImage,
        AgentText as AgentText,
        AgentType as AgentType,
        handle_agent_output_types as handle_agent_output_types,
    )
    from actloop.tools.validation import (
        AUTHORIZED_TYPES as AUTHORIZED_TYPES,
        validate_tool_arguments as validate_tool_arguments,
    )
    from actloop.tools.web.fetch import Fetcher as Fetcher
    from actloop.tools.web.pages import VisitWebpageTool as VisitWebpageTool
    from actloop.tools.web.search import (
        ApiWebSearchTool as ApiWebSearchTool,
        DuckDuckGoSearchTool as DuckDuckGoSearchTool,
        GoogleSearchTool as GoogleSearchTool,
        WebSearchTool as WebSearchTool,
    )
    from actloop.tools.web.wikipedia import WikipediaSearchTool as WikipediaSearchTool
    from actloop.ui.logger import AgentLogger as AgentLogger, LogLevel as LogLevel, Monitor as Monitor
    from actloop.values.messages import (
        ChatMessage as ChatMessage,
        ChatMessageStreamDelta as ChatMessageStreamDelta,
        ChatMessageToolCall as ChatMessageToolCall,
        ChatMessageToolCallFunction as ChatMessageToolCallFunction,
        ChatMessageToolCallStreamDelta as ChatMessageToolCallStreamDelta,
        MessageRole as MessageRole,
        agglomerate_stream_deltas as agglomerate_stream_deltas,
    )
    from actloop.values.secrets import Secret as Secret, secret as secret
    from actloop.values.usage import Timing as Timing, TokenUsage as TokenUsage

__version__ = "0.1.0"

_MODULES: dict[str, tuple[str, ...]] = {
    "actloop.agents.base": ("MultiStepAgent",),
    "actloop.agents.code": ("CodeAgent",),
    "actloop.agents.managed": ("ManagedAgent",),
    "actloop.agents.prompting": (
        "EMPTY_PROMPT_TEMPLATES",
        "FinalAnswerPromptTemplate",
        "ManagedAgentPromptTemplate",
        "PlanningPromptTemplate",
        "PromptTemplates",
        "populate_template",
    ),
    "actloop.agents.result": ("RunResult",),
    "actloop.agents.tool_calling": ("ToolCallingAgent",),
    "actloop.errors": (
        "AgentError",
        "AgentExecutionError",
        "AgentGenerationError",
        "AgentInterruptedError",
        "AgentMaxStepsError",
        "AgentParsingError",
        "AgentToolCallError",
        "AgentToolExecutionError",
        "ContextLimitError",
        "InterpreterError",
        "MissingExtraError",
        "ProtocolError",
        "SandboxUnavailableError",
        "UnsupportedError",
    ),
    "actloop.executors.blaxel": ("BlaxelExecutor",),
    "actloop.executors.docker": (
        "DockerExecutor",
        "LocalDockerExecutor",
    ),
    "actloop.executors.e2b": ("E2BExecutor",),
    "actloop.executors.fallback": ("FallbackExecutor",),
    "actloop.executors.local": (
        "CodeOutput",
        "LocalPythonExecutor",
        "LocalPythonInterpreter",
        "PythonExecutor",
        "evaluate_python_code",
    ),
    "actloop.executors.modal": ("ModalExecutor",),
    "actloop.executors.monty": ("MontyExecutor",),
    "actloop.executors.remote": ("RemotePythonExecutor",),
    "actloop.executors.session": (
        "SandboxLimits",
        "Snapshot",
    ),
    "actloop.executors.unsafe": ("UnsafeInProcessExecutor",),
    "actloop.executors.wasm": ("WasmExecutor",),
    "actloop.executors.workspace": (
        "Workspace",
        "WorkspaceFile",
    ),
    "actloop.guest": (
        "Audio",
        "BASE_BUILTIN_MODULES",
        "Opaque",
        "Record",
    ),
    "actloop.hub.client": ("HubError",),
    "actloop.journal": (
        "Journal",
        "MemoryJournal",
        "default_journal",
    ),
    "actloop.mcp.client": ("MCPClient",),
    "actloop.mcp.errors": (
        "MCPConnectionError",
        "MCPTimeoutError",
        "MCPToolError",
    ),
    "actloop.mcp.server": ("serve_agent",),
    "actloop.memory.callbacks": ("CallbackRegistry",),
    "actloop.memory.compaction": ("ContextLimit",),
    "actloop.memory.memory": ("AgentMemory",),
    "actloop.memory.steps": (
        "ActionOutput",
        "ActionStep",
        "FinalAnswerStep",
        "MemoryStep",
        "PlanningStep",
        "SystemPromptStep",
        "TaskStep",
        "ToolCall",
        "ToolOutput",
    ),
    "actloop.models.anthropic": ("AnthropicModel",),
    "actloop.models.azure": (
        "AzureOpenAIModel",
        "AzureOpenAIServerModel",
    ),
    "actloop.models.base": (
        "CODEAGENT_RESPONSE_FORMAT",
        "Model",
        "REMOVE_PARAMETER",
        "parse_json_if_needed",
    ),
    "actloop.models.bedrock": (
        "AmazonBedrockModel",
        "AmazonBedrockServerModel",
    ),
    "actloop.models.conversion": (
        "get_clean_message_list",
        "tool_role_conversions",
    ),
    "actloop.models.fallback": ("FallbackModel",),
    "actloop.models.inference": ("InferenceClientModel",),
    "actloop.models.litellm": (
        "LiteLLMModel",
        "LiteLLMRouterModel",
    ),
    "actloop.models.local": ("LocalModel",),
    "actloop.models.mlx": ("MLXModel",),
    "actloop.models.openai": (
        "ApiModel",
        "OpenAIModel",
        "OpenAIServerModel",
    ),
    "actloop.models.retry": (
        "ModelRequestError",
        "RateLimiter",
        "RetryPolicy",
    ),
    "actloop.models.scripted": ("ScriptedModel",),
    "actloop.models.switch": (
        "allow_real_requests",
        "forbid_real_requests",
    ),
    "actloop.models.transformers": ("TransformersModel",),
    "actloop.models.vllm": ("VLLMModel",),
    "actloop.screens.chat": ("stream_to_gradio",),
    "actloop.screens.gradio": ("GradioUI",),
    "actloop.tools.base": (
        "BaseTool",
        "Tool",
    ),
    "actloop.tools.collection": ("ToolCollection",),
    "actloop.tools.decorator": ("tool",),
    "actloop.tools.default": (
        "PythonInterpreterTool",
        "TOOL_MAPPING",
        "UserInputTool",
    ),
    "actloop.tools.final_answer": ("FinalAnswerTool",),
    "actloop.tools.foreign.gradio": ("GradioTool",),
    "actloop.tools.loading": (
        "launch_gradio_demo",
        "load_tool",
    ),
    "actloop.tools.pipeline": ("PipelineTool",),
    "actloop.tools.speech": ("SpeechToTextTool",),
    "actloop.tools.types": (
        "AgentAudio",
        "AgentImage",
        "AgentText",
        "AgentType",
        "handle_agent_output_types",
    ),
    "actloop.tools.validation": (
        "AUTHORIZED_TYPES",
        "validate_tool_arguments",
    ),
    "actloop.tools.web.fetch": ("Fetcher",),
    "actloop.tools.web.pages": ("VisitWebpageTool",),
    "actloop.tools.web.search": (
        "ApiWebSearchTool",
        "DuckDuckGoSearchTool",
        "GoogleSearchTool",
        "WebSearchTool",
    ),
    "actloop.tools.web.wikipedia": ("WikipediaSearchTool",),
    "actloop.ui.logger": (
        "AgentLogger",
        "LogLevel",
        "Monitor",
    ),
    "actloop.values.messages": (
        "ChatMessage",
        "ChatMessageStreamDelta",
        "ChatMessageToolCall",
        "ChatMessageToolCallFunction",
        "ChatMessageToolCallStreamDelta",
        "MessageRole",
        "agglomerate_stream_deltas",
    ),
    "actloop.values.secrets": (
        "Secret",
        "secret",
    ),
    "actloop.values.usage": (
        "Timing",
        "TokenUsage",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted([*_MODULE_OF, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'actloop' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
