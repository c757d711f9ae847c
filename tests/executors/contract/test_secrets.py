"""Secrets: tools and programs use those that were placed with them, and nobody else sees any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.runtime.test_secrets import FOR_PROGRAMS, TOKEN, Watched, check_clean, heard, program, receive, sign

from actloop.executors.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


NAMED = """
import os
open(KEY + '.txt', 'w').write('1')
os.mkdir('in-' + KEY)
open('in-' + KEY + '/a.txt', 'w').write('2')
open('n' * 98 + KEY, 'w').write('3')
open('good.txt', 'w').write(KEY)
"""


@pytest.mark.needs("workspace")
def test_files_whose_names_hold_a_secret_are_not_taken(make: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    executor = make(["os"], workspace=Workspace(folder, writable=True))
    watched = Watched(tmp_path, [program(NAMED), program("final_answer('made')")], [], executor=executor)
    result = watched.run(return_full_result=True)
    assert [path.name for path in folder.rglob("*")] == ["good.txt"]
    assert [file.name for file in result.files] == ["good.txt"]
    assert "[secret KEY].txt: its name holds a secret" in repr(watched.model.requests[1])
    assert FOR_PROGRAMS not in repr(result.dict())
    assert FOR_PROGRAMS[:12] not in repr(watched.model.requests[1])
    check_clean(watched, FOR_PROGRAMS)
