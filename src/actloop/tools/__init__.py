"""Tools: functions on the host that an agent may call.

The names that smolagents has in its module `tools` can be imported from here, too; `actloop` has them all.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actloop import (
        AUTHORIZED_TYPES as AUTHORIZED_TYPES,
        BaseTool as BaseTool,
        GradioTool as GradioTool,
        PipelineTool as PipelineTool,
        Tool as Tool,
        ToolCollection as ToolCollection,
        launch_gradio_demo as launch_gradio_demo,
        load_tool as load_tool,
        tool as tool,
        validate_tool_arguments as validate_tool_arguments,
    )
else:

    def __getattr__(name: str) -> object:
        import actloop

        if name not in actloop.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(actloop, name)
