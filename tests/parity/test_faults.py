"""Faults of the reference that must not return: for each a test that fails where the fault is.

Those that other tests cover:

    max_steps=0 is ignored              tests/agents/test_run.py::test_no_steps_allowed_asks_for_an_answer_at_once
                                        tests/agents/tool_calling/test_answers.py::test_max_steps_of_zero_asks_at_once
    reset=True keeps variables          tests/agents/test_run.py::test_reset_gives_a_fresh_sandbox_and_continuing_keeps_it
    shared agents mix answers up        tests/agents/test_shared.py::test_twenty_threads
    a failing final_answer is a list    tests/agents/tool_calling/test_answers.py::test_a_failing_final_answer_is_an_error_and_no_answer
    closing a stream early raises       tests/agents/test_run.py::test_a_stream_closed_early_ends_the_run_quietly
    each delta is rendered anew         tests/screens/test_chat.py::test_a_streamed_reply_costs_linear_work
    each step stores its input          tests/memory/test_memory.py::test_input_messages_are_computed_and_not_stored
    messages are copied for each call   tests/memory/test_memory.py::test_messages_of_earlier_steps_are_reused
    to_dict drops settings              tests/agents/test_saving.py::test_every_argument_of_an_agent_survives
    totals leave sub-agents out         tests/agents/test_managed.py::test_its_tokens_are_counted_into_the_managers
    a tag in a string cuts the program  tests/agents/test_run.py::test_a_closing_tag_inside_a_string_does_not_cut_the_program
                                        tests/loop/test_parsing.py::test_a_closing_mark_inside_a_string_closes_nothing
    other fences and prose are refused  tests/loop/test_parsing.py::test_other_forms
    the most similar name is taken      tests/executors/test_guest_python.py::test_errors_come_with_a_hint
    exceptions as control flow          tests/executors/test_guest_python.py::test_features_work_as_in_cpython
    builtins shadow tools               tests/tools/test_tutorials.py::test_a_tool_of_any_name_is_called
    the time-out waits for the end      tests/executors/test_session.py::test_time_is_up_in_code_written_in_c
    "429" anywhere is a rate limit      tests/models/test_openai.py::test_what_cannot_succeed_is_not_tried_again
    the first wait is two minutes       tests/models/test_retry.py::test_waits_grow_from_a_small_one_and_are_bounded
    missing usage raises                tests/models/test_openai.py::test_missing_usage_is_none
    loading runs code unasked           tests/agents/saving/test_consent.py::test_no_code_runs_without_consent
    one agent for all visitors          tests/screens/test_page.py::test_two_visitors_at_once_do_not_mix
    public sharing by default           tests/screens/test_chat.py::test_the_page_is_served_on_this_machine_and_not_shared
    uploads of one name overwrite       tests/screens/test_chat.py::test_uploads_of_one_name_are_all_kept
    the list of file types is not asked tests/screens/test_chat.py::test_uploads_are_checked_by_type_content_and_size
    pages at internal addresses         tests/tools/web/test_pages.py::test_internal_addresses_are_refused_in_a_sentence
    XPath of joined texts               tests/screens/test_browser.py::test_elements_are_clicked_by_number_by_words_and_by_role
    the host unpickles                  tests/executors/codec/test_hostile.py::test_malformed_values_raise_only_wire_errors

Of the executors' faults those of remote ones come with these; what a tool, an MCP tool and a managed agent are inside a
sandbox is in `test_behaviours.py`.
"""  # noqa: E501

from __future__ import annotations

import threading
from typing import Any

import pytest
from PIL import Image

from actloop import (
    ActionStep,
    AgentGenerationError,
    ChatMessage,
    CodeAgent,
    MessageRole,
    Model,
    OpenAIModel,
    ScriptedModel,
    TokenUsage,
    ToolCallingAgent,
    tool,
)

from ..models.conftest import Service, completion, status
from .listed import missing

