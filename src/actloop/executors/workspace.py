"""The user's folder that programs may read or change, and the files that they make there.

A writable folder is never within reach of a sandbox: its files are copied in, and what a program made or changed is
copied back by the host (`exchange`). One that may only be read is mounted where that is possible, else copied in.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from actloop.errors import UnsupportedError
from actloop.values.sizes import in_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actloop.executors.files.host_folder import Scan

DEFAULT_QUOTA = 64 * 1024 * 1024

MAX_QUOTA = 1 << 40

_MOST_NAMED = 20
"""Files that the model is told by name."""

_MOST_SEEN = 400
"""Files and folders that are looked at before each prompt: a folder may hold millions, on a slow disk."""

_SYSTEM = tuple(
    map(Path, "/bin /boot /etc /lib /lib32 /lib64 /proc /sbin /sys /usr /private/etc /Library /System".split())  # noqa: SIM905 - a list of names, not of strings
)
"""Folders of the system, which programs may not change, nor anything in them."""

_TOGETHER = """
/ /Applications /Users /dev /dev/shm /home /opt /private /private/tmp /private/var /root /run /tmp /var /var/lib
/var/log /var/spool /var/tmp
"""
_SHARED = frozenset(map(Path, _TOGETHER.split()))
"""Folders that belong to everybody: one within them may be changed, but not they themselves."""

Located: TypeAlias = "str | os.PathLike[str]"


@dataclass(frozen=True, slots=True, init=False)
class Workspace:
    """A folder of this machine that programs see as their current folder.

    Args:
        path: The folder; `~` stands for the home folder.
        writable: Whether what programs make and change there is kept. Files that they delete are deleted here, too.
        quota: Bytes that the files of a folder that is copied into the sandbox take together, before and after.

    Raises:
        ValueError: It is no folder that can be read, or written; the quota is not positive, or more than 1 TiB; or the
            home folder, one that holds it, or one of the system is to be written.
        TypeError: An argument is of another type.
    """

    path: Path
    writable: bool = False
    quota: int = DEFAULT_QUOTA

    def __init__(self, path: Located, writable: bool = False, quota: int = DEFAULT_QUOTA) -> None:
        if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"workspace= is the path of a folder, or a Workspace; got {type(path).__name__}")
        if type(writable) is not bool:
            raise TypeError(f"writable= of a workspace is True or False; got {writable!r}")
        if type(quota) is not int:
            raise TypeError(f"the quota of a workspace is a whole number of bytes; got {quota!r}")
        if not 0 < quota <= MAX_QUOTA:
            raise ValueError(f"the quota of a workspace is a positive number of bytes, at most 1 TiB; got {quota}")
        folder = _folder(path)
        if writable:
            _check_writable(folder)
        object.__setattr__(self, "path", folder)
        object.__setattr__(self, "writable", writable)
        object.__setattr__(self, "quota", quota)

    @property
    def room(self) -> int:
        """Bytes that a sandbox has for the copy, where that is bounded: a file that does not fit is then seldom cut."""
        return 2 * self.quota + (1 << 20)

    def can_mount(self, *, others: bool, doors: bool = False) -> bool:
        """Whether a sandbox is to mount it, rather than have it copied in.

        Args:
            others: Whether programs are another user to the kernel than the caller, so that they can read only what
                is open to everybody.
            doors: Whether programs could use sockets, pipes and devices that lie in it, which lead out of the sandbox.

        Raises:
            UnsupportedError: Neither is possible; the message says why, and what to do.
        """
        if self.writable:
            return False
        if not others:
            return True
        from actloop.executors.files.host_folder import HostFolder

        folder = HostFolder(self.path)
        leading_out = folder.doors() if doors else []
        found = folder.scan(most=None)
        if not found.closed and not leading_out:
            return True
        why = found.too_large(self.quota)
        if not why:
            return False
        if leading_out:
            shown = ", ".join(map(repr, leading_out))
            raise UnsupportedError(
                f"The workspace {self.path} cannot be mounted, since what is no file or folder in it leads out of the "
                f"sandbox (sockets, pipes, devices: {shown}); and it cannot be copied in instead: {why}. Or move that "
                "elsewhere."
            )
        named = ", ".join(repr(name) if name else "the folder itself" for name in sorted(found.closed)[:3])
        more = f" and {len(found.closed) - 3} more" if len(found.closed) > 3 else ""
        holds_home = Path.home().is_relative_to(self.path)  # which nobody should open to everybody
        mend = "give a folder of its own" if holds_home else "open it to everybody (chmod -R o+rX)"
        raise UnsupportedError(
            f"The workspace {self.path} cannot be mounted, since programs run as another user, who may not read {named}"
            f"{more}; and it cannot be copied in instead: {why}. Or {mend}."
        )

    def check_copy(self) -> None:
        """Whether its files can be copied into a sandbox.

        Raises:
            UnsupportedError: They cannot; the message says why, and what to do.
        """
        from actloop.executors.files.host_folder import HostFolder

        try:
            why = HostFolder(self.path).scan().too_large(self.quota)
        except OSError as error:
            why = error.strerror or str(error)
        if why:
            raise UnsupportedError(f"The workspace {self.path} cannot be given to the sandbox: {why}")

    def instructions(self) -> str:
        """What the model is told of it, in one paragraph."""
        from actloop.executors.files.host_folder import HostFolder

        try:
            found = HostFolder(self.path).glance(_MOST_SEEN)
        except OSError as error:
            return f"The user's folder cannot be read now: {error.strerror or error}."
        may = (
            f"You may change them and make new files there (at most {self.quota:,} bytes in all): what a program "
            "leaves in the folder is given to the user."
            if self.writable
            else "They can only be read: keep what you make in variables, or in tempfile's folder."
        )
        return (
            "The current folder of your programs is a folder of the user's: open its files by their names alone, with "
            f"open() or pathlib. {may} {_listed(found)}"
        )


def as_workspace(given: Workspace | Located | None) -> Workspace | None:
    """A workspace; a plain path is one that can only be read.

    Raises:
        ValueError, TypeError: As `Workspace`.
    """
    return given if given is None or isinstance(given, Workspace) else Workspace(given)


def _folder(path: Located) -> Path:
    shown = os.fspath(path)
    if not shown or "\0" in shown:
        raise ValueError(f"workspace={shown!r} is no path of a folder")
    try:
        folder = Path(shown).expanduser().resolve(strict=True)
    except FileNotFoundError:
        raise ValueError(f"The workspace {shown!r} is not there: make the folder first") from None
    except (OSError, RuntimeError) as error:
        raise ValueError(f"The workspace {shown!r} cannot be reached: {error}") from None
    if not folder.is_dir():
        raise ValueError(f"The workspace {shown!r} is not a folder: give the folder that the file is in")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ValueError(
            f"The workspace {shown!r} may not be read by this user: open it (chmod u+rx), or choose another"
        )
    return folder


def _check_writable(folder: Path) -> None:
    if folder == folder.parent or any(folder == home or folder in home.parents for home in _homes()):
        raise ValueError(
            f"The workspace {str(folder)!r} holds your home folder or the whole disk, which programs may not change: "
            "make a folder within it"
        )
    if folder in _SHARED:
        raise ValueError(
            f"The workspace {str(folder)!r} is a folder of the system, which programs may not change: make a folder "
            "within it"
        )
    if any(system == folder or system in folder.parents for system in _SYSTEM):
        raise ValueError(
            f"The workspace {str(folder)!r} belongs to the system, which programs may not change: choose a folder of "
            "yours"
        )
    if not os.access(folder, os.W_OK):
        raise ValueError(f"The workspace {str(folder)!r} may not be written by this user: leave out writable=True")
    if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
        raise ValueError("A writable workspace needs a system on which links can be told from files: Linux or macOS")


def _homes() -> set[Path]:
    """The user's home folder: the one that the environment names, and the one that the system knows."""
    named = {os.path.expanduser("~")}
    if sys.platform != "win32":
        import pwd

        with contextlib.suppress(KeyError):  # a user id without an entry, as in containers
            named.add(pwd.getpwuid(os.getuid()).pw_dir)
    return {Path(os.path.realpath(name)) for name in named if name != os.sep}


