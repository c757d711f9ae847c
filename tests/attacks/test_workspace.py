"""Programs and guests that use a workspace to get at other files, or to lose the user's.

A hostile program can make its guest say anything; `LIAR` does that from inside, past all that the guest's own code
would refuse.
"""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.attacks.arena import Sandboxed
from tests.attacks.attack import COMMON, WIRE
from tests.attacks.host import Host, forget_peak, peak_memory
from tests.attacks.workplace import QUOTA, Workplace

from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import SandboxLimits
from actloop.executors.waiting import BlockingWaiter, run_now

if TYPE_CHECKING:
    from collections.abc import Generator

    from actloop.executors.workspace import FileChanges

LIAR = '''
import gc, hashlib, os, time

duties = next(item for item in gc.get_objects() if type(item).__name__ == "Guest").duties
honest = dict(duties)

def digest(data):
    return hashlib.blake2b(data, digest_size=16).hexdigest()

def claim(*names, data=b"forged", kind="file", size=None, mark=None):
    """Say that there are files of these names, and nothing else."""
    entries = [[name, kind, len(data) if size is None else size, digest(data)] for name in names]
    duties["list_files"] = lambda details: [mark or digest(repr(names).encode("utf-8", "replace")), entries, False]
    duties["get_files"] = lambda details: [data[at : at + count] for _, at, count in details["parts"]]
    duties["missing_files"] = lambda details: []
'''


