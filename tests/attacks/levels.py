"""The key attacks against sandboxes that lack some levels of isolation. What a level stops, it must stop alone.

Runs with the standard library only, so that an unprivileged user's plain interpreter can run it:
`python -m tests.attacks.levels` prints what is wrong, by levels left out and by attack, as JSON.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from tests.attacks.arena import Arena, LevelsExecutor
from tests.attacks.corpus import ATTACKS
from tests.attacks.host import Host

from actloop.executors.kernel import landlock
from actloop.executors.kernel.host import Zygote

if TYPE_CHECKING:
    from tests.attacks.attack import Attack

    from actloop.executors.session import SandboxLimits


def _names(text: str) -> list[str]:
    return text.split()


READING = _names("""
    files-open files-a-bare-descriptor files-openat2 files-list-a-folder files-climb-out-of-the-root
    files-the-hosts-users files-a-symlink-from-the-private-folder proc-environment-of-the-host
    proc-root-of-the-host proc-memory-of-the-host dunder-chains-all-subclasses-of-object
    module-hops-random-keeps-os frames-and-tracebacks-a-generators-frame descriptors-folders-that-lead-out
""")
WRITING = _names("""
    files-append files-truncate files-unlink files-rename-over-it files-make-a-file-beside-it files-a-hard-link
    shared-folders-write-into-the-interpreter shared-folders-make-a-module-of-the-interpreter
""")
TOUCHING = _names("""
    files-chmod files-chmod-by-its-newest-call files-chown files-set-its-times files-extended-attribute
    shared-folders-chmod shared-folders-set-its-times shared-folders-set-its-times-by-descriptor
""")
SEEING = _names("files-existence files-metadata proc-processes signals-every-process-id")
CONNECTING = _names("network-tcp network-asyncio network-http")
TALKING = _names("network-udp network-raw-sockets")
SIGNALLING = _names("""
    signals-kill-a-process signals-kill-the-host signals-stop-the-host signals-kill-everybody
    other-processes-its-processors other-processes-its-priority
""")
TRACING = _names("""
    other-processes-trace-it other-processes-read-memory-of-every-process proc-memory-of-the-zygote
""")
MAKING = _names("""
    new-processes-fork new-processes-subprocess new-processes-a-fork-bomb new-processes-a-program-in-memory
""")
BOMBS = _names("""
    memory-bombs-one-huge-object processor-bombs-everything-is-caught stuck-in-c-it-stops-itself crashes-abort
""")
ABSTRACT = _names("network-abstract-unix-socket")
SIGNALS_ONLY = _names("signals-kill-a-process signals-kill-the-host signals-stop-the-host")

EVERYTHING = (
    READING + WRITING + TOUCHING + SEEING + CONNECTING + TALKING + ABSTRACT + SIGNALLING + TRACING + MAKING + BOMBS
)
SCOPES = landlock.abi() >= 6
"""Whether landlock keeps signals and abstract sockets in, too."""


def _all_but(*groups: list[str]) -> list[str]:
    return [name for name in EVERYTHING if not any(name in group for group in groups)]


HELD: dict[tuple[str, ...], list[str]] = {
    (): EVERYTHING,
    ("uid", "namespaces"): _all_but(SEEING),
    ("uid", "namespaces", "landlock"): _all_but(),
    ("landlock", "seccomp"): _all_but(MAKING),
    ("namespaces", "seccomp"): READING + WRITING + CONNECTING + TRACING + BOMBS + (SIGNALS_ONLY + ABSTRACT) * SCOPES,
}
"""By levels that are left out, the attacks that the others still stop."""


def key_attacks() -> dict[str, Attack]:
    """The attacks that are named here."""
    named = {str(attack): attack for attack in ATTACKS}
    return {name: named[name] for name in EVERYTHING}


def attack_without(host: Host, without: tuple[str, ...]) -> dict[str, list[str]]:
    """What is wrong, by attack, when levels are left out; empty when all holds."""
    attacks = key_attacks()
    with closing(Zygote(without=without)) as zygote:

        def make(imports: tuple[str, ...], limits: SandboxLimits) -> LevelsExecutor:
            return LevelsExecutor(zygote, additional_authorized_imports=imports, limits=limits)

        arena = Arena(host, make, lambda: zygote.pid)
        judged = {name: arena.attack(attacks[name]) for name in HELD[without]}
    return {name: wrong for name, wrong in judged.items() if wrong}


def main() -> None:
    """Attack every combination of levels."""
    with Host() as host:
        json.dump({"+".join(without): attack_without(host, without) for without in HELD}, sys.stdout)


if __name__ == "__main__":
    main()
