"""Text, images and audio as agents return them.

The names of smolagents' module `agent_types`, for programs that import from there; `actloop` has them all.
"""

from actloop import (
    AgentAudio as AgentAudio,
    AgentImage as AgentImage,
    AgentText as AgentText,
    AgentType as AgentType,
    handle_agent_output_types as handle_agent_output_types,
)