class Place(Workplace):
    """A workspace of which attacks are about to be taken over."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.host = host
        self.executor = LocalPythonExecutor(
            ["*"], limits=SandboxLimits(wall=5.0, value=1 << 20), workspace=self.workspace(writable=True)
        )

    def attack(self, code: str, prelude: str = LIAR) -> FileChanges:
        """What is taken over after a hostile program; nothing outside may have come to harm."""
        changes, _ = self.attack_and_stay(code, prelude)
        return changes

    def attack_and_stay(self, code: str, prelude: str = LIAR) -> tuple[FileChanges, bool]:
        """As `attack`; and whether the session lives on."""
        sandboxed = Sandboxed(self.executor, self.host.variables(None))
        try:
            outcome = sandboxed.run(COMMON + prelude + textwrap.dedent(code))
            assert outcome.raised is None
            assert outcome.finished is not None
            assert outcome.finished.failure is None, outcome.finished.failure
            changes = run_now(sandboxed.session.take_files(BlockingWaiter()))
            assert changes is not None
            alive = sandboxed.session.alive
            if alive:
                again = run_now(sandboxed.session.take_files(BlockingWaiter()))
                assert again is not None
        finally:
            sandboxed.close()
        assert self.host.harm([*outcome.texts(), repr(changes)]) == []
        assert self.harm(writable=True) == []
        return changes, alive

    def close(self) -> None:
        """Take it away."""
        self.executor.cleanup()
        super().close()


@pytest.fixture(scope="module")
def host() -> Generator[Host]:
    with Host() as host:
        yield host


@pytest.fixture
def place(host: Host) -> Generator[Place]:
    place = Place(host)
    yield place
    place.close()


ESCAPES = {
    "up": "'../escaped'",
    "far-up": "'../' * 30 + canary.lstrip('/')",
    "up-from-below": "'sub/../../escaped'",
    "absolute": "canary",
    "absolute-by-two": "'/' + canary",
    "a-zero": "'own.txt\\0.png'",
    "a-line": "'own\\n.txt'",
    "a-command-of-the-terminal": "'\\x1b]0;owned\\x07'",
    "half-a-character": "'\\ud800'",
    "a-backslash": "'..\\\\..\\\\escaped'",
    "a-device": "'sub/./../../dev/null'",
    "through-a-link-of-the-folder": "'way/canary'",
    "a-new-file-through-a-link": "'way/escaped'",
    "over-a-link": "'link'",
    "below-a-link-to-a-file": "'link/x'",
    "below-a-file": "'own.txt/x'",
    "over-a-folder": "'sub'",
    "hooks": "'.git/hooks/post-checkout'",
    "hooks-in-capitals": "'sub/.GiT/hooks/post-checkout'",
    "hooks-with-an-unseen-character": "'.g\\u200dit/config'",
    "own-data": "'.actloop/journal.db'",
    "too-long": "'x' * 300",
    "far-too-long": "'/'.join(['x' * 200] * 40)",
    "too-deep": "'x/' * 5000 + 'x'",
    "no-name": "'.'",
    "reversed-letters": "'\\u202egnp.exe'",
}


@pytest.mark.parametrize("name", ESCAPES.values(), ids=ESCAPES)
def test_names_that_lead_elsewhere(name: str, place: Place) -> None:
    changes = place.attack(f"claim({name})")
    assert not changes.created
    assert not changes.changed
    assert place.files() == place.before
    assert all(part.isprintable() and len(part) < 200 for part in changes.refused)
    assert not Path("/tmp/escaped").exists()


@pytest.mark.parametrize("name", ESCAPES.values(), ids=ESCAPES)
def test_folders_that_lead_elsewhere(name: str, place: Place) -> None:
    place.attack(f"claim({name}, data=b'', kind='folder')")
    assert {key for key in place.files() if key != "own.txt"} >= set(place.before) - {"own.txt"}
    assert not Path("/tmp/escaped").exists()


MALFORMED = {
    "nothing": "None",
    "text": "'files'",
    "too-few": "['mark', []]",
    "no-mark": "[None, [], False]",
    "a-long-mark": "['m' * 10_000, [], False]",
    "no-list": "['mark', {'own.txt': 1}, False]",
    "a-set": "['mark', {1, 2}, False]",
    "no-entry": "['mark', ['own.txt'], False]",
    "a-short-entry": "['mark', [['own.txt', 'file', 1]], False]",
    "an-unknown-kind": "['mark', [['own.txt', 'socket', 1, '']], False]",
    "a-negative-size": "['mark', [['own.txt', 'file', -1, '']], False]",
    "a-size-beyond-all": "['mark', [['own.txt', 'file', 10**30, '']], False]",
    "a-size-that-is-true": "['mark', [['own.txt', 'file', True, '']], False]",
    "a-size-that-is-no-number": "['mark', [['own.txt', 'file', float('nan'), '']], False]",
    "a-name-that-is-bytes": "['mark', [[b'own.txt', 'file', 1, '']], False]",
    "no-name": "['mark', [['', 'file', 1, '']], False]",
    "a-name-without-end": "['mark', [['x' * 200_000, 'file', 1, '']], False]",
    "more-for-ever": "['mark', [], True]",
    "entries-for-ever": "['', [[str(time.time_ns()) + str(n), 'link', 0, ''] for n in range(1000)], True]",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_lists_that_are_none_end_the_session(answer: str, place: Place) -> None:
    changes, alive = place.attack_and_stay(f"duties['list_files'] = lambda details: {answer}")
    assert not alive
    assert "so it was ended" in changes.refused[""]
    assert place.files() == place.before


CONTENTS = {
    "nothing": "None",
    "text": "['forged']",
    "too-many": "[b'forged', b'forged']",
    "none": "[]",
    "a-number": "[6]",
}


@pytest.mark.parametrize("answer", CONTENTS.values(), ids=CONTENTS)
def test_contents_that_are_none_end_the_session(answer: str, place: Place) -> None:
    changes, alive = place.attack_and_stay(f"claim('own.txt'); duties['get_files'] = lambda details: {answer}")
    assert not alive
    assert "so it was ended" in changes.refused[""]
    assert place.files() == place.before


LIES = {
    "shorter": "claim('own.txt', size=1000)",
    "longer": "claim('own.txt', data=b'forged' * 1000, size=6)",
    "nothing-to-read": "claim('own.txt'); duties['get_files'] = lambda details: [None]",
    "another-content": "claim('own.txt'); duties['get_files'] = lambda details: [b'FORGED']",
    "an-error": "claim('own.txt'); duties['get_files'] = lambda details: 1 / 0",
    "a-size-beyond-the-quota": "claim('own.txt', size=1 << 40)",
    "a-file-beyond-the-quota": "claim('own.txt', data=bytes(2 << 20))",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_lies_about_contents_leave_the_file_whole(lie: str, place: Place) -> None:
    changes = place.attack(lie)
    assert changes.refused
    assert not changes.changed
    assert place.files() == place.before


def test_a_list_without_the_files_deletes_none_that_are_there(place: Place) -> None:
    changes = place.attack("duties['list_files'] = lambda details: ['mark', [], False]")
    assert changes.deleted == ()
    assert place.files() == place.before


def test_only_known_files_can_be_said_to_be_missing(place: Place) -> None:
    code = """
    duties['list_files'] = lambda details: ['mark', [['own.txt', 'file', 0, ''], ['sub', 'folder', 0, '']], False]
    duties['missing_files'] = lambda details: ['own.txt', 'link', 'way', '../x', canary, 5, None, *details['names']]
    """
    changes = place.attack(code)
    assert changes.deleted == ("sub/other.txt",)
    assert set(place.before) - set(place.files()) == {"sub/other.txt"}


def test_a_disk_is_not_filled_by_files_that_are_kept(place: Place) -> None:
    sandboxed = Sandboxed(place.executor, place.host.variables(None))
    try:
        sandboxed.run(LIAR)
        for number in range(12):
            new, refused = f"f{number}", f"'../{number}'"
            code = f"""
            size = {QUOTA - 1000}
            data = bytes([{number}]) * size
            entries = [['{new}', 'file', size, digest(data)], [{refused}, 'file', size, '']]
            duties['list_files'] = lambda details: [str({number}), entries, False]
            duties['get_files'] = lambda details: [data[at : at + count] for _, at, count in details['parts']]
            duties['missing_files'] = lambda details: details['names']
            """
            outcome = sandboxed.run(textwrap.dedent(code))
            assert outcome.finished is not None
            assert outcome.finished.failure is None
            run_now(sandboxed.session.take_files(BlockingWaiter()))
            assert sum(map(len, place.files().values())) < 3 * QUOTA
    finally:
        sandboxed.close()


def test_very_long_lists_cost_the_host_little(place: Place) -> None:
    forget_peak()
    before = peak_memory()
    code = """
    pages = [[[f"{page}-{n}" + "x" * 900, "link", 0, ""] for n in range(500)] for page in range(100)]
    left = list(pages)
    duties["list_files"] = lambda details: ["mark", left.pop(), True]
    """
    place.attack(code)
    assert peak_memory() - before < 128 << 20


def test_an_answer_that_does_not_come_ends_the_session(place: Place) -> None:
    start = time.monotonic()
    changes, alive = place.attack_and_stay("duties['list_files'] = lambda details: time.sleep(60)")
    assert not alive
    assert "could not" in changes.refused[""] or "took too long" in changes.refused[""]
    assert time.monotonic() - start < 30


WIRED = {
    "another-kind-of-message": "say(frame({'t': 'finished', 'output': 0, 'failure': None}))",
    "a-call": "ask()",
    "noise": "say(os.urandom(1000))",
    "a-forged-answer": "say(frame({'t': 'told', 'value': [['x']], 'error': None}))",
    "an-end": "os._exit(0)",
    "half-a-frame": "say(frame({'t': 'told', 'value': None, 'error': None})[:9]); os._exit(0)",
}


@pytest.mark.parametrize("lie", WIRED.values(), ids=WIRED)
def test_what_breaks_the_protocol_when_files_are_asked_for(lie: str, place: Place) -> None:
    code = f"""
    def answer(details):
        {lie}
        time.sleep(60)
    duties["list_files"] = answer
    """
    changes, alive = place.attack_and_stay(code, prelude=WIRE + LIAR)
    assert not alive
    assert changes.refused[""]
    assert place.files() == place.before


def test_a_program_does_not_learn_where_the_folder_is(place: Place) -> None:
    code = """
    found = [place for place in ("/proc/self/mountinfo", "/proc/mounts", "/etc/mtab") if os.path.exists(place)]
    assert not found and os.getcwd() == "/workspace"
    configs = [item for item in gc.get_objects() if isinstance(item, dict) and "quota" in item]
    assert not [item for item in configs if "-work" in str(item)]
    """
    place.attack(code)
