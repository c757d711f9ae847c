"""What a run remembers: its steps, folded from events, and the messages that a model is shown of them.

The names that smolagents has in its module `memory` can be imported from here, too; `actloop` has them all.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actloop import (
        ActionOutput as ActionOutput,
        ActionStep as ActionStep,
        AgentMemory as AgentMemory,
        CallbackRegistry as CallbackRegistry,
        FinalAnswerStep as FinalAnswerStep,
        MemoryStep as MemoryStep,
        PlanningStep as PlanningStep,
        SystemPromptStep as SystemPromptStep,
        TaskStep as TaskStep,
        ToolCall as ToolCall,
        ToolOutput as ToolOutput,
    )
else:

    def __getattr__(name: str) -> object:
        import actloop

        if name not in actloop.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(actloop, name)