QUIET: dict[str, Any] = {"verbosity_level": 0, "journal": None}


def code(program: str) -> str:
    return f"<code>\n{program}\n</code>"


def answered_by(program: str) -> Any:
    """The answer of an agent whose only step is this program."""
    with CodeAgent([], ScriptedModel([code(program), code("final_answer('it failed')")]), **QUIET) as agent:
        return agent.run("Go.")


def test_the_tests_that_the_table_names_exist() -> None:
    assert missing(__doc__ or "") == []


# The loop


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_an_image_of_the_task_is_sent_once_in_each_request(kind: type[CodeAgent | ToolCallingAgent]) -> None:
    """There it is added again at every step."""
    call = '{"name": "look", "arguments": {}}'
    ended = '{"name": "final_answer", "arguments": {"answer": 1}}'
    replies = (
        [call, call, call, ended] if kind is ToolCallingAgent else [code("look()")] * 3 + [code("final_answer(1)")]
    )

    @tool
    def look() -> str:
        """Looks again."""
        return "as before"

    model = ScriptedModel(replies)
    agent = kind([look], model, **QUIET)
    agent.run("Describe it.", images=[Image.new("RGB", (2, 2))])
    agent.cleanup()
    counts = [
        sum(part["type"] == "image" for m in request.messages if isinstance(m.content, list) for part in m.content)
        for request in model.requests
    ]
    assert counts == [1, 1, 1, 1]


def test_the_limit_of_steps_is_the_one_of_the_run() -> None:
    model = ScriptedModel(["in prose"])
    with CodeAgent([], model, max_steps=7, **QUIET) as agent:
        assert agent.run("Go.", max_steps=0) == "in prose"
    assert len(model.requests) == 1


def test_state_of_one_run_is_no_state_of_the_next() -> None:
    """There extra variables and the executor's outlive a reset."""
    programs = ["mine = secret", "final_answer([name for name in ('secret', 'mine') if name in globals()])"]
    with CodeAgent(
        [], ScriptedModel([code(programs[0]), code("final_answer(1)"), code(programs[1])]), **QUIET
    ) as agent:
        agent.run("Go.", additional_args={"secret": 5})
        assert agent.run("Again.") == []
        assert agent.state == {}


def test_closing_a_stream_between_any_two_items_is_quiet() -> None:
    model = ScriptedModel([code("x = 1"), code("final_answer(x)")] * 20)
    with CodeAgent([], model, stream_outputs=True, **QUIET) as agent:
        for items in range(1, 12):
            stream = agent.run("Go.", stream=True)
            for _ in range(items):
                next(stream)
            stream.close()


def test_a_steps_input_is_not_stored_with_it() -> None:
    """There memory grows with the square of the steps."""
    with CodeAgent([], ScriptedModel([code("x = 1")] * 30 + [code("final_answer(1)")]), max_steps=40, **QUIET) as agent:
        agent.run("Go.")
        steps = [step for step in agent.memory.steps if isinstance(step, ActionStep)]
    held: list[list[Any]] = [value for step in steps for value in vars(step).values() if isinstance(value, list)]
    assert not any(isinstance(item, ChatMessage) for value in held for item in value)
    assert len(steps[-1].model_input_messages or ()) > len(steps[0].model_input_messages or ())


def test_a_managers_full_result_counts_the_agents_it_called() -> None:
    def counted(text: str) -> ChatMessage:
        return ChatMessage(MessageRole.ASSISTANT, text, token_usage=TokenUsage(100, 10))

    helper = CodeAgent([], ScriptedModel([counted(code("final_answer(1)"))] * 2), name="helper", description="Helps.")
    helper.logger.level = -1
    manager_model = ScriptedModel([counted(code("final_answer([helper('a'), helper('b')])"))])
    with CodeAgent([], manager_model, managed_agents=[helper], **QUIET) as manager, helper:
        usage = manager.run("Go.", return_full_result=True).token_usage
    assert (usage.input_tokens, usage.output_tokens) == (300, 30)


