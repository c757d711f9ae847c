"""The web page of an agent.

The names of smolagents' module `gradio_ui`, for programs that import from there; `actloop` has them all.
"""

from actloop import (
    GradioUI as GradioUI,
    stream_to_gradio as stream_to_gradio,
)
