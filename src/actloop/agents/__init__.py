"""Agents: reusable definitions that users run.

The names that smolagents has in its module `agents` can be imported from here, too; `actloop` has them all.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actloop import (
        BASE_BUILTIN_MODULES as BASE_BUILTIN_MODULES,
        CODEAGENT_RESPONSE_FORMAT as CODEAGENT_RESPONSE_FORMAT,
        EMPTY_PROMPT_TEMPLATES as EMPTY_PROMPT_TEMPLATES,
        TOOL_MAPPING as TOOL_MAPPING,
        ActionOutput as ActionOutput,
        ActionStep as ActionStep,
        CodeAgent as CodeAgent,
        FinalAnswerPromptTemplate as FinalAnswerPromptTemplate,
        FinalAnswerStep as FinalAnswerStep,
        ManagedAgent as ManagedAgent,
        ManagedAgentPromptTemplate as ManagedAgentPromptTemplate,
        MultiStepAgent as MultiStepAgent,
        PlanningPromptTemplate as PlanningPromptTemplate,
        PlanningStep as PlanningStep,
        PromptTemplates as PromptTemplates,
        RunResult as RunResult,
        ToolCall as ToolCall,
        ToolCallingAgent as ToolCallingAgent,
        ToolOutput as ToolOutput,
        populate_template as populate_template,
    )
else:

    def __getattr__(name: str) -> object:
        import actloop

        if name not in actloop.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(actloop, name)
