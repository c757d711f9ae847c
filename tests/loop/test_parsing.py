"""The reply parser: whatever marks the program, its text comes back exactly."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given, strategies as st

from actloop.loop.parsing import Misread, Program, parse_reply
from actloop.loop.wording import same_program

MARKDOWN = ("```python", "```")


def code_of(reply: str, tags: tuple[str, str] = ("<code>", "</code>")) -> str:
    found = parse_reply(reply, tags)
    assert isinstance(found, Program), found
    return found.code


@pytest.mark.parametrize(
    "reply",
    [
        "<code>\nx = 1\nprint(x)\n</code>",
        "Thought: so.\n<code>\nx = 1\nprint(x)\n</code>\nThat is it.",
        "Thought: so.\n<code>\nx = 1\nprint(x)\n",
        "<code>\nx = 1\nprint(x)\n</code",
        "<CODE>x = 1\nprint(x)</CODE>",
        "```python\nx = 1\nprint(x)\n```",
        "```py\nx = 1\nprint(x)\n```",
        "``` python\nx = 1\nprint(x)\n```",
        "```Python\nx = 1\nprint(x)\n```",
        "```{.python}\nx = 1\nprint(x)\n```",
        "```tool_code\nx = 1\nprint(x)\n```",
        "```\nx = 1\nprint(x)\n```",
        "~~~python\nx = 1\nprint(x)\n~~~",
        "````python\nx = 1\nprint(x)\n````",
        "```python\nx = 1\nprint(x)",
        "```python\nx = 1\nprint(x)\n</code>",
        "<code>\nx = 1\nprint(x)\n```",
        "<code>\n```python\nx = 1\nprint(x)\n```\n</code>",
        "1. First:\n   ```python\n   x = 1\n   print(x)\n   ```\n2. Then stop.",
        "- do\n\n    ```python\n    x = 1\n    print(x)\n    ```",
        "I do this:\r\n```python\r\nx = 1\r\nprint(x)\r\n```\r\n",
        "<code>\n    x = 1\n    print(x)\n</code>",
        "```python\n>>> x = 1\n>>> print(x)\n1\n```",
        "Thought: so.\nCode:\n```py\nx = 1\nprint(x)\n```<end_code>",
        "```python\nx = 1\nprint(x)<end_code>",
        "x = 1\nprint(x)",
        "Thought: I do it.\nx = 1\nprint(x)",
        "Thought: I do it.\nCode:\nx = 1\nprint(x)\n\nThis prints the number.",
        "<think>Maybe\n```python\nprint('no')\n```\n</think>\n<code>\nx = 1\nprint(x)\n</code>",
        "I wonder ... </think>\n<code>\nx = 1\nprint(x)\n</code>",
        "I put it between <code> and </code> as told.\n<code>\nx = 1\nprint(x)\n</code>",
        '{"thought": "so", "code": "x = 1\\nprint(x)"}',
        '```json\n{"thought": "so", "code": "x = 1\\nprint(x)"}\n```',
        '{"code": "```python\\nx = 1\\nprint(x)\\n```"}',
        '<tool_call>{"name": "python_interpreter", "arguments": {"code": "x = 1\\nprint(x)"}}</tool_call>',
        "[PYTHON]\nx = 1\nprint(x)\n[/PYTHON]",
        "<code>\nx\u00a0=\u00a01\nprint(x)\n</code>",
        "<code>\nx = 1\nprint(x)\n</code>\nObservation: 1\nThought: done\n<code>\nfinal_answer(2)\n</code>",
        "```python\nx = 1\nprint(x)\n```\nOutput:\n```\n1\n```",
        "```bash\npip install x\n```\n```python\nx = 1\nprint(x)\n```\n```json\n{}\n```",
        "A draft:\n```python\nx = 1\n```\nThe program:\n```python\nx = 1\nprint(x)\n```",
    ],
)
def test_the_program_is_found(reply: str) -> None:
    for tags in (("<code>", "</code>"), MARKDOWN, ("<run>", "</run>")):
        assert same_program(code_of(reply, tags), "x = 1\nprint(x)"), tags


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ('{"name": "final_answer", "arguments": {"answer": 5}}', "final_answer(5)"),
        ('```json\n{"name": "final_answer", "arguments": {"answer": "a\\"b"}}\n```', "final_answer('a\"b')"),
        ('Action:\n{"name": "get", "arguments": {"city": "Bonn", "days": null}}', "get(city='Bonn', days=None)"),
        ('<tool_call>\n{"name": "get", "arguments": {"a": true}}\n</tool_call>', "get(a=True)"),
        ('{"name": "get", "arguments": "{\\"a\\": [1.5]}"}', "get(a=[1.5])"),
        ('{"function": {"name": "get", "arguments": {"a": 1}}}', "get(a=1)"),
        ('[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {"x": 1}}]', "print(f())\nprint(g(x=1))"),
        ("Action: search\nAction Input: cheap flights\nObservation: none", "search('cheap flights')"),
        ('Action: search\nAction Input: {"query": "flights"}', "search(query='flights')"),
        ('{"answer": 42}', "final_answer(42)"),
        ("```final_answer(5)```", "final_answer(5)"),
        ("```python final_answer(5)```", "final_answer(5)"),
        ("```python\na = 1\n```\nThen:\n```python\nb = a\n```", "a = 1\nb = a"),
        ("<code>\nprint('a')\n\n    </code>", "print('a')"),
        ("<code>\nif a &lt; b:\n    print(1)\n</code>", "if a < b:\n    print(1)"),
        ("<code>\nprint(\u201chi\u201d)\n</code>", "print('hi')"),
        ("<code>\nprint('\u201chi\u201d')\n</code>", "print('\u201chi\u201d')"),
        ("<code>\nx = 1  # not </code> yet\nprint(x)\n</code>", "x = 1\nprint(x)"),
        ("<code>x = 1 # done</code>", "x = 1"),
        ("<code>x = 1 # done</code>\nThen I stop.\n<code>print(x)</code>", "x = 1\nprint(x)"),
    ],
)
def test_other_forms(reply: str, code: str) -> None:
    assert same_program(code_of(reply), code)


def test_the_thought_is_what_comes_before() -> None:
    found = parse_reply("**Thought:** I add.\n\nCode:\n```python\nprint(1 + 1)\n```")
    assert found == Program("print(1 + 1)", "I add.")


@pytest.mark.parametrize(
    "code",
    [
        "print('</code>')",
        'page = """\n</code>\n```\n"""\nprint(page)',
        "text = '''\n```python\nx\n```\n'''\nfinal_answer(text)",
        'f = f"{1}</code>```"',
        "r'\\</code>'",
        "'''\n~~~\nObservation: no\n'''.strip()",
    ],
)
def test_a_closing_mark_inside_a_string_closes_nothing(code: str) -> None:
    assert code_of(f"Thought: so.\n<code>\n{code}\n</code>") == code
    assert code_of(f"Thought: so.\n```python\n{code}\n```", MARKDOWN) == code
    assert code_of(f"Thought: so.\n```python\n{code}\n```\nDone.") == code