# Parsing


@pytest.mark.parametrize(
    "reply",
    [
        "<code>\nfinal_answer('''a </code> b''')\n</code>",
        "<code>\nfinal_answer('''a </code> b''')",
        "Sure.\n```python\nfinal_answer('''a </code> b''')\n```\nThat is all.",
        "```\nfinal_answer('''a </code> b''')\n```",
        "final_answer('''a </code> b''')",
        "Thought: easy\nCode:\n```py\nfinal_answer('''a </code> b''')\n```<end_code>",
    ],
)
def test_a_program_whose_meaning_is_plain_runs(reply: str) -> None:
    with CodeAgent([], ScriptedModel([reply], obey_stops=False), max_steps=1, **QUIET) as agent:
        assert agent.run("Go.") == "a </code> b"


# The interpreter


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ("total = 5\nfinal_answer(totl)", "it failed"),
        ("count += 1\nfinal_answer(count)", "it failed"),
        (
            """
def f():
    for n in range(3):
        try:
            if n == 1:
                return 'returned'
        except Exception:
            pass
final_answer(f())""",
            "returned",
        ),
        (
            """
seen = []
for n in range(5):
    try:
        if n == 1: continue
        if n == 3: break
    except Exception: pass
    seen.append(n)
else:
    seen.append('else')
final_answer(seen)""",
            [0, 2],
        ),
        ("for n in []:\n    pass\nelse:\n    final_answer('else')", "else"),
        ("class A:\n    @property\n    def x(self): return 7\nfinal_answer(A().x)", 7),
        ("def twice(f):\n    return lambda: 2 * f()\n@twice\ndef one(): return 1\nfinal_answer(one())", 2),
        ("final_answer(f'{\"a\"!r:>5}')", "  'a'"),
        ("def g():\n    yield 1\n    yield from (2, 3)\nfinal_answer(list(g()))", [1, 2, 3]),
        ("final_answer([y for x in range(4) if (y := x * x) > 1])", [4, 9]),
        ("match {'a': [1, 2]}:\n    case {'a': [first, *_]}:\n        final_answer(first)", 1),
        ("n = 1\ndef f():\n    global n\n    n = 2\nf()\nfinal_answer(n)", 2),
        (
            """
def f():
    n = 1
    def g():
        nonlocal n
        n += 1
    g()
    return n
final_answer(f())""",
            2,
        ),
        ("import asyncio\nasync def f(): return 3\nfinal_answer(asyncio.run(f()))", 3),
        ("class M:\n    def __matmul__(self, other): return 'product'\nfinal_answer(M() @ M())", "product"),
        ("d = {'a': 1}\nfinal_answer({**d, 'b': 2})", {"a": 1, "b": 2}),
    ],
)
def test_programs_mean_what_they_mean_in_python(program: str, answer: Any) -> None:
    assert answered_by(program) == answer


def test_print_with_a_separator() -> None:
    with CodeAgent(
        [], ScriptedModel([code("print(1, 2, sep='-', end='!')"), code("final_answer(0)")]), **QUIET
    ) as agent:
        agent.run("Go.")
        step = agent.memory.steps[1]
    assert isinstance(step, ActionStep)
    assert step.observations == "1-2!"


def test_a_tool_named_like_a_builtin_is_called() -> None:
    @tool
    def sum(values: list[int]) -> str:
        """Adds in its own way.

        Args:
            values: What to add.
        """
        return f"added {len(values)}"

    with CodeAgent([sum], ScriptedModel([code("final_answer(sum([1, 2]))")]), **QUIET) as agent:
        assert agent.run("Go.") == "added 2"


