"""Secrets: tools and programs use those that were placed with them, and nobody else sees any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.runtime.test_secrets import FOR_PROGRAMS, TOKEN, Watched, check_clean, heard, program, receive, sign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

TRIED = """
print(sign('a'), KEY, [KEY])
try:
    print('TOKEN is here:', TOKEN)
except NameError:
    print('TOKEN is not here')
raise ValueError(KEY + '!')
"""
ANSWERED = "ok = receive(KEY)\nfinal_answer([ok, len(KEY), KEY, sign(KEY)])"


def test_secrets_are_used_where_they_were_placed_and_seen_nowhere(make: Callable[..., Any], tmp_path: Path) -> None:
    watched = Watched(tmp_path, [program(TRIED), program(ANSWERED)], [sign, receive], executor=make())
    answer = watched.run()
    assert answer == [True, len(FOR_PROGRAMS), "[secret KEY]", "[secret KEY] signed with [secret TOKEN]"]
    assert heard == [TOKEN, FOR_PROGRAMS, TOKEN]
    seen = repr(watched.model.requests[1])
    for words in ("a signed with [secret TOKEN] [secret KEY]", "TOKEN is not here", "ValueError: [secret KEY]!"):
        assert words in seen
        assert words in repr(watched.agent.memory.get_full_steps())
        assert words in watched.screen.getvalue()
    for value in (TOKEN, FOR_PROGRAMS):
        check_clean(watched, value)