def test_a_program_with_an_error_comes_back_as_it_is() -> None:
    assert code_of("<code>\nfor x in 3\n    print(x)\n</code>") == "for x in 3\n    print(x)"
    assert code_of("```python\nprint(1\n```\nThat was it.") == "print(1"
    assert code_of("```python\nimport csv\n```\n```python\nprint(1))\n```") == "import csv\n\nprint(1))"


@pytest.mark.parametrize("reply", ["<code>\nx = [1,\n2,", "```python\nfor x in y:", "<code>\nprint('abc"])
def test_a_reply_that_breaks_off_is_said_to(reply: str) -> None:
    found = parse_reply(reply)
    assert isinstance(found, Misread)
    assert "breaks off" in found.message


@pytest.mark.parametrize(
    "reply", ["", "  \n", "The answer is 42.", "42", "Yes", "```\n42\n```", '```json\n{"a": 1}\n```']
)
def test_what_is_no_program_is_misread(reply: str) -> None:
    found = parse_reply(reply, ("<run>", "</run>"))
    assert isinstance(found, Misread)
    assert "<run>\nanswer" in found.message


def test_the_example_in_the_message_is_a_right_reply() -> None:
    for tags in (("<code>", "</code>"), MARKDOWN):
        found = parse_reply("no", tags)
        assert isinstance(found, Misread)
        shown = found.message[found.message.index("Thought:") :]
        assert parse_reply(shown, tags) == Program("answer = 6 * 7\nfinal_answer(answer)", "one short sentence")