def _listed(found: Scan) -> str:
    files = sorted((name, about.size) for name, about in found.entries.items() if not about.folder)
    if not files:
        return "It holds many entries." if found.seen > _MOST_SEEN else "It is empty now."
    named = ", ".join(f"{name!r} ({in_bytes(size)})" for name, size in files[:_MOST_NAMED])
    more = f" and {len(files) - _MOST_NAMED:,} more" if len(files) > _MOST_NAMED else ""
    more = " and many more" if found.seen > _MOST_SEEN else more
    return f"It holds {named}{more}."


@dataclass(frozen=True, slots=True)
class WorkspaceFile:
    """A file that programs made or changed in a workspace.

    Attributes:
        name: Its path within the workspace, with `/` between its parts.
        type: Its MIME type: guessed from the name, and `application/octet-stream` where the content does not fit it.
        size: In bytes.
        path: Where it is on this machine.
    """

    name: str
    type: str
    size: int
    path: Path

    def dict(self) -> dict[str, Any]:
        """The file as plain data, without its path."""
        return {"name": self.name, "type": self.type, "size": self.size}


@dataclass(frozen=True, slots=True)
class FileChanges:
    """What programs did to a workspace since the last time that it was looked at.

    Attributes:
        folder: The workspace.
        created: Files that are new.
        changed: Files that have another content.
        deleted: Names of files that are gone.
        refused: Why a change was not taken over, by the file's name; an empty name stands for the whole.
    """

    folder: Path
    created: tuple[WorkspaceFile, ...] = ()
    changed: tuple[WorkspaceFile, ...] = ()
    deleted: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict[str, str])

    def __bool__(self) -> bool:
        return bool(self.created or self.changed or self.deleted or self.refused)

    def notice(self) -> str:
        """What the model is told: the changes that were not taken over; empty when there are none."""
        if not self.refused:
            return ""
        told = [f"{name}: {why}" if name else why for name, why in sorted(self.refused.items())[:_MOST_NAMED]]
        if len(self.refused) > _MOST_NAMED:
            told.append(f"{len(self.refused) - _MOST_NAMED:,} more")
        return "Not kept of the folder: " + "; ".join(told)


def merged(files: Mapping[str, WorkspaceFile], changes: FileChanges) -> dict[str, WorkspaceFile]:
    """Files by name, after further changes."""
    left = {name: file for name, file in files.items() if name not in changes.deleted}
    return left | {file.name: file for file in _both(changes)}


def _both(changes: FileChanges) -> Iterable[WorkspaceFile]:
    return (*changes.created, *changes.changed)