def test_a_program_that_never_ends_leaves_no_thread() -> None:
    """There the time-out is a thread that goes on."""
    before = threading.active_count()
    model = ScriptedModel([code("while True:\n    pass"), code("final_answer(1)")])
    with CodeAgent([], model, executor_kwargs={"timeout_seconds": 0.3}, **QUIET) as agent:
        assert agent.run("Go.") == 1
    assert threading.active_count() <= before + 1  # the one that waits for sandboxes to be ready


@pytest.mark.parametrize(
    "program",
    [
        "from random import _os\nfinal_answer(_os.system('true'))",
        """
class Grab:
    def __radd__(self, other):
        Grab.got = other
        return other
def f(): pass
try: f.__globals__ += Grab()
except Exception: pass
final_answer(Grab.got['__builtins__']['__import__']('os').environ['ACTLOOP_TEST_SECRET'])""",
        "import random\nfinal_answer(random._os.environ['ACTLOOP_TEST_SECRET'])",
        """
classes = (1).__class__.__base__.__subclasses__()
module = [c for c in classes if c.__name__ == '_wrap_close'][0].__init__.__globals__
final_answer(module['environ']['ACTLOOP_TEST_SECRET'])""",
        "final_answer('{0.__class__.__init__.__globals__[environ]}'.format(open))",
        "final_answer(open('/etc/passwd').read())",
        "import subprocess\nfinal_answer(subprocess.run(['id'], capture_output=True).stdout.decode())",
    ],
)
def test_ways_out_of_the_references_interpreter_lead_nowhere(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Families of its security record. `random._os` may be reached here: it is that of an empty sandbox."""
    monkeypatch.setenv("ACTLOOP_TEST_SECRET", "host secret")
    answer = answered_by(program)
    assert answer == "it failed" or (isinstance(answer, int) and answer != 0)


# Models


def test_a_number_in_a_text_is_no_rate_limit(service: Service) -> None:
    """There "429" anywhere in a message means two minutes of waiting, and another try."""
    service.answers = [status(400, {"error": {"message": "the prompt has 429 tokens too many"}})]
    agent = CodeAgent([], OpenAIModel("m", service.url, "k"), **QUIET)
    with pytest.raises(AgentGenerationError, match="429 tokens too many"):
        agent.run("Go.")
    assert len(service.requests) == 1


def test_a_reply_without_usage_counts_as_unknown(service: Service) -> None:
    service.answers = [completion(code("final_answer(1)"), usage=None)]
    with CodeAgent([], OpenAIModel("m", service.url, "k"), **QUIET) as agent:
        result = agent.run("Go.", return_full_result=True)
    assert result.output == 1
    assert result.token_usage is None


def test_a_model_without_usage_does_not_disturb_a_managers_count() -> None:
    class Silent(Model):
        def generate(self, *args: Any, **kwargs: Any) -> ChatMessage:
            return ChatMessage(MessageRole.ASSISTANT, code("final_answer(2)"))

    with CodeAgent([], Silent(), **QUIET) as agent:
        assert agent.run("Go.", return_full_result=True).token_usage is None
        assert agent.monitor.get_total_token_counts().total_tokens == 0


# Executors


def test_arguments_of_tools_arrive_whole_in_the_sandbox_and_out_of_it() -> None:
    """There a tool inside a remote executor loses what it was constructed with, and its defaults."""

    @tool
    def note(text: str, tags: list[str] | None = None, *, times: int = 2) -> str:
        """Notes a text.

        Args:
            text: What.
            tags: Under which heads.
            times: How often.
        """
        return f"{prefix}{text} {tags} {times}"

    prefix = "kept on the host: "
    program = "final_answer([note('a'), note('b', ['x'], times=3), note(tags=['y'], text='c')])"
    with CodeAgent([note], ScriptedModel([code(program)]), **QUIET) as agent:
        assert agent.run("Go.") == [f"{prefix}a None 2", f"{prefix}b ['x'] 3", f"{prefix}c ['y'] 2"]
