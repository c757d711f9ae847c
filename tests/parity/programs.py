"""Programs as users of the reference write them: each with the replies of its model and what it prints.

They name the reference's package; the test changes that name and nothing else. `SERVICE` is the address of the service
that replies, `MCP` that of the example server of the MCP tests.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program, its model's replies in their order, and what its output must hold."""

    source: str
    replies: tuple[str, ...] = ()
    prints: tuple[str, ...] = ()
    stdin: str = ""


def code(program: str) -> str:
    return f"Thought: I write it.\n<code>\n{program}\n</code>"


MODEL = """
from smolagents import OpenAIServerModel
model = OpenAIServerModel(model_id="m", api_base=SERVICE, api_key="none")
"""

PROGRAMS: dict[str, Program] = {
    "a first code agent": Program(
        MODEL
        + """
from smolagents import CodeAgent
agent = CodeAgent(tools=[], model=model, additional_authorized_imports=["statistics", "unicodedata"])
print("got", agent.run("What is the median of 3, 9 and 4?"))
print(len(agent.memory.steps), agent.memory.steps[1].code_action.count("median"))
print([message.role.value for message in agent.write_memory_to_messages()][:2])
print(agent.monitor.get_total_token_counts().total_tokens)
""",
        (code("import statistics\nfinal_answer(statistics.median([3, 9, 4]))"),),
        ("got 4", "2 1", "['system', 'user']", "220"),
    ),
    "the base tools": Program(
        MODEL
        + """
from smolagents import CodeAgent, ToolCallingAgent
agent = CodeAgent(tools=[], model=model, add_base_tools=True, verbosity_level=0)
print(sorted(agent.tools))
caller = ToolCallingAgent(tools=[], model=model, add_base_tools=True, verbosity_level=0)
print("python_interpreter" in caller.tools, "python_interpreter" in agent.tools)
print(caller.run("Compute."), agent.prompt_templates["system_prompt"][:3] != "")
""",
        (
            '{"name": "python_interpreter", "arguments": {"code": "print(6 * 7)"}}',
            '{"name": "final_answer", "arguments": {"answer": "42"}}',
        ),
        ("'final_answer'", "'visit_webpage'", "'web_search'", "True False", "42 True"),
    ),
    "two ways to write a tool": Program(
        MODEL
        + '''
from smolagents import CodeAgent, Tool, ToolCallingAgent, tool

@tool
def stock(item: str) -> int:
    """
    Tells how many pieces of an item are in stock.

    Args:
        item: The item's name, such as "desk".
    """
    return {"desk": 4}.get(item, 0)

class Price(Tool):
    name = "price"
    description = "Tells what an item costs."
    inputs = {"item": {"type": "string", "description": "The item's name."}}
    output_type = "number"

    def forward(self, item: str) -> float:
        return 12.5

agent = CodeAgent(tools=[stock, Price()], model=model, verbosity_level=0)
print("value", agent.run("What is the stock worth?"))
caller = ToolCallingAgent(tools=[stock], model=model, verbosity_level=0)
caller.tools["price"] = Price()
print("caller", caller.run("And now?"), caller.memory.steps[1].tool_calls[0].name)
print(stock("desk"), stock(item="desk"), Price()("desk"))
''',
        (
            code("final_answer(stock('desk') * price(item='desk'))"),
            '{"name": "price", "arguments": {"item": "desk"}}',
            '{"name": "final_answer", "arguments": {"answer": "12.5"}}',
        ),
        ("value 50.0", "caller 12.5 price", "4 4 12.5"),
    ),
    "questions to a database": Program(
        MODEL
        + '''
import sqlite3
from smolagents import CodeAgent, tool

connection = sqlite3.connect(":memory:")
connection.execute("CREATE TABLE sales (seller TEXT, amount REAL)")
connection.executemany("INSERT INTO sales VALUES (?, ?)", [("Ida", 3.5), ("Bo", 9.25), ("Ida", 7.0)])

@tool
def sql(statement: str) -> str:
    """
    Runs SQL on the table 'sales' and gives its rows as text.

    Args:
        statement: A SELECT statement.
    """
    return "\\n".join(map(str, connection.execute(statement)))

sql.description += " Columns: seller (TEXT), amount (REAL)."
agent = CodeAgent(tools=[sql], model=model, verbosity_level=0)
print("best", agent.run("Who sold the most?"))
''',
        (
            code("print(sql('SELECT seller, sum(amount) FROM sales GROUP BY seller ORDER BY 2 DESC'))"),
            code("final_answer('Ida')"),
        ),
        ("best Ida",),
    ),
    "a search in documents": Program(
        MODEL
        + """
from smolagents import CodeAgent, Tool

class Finder(Tool):
    name = "finder"
    description = "Finds the paragraphs that fit a query."
    inputs = {"query": {"type": "string", "description": "What to look for."}}
    output_type = "string"

    def __init__(self, paragraphs, **kwargs):
        super().__init__(**kwargs)
        self.paragraphs = paragraphs

    def forward(self, query: str) -> str:
        words = set(query.lower().split())
        return "\\n".join(p for p in self.paragraphs if words & set(p.lower().split()))

finder = Finder(["A backward pass costs about twice a forward pass.", "Bees dance."])
agent = CodeAgent(tools=[finder], model=model, max_steps=4, verbosity_level=0, stream_outputs=True)
print("found", agent.run("Which pass is slower?"))
""",
        (code("print(finder('slower backward pass'))"), code("final_answer('backward')")),
        ("found backward",),
    ),
    "agents for agents": Program(
        MODEL
        + '''
from smolagents import CodeAgent, ToolCallingAgent, tool

@tool
def page(address: str) -> str:
    """Gives the text of a page.

    Args:
        address: Where it is.
    """
    return f"{address}: 48 people"

searcher = ToolCallingAgent(
    tools=[page], model=model, max_steps=10, name="searcher", description="Reads pages for you.",
    provide_run_summary=True, verbosity_level=0,
)
manager = CodeAgent(tools=[], model=model, managed_agents=[searcher], planning_interval=4, verbosity_level=0,
                    additional_authorized_imports=["time", "datetime"])
result = manager.run("How many people?", return_full_result=True)
print("answer", result.output, result.state, result.token_usage.total_tokens, len(result.steps))
manager.visualize()
''',
        (
            "1. Ask the searcher.\n2. Answer.",
            code("print(searcher(task='Count the people at a.example.'))"),
            '{"name": "page", "arguments": {"address": "a.example"}}',
            '{"name": "final_answer", "arguments": {"answer": "48"}}',
            code("final_answer(48)"),
        ),
        ("answer 48 success 1100 4", "searcher"),
    ),
    "a wrapped agent of the production guide": Program(
        MODEL
        + """
from smolagents import CodeAgent, ManagedAgent
coder = CodeAgent(tools=[], model=model, verbosity_level=0)
orchestrator = CodeAgent(
    tools=[ManagedAgent(coder, name="coder", description="Writes and runs Python.")], model=model, verbosity_level=0)
print("done", orchestrator.run("Have it computed."))
""",
        (code("final_answer(coder(task='2 ** 10'))"), code("final_answer(2 ** 10)")),
        ("done", "1024"),
    ),
    "steps as they come": Program(
        MODEL
        + """
from smolagents import ActionStep, CodeAgent, FinalAnswerStep
from smolagents.agents import ActionOutput
from smolagents.models import ChatMessageStreamDelta
agent = CodeAgent(tools=[], model=model, stream_outputs=True, verbosity_level=0)
kinds = []
for item in agent.run("Count.", stream=True):
    kinds.append(type(item).__name__)
    if isinstance(item, ActionStep):
        print("step", item.step_number, item.error, item.timing.duration is not None)
    if isinstance(item, FinalAnswerStep):
        print("final", item.output)
print({ChatMessageStreamDelta.__name__, ActionOutput.__name__, "ToolCall"} <= set(kinds))
""",
        (code("x = 1"), code("final_answer(x)")),
        ("step 1 None True", "step 2 None True", "final 1", "True"),
    ),
    "a conversation with values": Program(
        MODEL
        + """
from smolagents import CodeAgent
agent = CodeAgent(tools=[], model=model, verbosity_level=0)
print(agent.run("Add them.", additional_args={"numbers": [1, 2, 3]}))
print(agent.run("Double that.", reset=False), agent.python_executor.state["total"])
agent.memory.reset()
print(agent.run("Forget.", reset=False, max_steps=1), len(agent.memory.steps))
agent.replay()
""",
        (
            code("total = sum(numbers)\nfinal_answer(total)"),
            code("final_answer(2 * total)"),
            code("final_answer('forgot')"),
        ),
        ("6\n", "12 6", "forgot 2"),
    ),
    "memory that is changed on its way": Program(
        MODEL
        + """
from smolagents import ActionStep, CodeAgent, TaskStep
from PIL import Image

def picture(memory_step: ActionStep, agent: CodeAgent) -> None:
    for step in agent.memory.steps:
        if isinstance(step, ActionStep) and step.step_number <= memory_step.step_number - 2:
            step.observations_images = None
    memory_step.observations_images = [Image.new("RGB", (8, 8)).copy()]

agent = CodeAgent(tools=[], model=model, step_callbacks=[picture], verbosity_level=0, instructions="Be brief.")
agent.run("Look around.")
print([len(s.observations_images or []) for s in agent.memory.steps if isinstance(s, ActionStep)])
print("Be brief." in agent.memory.system_prompt.system_prompt, agent.memory.get_succinct_steps()[0]["task"])
agent.memory.steps.append(TaskStep(task="Another task.", task_images=[]))
final_answer = None
number = 1
while final_answer is None and number <= 3:
    memory_step = ActionStep(step_number=number, observations_images=[])
    final_answer = agent.step(memory_step)
    agent.memory.steps.append(memory_step)
    number += 1
print("by hand", final_answer)
""",
        (code("x = 1"), code("x = 2"), code("final_answer(x)"), code("y = 5"), code("final_answer(y)")),
        ("[0, 1, 1]", "True Look around.", "by hand 5"),
    ),
    "a plan that a person approves": Program(
        MODEL
        + """
from smolagents import CodeAgent, PlanningStep

def approve(step: PlanningStep, agent: CodeAgent) -> None:
    print("PLAN", step.plan.splitlines()[-2])
    if input("Approve? ") == "edit":
        step.plan = input("New plan: ")
    else:
        agent.interrupt()

agent = CodeAgent(tools=[], model=model, planning_interval=2, step_callbacks={PlanningStep: approve},
                  verbosity_level=0, max_steps=6)
try:
    agent.run("Write a poem.")
except Exception as error:
    print("stopped:", type(error).__mro__[1].__name__, len(agent.memory.steps))
agent.step_callbacks = type(agent.step_callbacks)()
print("then", agent.run("Write a poem.", reset=False))
""",
        ("1. Rhyme.", code("x = 1"), code("x = 2"), "2. Stop.", "3. Go on.", code("final_answer('poem')")),
        ("1. Rhyme.", "stopped: AgentError 5", "then poem"),
        stdin="edit\nUse no rhyme.\nno\n",
    ),
    "answers that are checked": Program(
        MODEL
        + """
from smolagents import CodeAgent

def is_long(final_answer, agent_memory, agent=None):
    return len(final_answer) > 3

def has_steps(final_answer, agent_memory, agent=None):
    return len(agent_memory.steps) > 1

agent = CodeAgent(tools=[], model=model, final_answer_checks=[is_long, has_steps], verbosity_level=0,
                  use_structured_outputs_internally=True)
print("checked", agent.run("Tell."), agent.memory.steps[1].error is not None)
""",
        (
            '{"thought": "short", "code": "final_answer(\'abc\')"}',
            '{"thought": "longer", "code": "final_answer(\'abcdef\')"}',
        ),
        ("checked abcdef True",),
    ),
    "models asked without an agent": Program(
        """
from smolagents import ChatMessage, InferenceClientModel, MessageRole, OpenAIModel
messages = [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}]
model = OpenAIModel("m", api_base=SERVICE, api_key="none", temperature=0.5, max_tokens=50)
print(model(messages, stop_sequences=["great"]).content)
print(model.generate([ChatMessage(role=MessageRole.USER, content="Hi")]).token_usage.input_tokens)
print("".join(delta.content or "" for delta in model.generate_stream(messages)))
other = InferenceClientModel(base_url=SERVICE, api_key="none", timeout=30)
print(other(messages, stop_sequences=["END"]).content)
print(sorted(OpenAIModel.from_dict({**model.to_dict(), "api_key": "none"}).to_dict())[:2])
""",
        ("one great two", "two", "three", "four END five"),
        ("one \n", "200", "three", "four \n", "['api_base', "),
    ),
    "a model of ones own": Program(
        """
import json, urllib.request
from smolagents import CodeAgent, Model
from smolagents.models import ChatMessage, MessageRole, TokenUsage

class Mine(Model):
    def generate(self, messages, stop_sequences=None, response_format=None, tools_to_call_from=None, **kwargs):
        request = self._prepare_completion_kwargs(
            messages=messages, stop_sequences=stop_sequences, response_format=response_format,
            tools_to_call_from=tools_to_call_from, model=self.model_id, flatten_messages_as_text=True, **kwargs)
        asked = urllib.request.Request(SERVICE + "/chat/completions", json.dumps(request).encode())
        with urllib.request.urlopen(asked) as response:
            reply = json.loads(response.read())
        return ChatMessage(role=MessageRole.ASSISTANT, content=reply["choices"][0]["message"]["content"],
                           raw=reply, token_usage=TokenUsage(**{"input_tokens": 7, "output_tokens": 1}))

agent = CodeAgent(tools=[], model=Mine(model_id="mine", temperature=0.1), verbosity_level=1)
print("mine", agent.run("Go."), agent.monitor.get_total_token_counts())
""",
        (code("final_answer('works')"),),
        ("mine works", "total_tokens=8"),
    ),
    "tools of an MCP server": Program(
        MODEL
        + """
import sys
from mcp import StdioServerParameters
from smolagents import CodeAgent, ToolCollection
from smolagents.mcp_client import MCPClient

server = StdioServerParameters(command=sys.executable, args=[MCP, "stdio"])
with ToolCollection.from_mcp(server, trust_remote_code=True, structured_output=False) as collection:
    agent = CodeAgent(tools=[*collection.tools], model=model, verbosity_level=0)
    print("collected", agent.run("Add."))
with MCPClient(server, structured_output=True) as tools:
    agent = CodeAgent(tools=[*tools], model=model, verbosity_level=0)
    print("client", agent.run("Add."))
""",
        (code("final_answer(add(a=2, b=3))"), code("final_answer(add(a=20, b=3))")),
        ("collected 5", "client {'result': 23}"),
    ),
    "a web service": Program(
        MODEL
        + """
import anyio, asyncio
from smolagents import CodeAgent
agents = [CodeAgent(tools=[], model=model, verbosity_level=0) for _ in range(2)]

async def handle(agent, task):
    return await anyio.to_thread.run_sync(agent.run, task)

async def main():
    return await asyncio.gather(*[handle(agent, "Go.") for agent in agents])

print("served", asyncio.run(main()))
""",
        (code("final_answer(1)"), code("final_answer(1)")),
        ("served [1, 1]",),
    ),
    "an agent that is saved": Program(
        MODEL
        + '''
from smolagents import CodeAgent, tool

@tool
def shout(text: str) -> str:
    """Shouts.

    Args:
        text: What.
    """
    return text.upper()

agent = CodeAgent(tools=[shout], model=model, name="shouter", description="Shouts.", max_steps=3, verbosity_level=0)
agent.save("saved")
loaded = CodeAgent.from_folder("saved", model=model, trust_remote_code=True)
print(loaded.name, loaded.max_steps, sorted(loaded.tools), loaded.run("Shout."))
''',
        (code("final_answer(shout('hey'))"),),
        ("shouter 3 ['final_answer', 'shout'] HEY",),
    ),
    "the web page": Program(
        MODEL
        + """
import urllib.request
from smolagents import CodeAgent, GradioUI
agent = CodeAgent(tools=[], model=model, name="helper", description="Helps.", verbosity_level=0)
page = GradioUI(agent, file_upload_folder="uploads", reset_agent_memory=True)
launched = page.launch(share=False, prevent_thread_lock=True, quiet=True)
print(page.name, page.description)
""",
        (),
        ("helper Helps.",),
    ),
    "programs without an agent": Program(
        """
from smolagents.local_python_executor import LocalPythonExecutor, evaluate_python_code
from smolagents.default_tools import FinalAnswerTool, PythonInterpreterTool
executor = LocalPythonExecutor(additional_authorized_imports=["json"])
executor.send_tools({"double": lambda x: 2 * x})
executor.send_variables({"n": 21})
output = executor("import json\\nprint('printed')\\njson.dumps(double(n))")
print(output.output, output.logs.strip(), output.is_final_answer, executor.state["n"])
try:
    executor("import subprocess")
except Exception as error:
    print(type(error).__name__)
print(evaluate_python_code("x = 3\\nx + add(1)", {"add": lambda a: a + 1}, state={}))
from smolagents.local_python_executor import BASE_PYTHON_TOOLS
state = {"n": 3}
lengths = "print(sqrt(16))\\n[len(str(i)) for i in range(n)]"
print(evaluate_python_code(lengths, BASE_PYTHON_TOOLS, state=state), state["_print_outputs"])
print("3" in PythonInterpreterTool(authorized_imports=["math"])("1 + 2"), FinalAnswerTool()("x"))
""",
        (),
        ("42 printed False 21", "InterpreterError", "(5, False)", "([1, 1, 1], False) 4.0", "True x"),
    ),
}