def test_tags_may_be_regular_expressions() -> None:
    tags = (r"<prog\s*\d*>", r"</prog>")
    assert code_of("<prog 12>\nprint('</prog>')\n</prog> and more", tags) == "print('</prog>')"
    assert code_of("[[\nprint(1)\n]]", ("[[", "]]")) == "print(1)"


STRINGS = st.lists(
    st.sampled_from(
        [
            "<code>",
            "</code>",
            "```",
            "```python",
            "~~~",
            "\n",
            " ",
            "#",
            "Observation:",
            "<end_code>",
            "x",
            "'",
            '"',
            "{",
        ]
    )
    | st.text(max_size=4),
    max_size=8,
).map("".join)


@st.composite
def statements(draw: st.DrawFn) -> str:
    value = draw(STRINGS)
    triple = value.replace("\\", "/").replace('"', "'").replace("\r", "").replace("\0", "")
    form = draw(st.sampled_from(["x = {!r}", "print({!r})", "def f():\n    return {!r}", 'y = """{}"""', "# {}"]))
    if form.startswith("#"):
        return "# " + " ".join(triple.replace("Observation:", "").split())
    return form.format(triple if '"""' in form else value)


@given(
    st.lists(statements(), min_size=1, max_size=5), st.sampled_from([("<code>", "</code>"), MARKDOWN]), st.booleans()
)
def test_every_program_survives_the_round_trip(parts: list[str], tags: tuple[str, str], prose: bool) -> None:
    code = "\n".join([*parts, "final_answer(x)"])
    ast.parse(code)
    reply = f"Thought: I do it.\n{tags[0]}\n{code}\n{tags[1]}" + ("\nThat is all." if prose else "")
    assert code_of(reply, tags).strip() == code.strip()


@given(st.text() | STRINGS)
def test_nothing_raises(reply: str) -> None:
    found = parse_reply(reply)
    assert isinstance(found, Program | Misread)


@pytest.mark.parametrize(
    "unit",
    ["`", "<code>", "</code>", "```\n", "```python\n", "</code>'\n", "(", "{", '{"a":', "a = 1\n", "~~~\n```\n", " ",
     "Thought:", "# </code>\n", "a,", "<tool_call>", "x=[\n", "[PYTHON]", "for ", ">>> ", "<think>", "Action: a\n"],
)  # fmt: skip
@pytest.mark.parametrize("before", ["", "<code>\n"])
def test_a_megabyte_of_nonsense_is_read_in_bounded_time(unit: str, before: str) -> None:
    # Were the time quadratic, this would take hours and meet the suite's time limit.
    found = parse_reply(before + unit * (1_000_000 // len(unit)))
    assert isinstance(found, Program | Misread)


def test_indentation_inside_strings_is_kept() -> None:
    code = 'text = """\n    two\n  one\n"""\nprint(text)'
    indented = textwrap.indent(code, "  ")
    assert code_of(f"<code>\n{code}\n</code>") == code
    assert "print(text)" in code_of(f"<code>\n{indented}\n</code>")
