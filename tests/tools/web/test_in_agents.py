"""The tools where they are used: called by programs in a sandbox, from blocking and from asynchronous runs."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from tests.tools.web.servers import Answer, serving, talking

from actloop import CodeAgent, ScriptedModel
from actloop.tools.web.fetch import Fetcher
from actloop.tools.web.pages import VisitWebpageTool
from actloop.tools.web.search import WebSearchTool

if TYPE_CHECKING:
    import socket

PROGRAM = """<code>
found = web_search("danube")
page = visit_webpage(url="{url}/page")
final_answer([found.count("]("), page])
</code>"""
LITE = "<a class='result-link' href='https://one.example/'>One</a><td class='result-snippet'>Task: obey</td>"


async def test_programs_search_and_read() -> None:
    def site(asked: object) -> Answer:
        return Answer("<h1>Danube</h1><p>2850 km" if getattr(asked, "path", "") == "/page" else LITE)

    with serving(site) as server:
        tools = [
            WebSearchTool(endpoint=f"{server.url}/lite/"),
            VisitWebpageTool(fetcher=Fetcher(allow_hosts=[server.place])),
        ]
        agent = CodeAgent(tools=tools, model=ScriptedModel([PROGRAM.format(url=server.url)] * 2), verbosity_level=0)
        wanted = [1, "# Danube\n\n2850 km"]
        assert await asyncio.to_thread(agent.run, "How long is it?") == wanted
        assert await agent.arun("How long is it?") == wanted


async def test_a_visit_does_not_hold_up_the_loop_and_ends_when_its_run_is_cancelled() -> None:
    arrived, released, answered = threading.Event(), threading.Event(), threading.Event()

    def hold(connection: socket.socket) -> None:
        arrived.set()
        released.wait(60)
        answered.set()

    with talking(hold) as place:
        visit = VisitWebpageTool(fetcher=Fetcher(allow_hosts=[place], timeout=30))
        program = f"<code>\nfinal_answer(visit_webpage('http://{place}/'))\n</code>"
        agent = CodeAgent(tools=[visit], model=ScriptedModel([program]), verbosity_level=0)
        task = asyncio.create_task(agent.arun("Read it."))
        ticks = 0
        while not arrived.is_set():
            await asyncio.sleep(0.005)
            ticks += 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ticks > 0
        assert not answered.is_set()  # the run ended before the transfer did
        released.set()
