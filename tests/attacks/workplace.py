"""A folder of the user's that programs may use, beside things that they may not reach."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from actloop.executors.workspace import Workspace

if TYPE_CHECKING:
    from types import TracebackType

    from tests.attacks.host import Host

QUOTA = 1 << 20


class Workplace:
    """A folder with files of a user and links to what is not in it. Leave it by `close`, or as a context.

    Attributes:
        folder: The folder.
        before: Its files, as they were at first.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.folder = Path(mkdtemp(prefix="actloop-work-"))
        self.folder.chmod(0o755)
        (self.folder / "own.txt").write_text("of the user")
        (self.folder / "sub").mkdir()
        (self.folder / "sub" / "other.txt").write_text("of the user, too")
        (self.folder / "link").symlink_to(host.canary)
        (self.folder / "way").symlink_to(host.folder)
        self.before = self.files()

    def workspace(self, *, writable: bool) -> Workspace:
        """It, as executors take it."""
        return Workspace(self.folder, writable=writable, quota=QUOTA)

    def files(self) -> dict[str, str]:
        """Every name with its content; of a link, where it leads."""
        return {
            str(path.relative_to(self.folder)): os.readlink(path) if path.is_symlink() else path.read_text("latin-1")
            for path in self.folder.rglob("*")
            if path.is_symlink() or not path.is_dir()
        }

    def harm(self, *, writable: bool) -> list[str]:
        """What programs have done to it that they may not, in words."""
        now = self.files()
        if not writable:
            return [] if now == self.before else [f"the folder was changed: {sorted(now)}"]
        found = [f"a link leads elsewhere: {name}" for name in ("link", "way") if now.get(name) != self.before[name]]
        for name, content in now.items():
            if name not in ("link", "way") and (self.folder / name).is_symlink():
                found.append(f"a link was made: {name}")
            if self._host.secret in content or "root:" in content:
                found.append(f"a file of the host came into {name}")
            if ".part" in name:
                found.append(f"half a file was left: {name}")
        return found

    def close(self) -> None:
        """Take it away."""
        shutil.rmtree(self.folder)

    def __enter__(self) -> Workplace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
