"""The tools that come with the package.

The names of smolagents' module `default_tools`, for programs that import from there; `actloop` has them all.
"""

from actloop import (
    TOOL_MAPPING as TOOL_MAPPING,
    ApiWebSearchTool as ApiWebSearchTool,
    DuckDuckGoSearchTool as DuckDuckGoSearchTool,
    FinalAnswerTool as FinalAnswerTool,
    GoogleSearchTool as GoogleSearchTool,
    PythonInterpreterTool as PythonInterpreterTool,
    SpeechToTextTool as SpeechToTextTool,
    UserInputTool as UserInputTool,
    VisitWebpageTool as VisitWebpageTool,
    WebSearchTool as WebSearchTool,
    WikipediaSearchTool as WikipediaSearchTool,
)
