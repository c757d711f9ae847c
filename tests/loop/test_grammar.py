"""The grammar of a reply."""

from __future__ import annotations

from actloop.loop.grammar import call_grammar, reply_grammar
from actloop.loop.parsing import Program, parse_reply


def test_tags_that_are_regular_expressions_have_no_grammar() -> None:
    assert reply_grammar((r"<c\d>", "</c>")) is None


def test_tags_are_quoted() -> None:
    grammar = reply_grammar(('<"a">', '</"a">'))
    assert grammar is not None
    assert r'"<\"a\">"' in grammar


def test_every_repetition_is_bounded() -> None:
    for tags in (("<code>", "</code>"), ("```python", "```")):
        grammar = reply_grammar(tags)
        assert grammar is not None
        assert "*" not in grammar
        assert "+" not in grammar


def test_what_the_grammar_describes_is_what_the_parser_reads() -> None:
    for tags in (("<code>", "</code>"), ("```python", "```")):
        reply = f"Thought: I do it.\n{tags[0]}\nprint(1)\n\n{tags[1]}"
        assert parse_reply(reply, tags) == Program("print(1)", "I do it.")


def test_the_grammar_of_calls_names_the_tools_and_bounds_every_repetition() -> None:
    grammar = call_grammar(("get_weather", 'odd "name"'))
    assert r'name ::= "\"get_weather\"" | "\"odd \\\"name\\\"\""' in grammar
    assert "*" not in grammar
    assert "+" not in grammar.replace("[-+]", "")
