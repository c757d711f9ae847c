"""Snapshots: the variables of a guest as bytes, and back.

One pickler takes one variable after another, so that what two of them share stays shared, and the one that fails is
known. The bytes: what the pickler wrote, then JSON text (the names in order, the lines of programs), then a trailer.
"""

from __future__ import annotations

import io
import json
import re
import struct
import sys
from typing import TYPE_CHECKING, Any

from .interrupts import TimeUp
from .pickling import LeftOutError, Pickling
from .tools import Tool
from .values import safe_repr, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from .interrupts import Gate
    from .session import Guest
    from .steps import Steps
    from .streams import Output

_TRAILER = struct.Struct(">BI")  # version of the format, bytes of the JSON text before it
_FORMAT = 1
_DEPTH = 3_000  # calls within calls, while objects within objects are taken
_LONGEST_NAME = 1_000
_CANNOT = re.compile(r"cannot pickle '(.+)' object")


class Snapshots:
    """Takes the variables of a guest, and gives them back.

    Tools are left out: the host defines them again. What belongs to the moment or to the machine (generators, locks,
    open files) cannot be taken; it is named, and the rest is kept. What is restored is a copy: of a class, too.

    Args:
        guest: What it belongs to.
        steps: Where the lines of its programs are.
        gate: Lets signals of the host through while code of the user's may run.
        output: Told to drop what such code prints.
    """

    def __init__(self, guest: Guest, steps: Steps, gate: Gate, output: Output) -> None:
        self._guest = guest
        self._steps = steps
        self._gate = gate
        self._output = output
        self._pickling: Pickling | None = None
        self._late = False
        self._taken: BoundedFile | None = None
        self._given: BoundedFile | None = None

    def duties(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """What the host may ask for."""
        return {"snapshot": self._snapshot, "snapshot part": self._part, "restore": self._restore}

    def _ready(self, source: str | None) -> Pickling | None:
        """The picklers; None when the host has to send cloudpickle first, since there is none here."""
        if self._pickling is None:
            library = _cloudpickle(source)
            self._pickling = library and Pickling(self._guest, self._steps, library)
        return self._pickling

    def _attended(self, work: Callable[[], Any]) -> Any:
        """Do something during which code of the user's may run; a signal of the host ends it."""
        import warnings

        self._output.mute()
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, _DEPTH))
        try:
            try:
                self._gate.open()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return work()
            finally:
                self._gate.close()
        except KeyboardInterrupt:
            raise TimeoutError("it took too long") from None
        finally:
            sys.setrecursionlimit(limit)
            self._gate.idle()

    # ---- taking

    def _snapshot(self, details: dict[str, Any]) -> dict[str, Any]:
        """Take the variables but those `without`: at most `bound` bytes, of which `part` come with the answer."""
        pickling = self._ready(details["library"])
        if pickling is None:
            return {"needs": "cloudpickle"}
        names = {
            name: value
            for name, value in list(self._guest.names.items())
            if type(name) is str
            and len(name) <= _LONGEST_NAME
            and not (name.startswith("__") and name.endswith("__"))  # Python's own, as __warningregistry__
            and name not in details["without"]
            and not (type(value) is Tool and self._guest.tools.get(name) is value)
        }
        left_out: dict[str, str] = {}
        self._late, self._taken = False, None
        file: BoundedFile = self._attended(lambda: self._take(pickling, names, left_out, details["bound"]))
        self._taken, size = file, len(file.getbuffer())
        data = self._part({"start": 0, "size": details["part"]})
        return {"size": size, "names": list(names), "left_out": left_out, "data": data}

    def _take(self, pickling: Pickling, names: dict[str, Any], left_out: dict[str, str], bound: int) -> BoundedFile:
        """A file with what can be taken of `names`; the others are moved from there to `left_out`."""
        while True:
            file, files, failed = self._attempt(pickling, names, bound)
            if not failed:
                lines = {name: self._steps.text(name) for name in sorted(files)}
                about = json.dumps({"names": list(names), "files": lines}).encode()
                file.bound = sys.maxsize
                file.write(about + _TRAILER.pack(_FORMAT, len(about)))
                return file
            left_out.update(failed)
            for name in failed:
                del names[name]

    def _attempt(
        self, pickling: Pickling, names: dict[str, Any], bound: int
    ) -> tuple[BoundedFile, set[str], dict[str, str]]:
        """Take everything. After a failure what was written is of no use, but the others are tried."""
        file = BoundedFile(bound)
        taker = pickling.taker(file)
        failed: dict[str, str] = {}
        for name, value in names.items():
            try:
                pickling.check(value)
                taker.doubtful = False
                taker.dump((name, value))
                if taker.doubtful:
                    _try(pickling, value, bound)
            except BaseException as error:
                if isinstance(error, TimeUp):
                    if self._late:
                        raise TimeoutError(f"it took too long, the variable {name!r} at last") from None
                    self._late = True
                failed[name] = _reason(error, value)
                taker = pickling.taker(BoundedFile(bound))
        return file, taker.files, failed

    def _part(self, details: dict[str, Any]) -> bytes:
        """Bytes of what was taken, which is forgotten when the last are asked for."""
        start, end = details["start"], details["start"] + details["size"]
        if self._taken is None:
            raise ValueError("nothing was taken")
        with self._taken.getbuffer() as buffer:
            data, complete = bytes(buffer[start:end]), end >= len(buffer)
        if complete:
            self._taken = None
        return data

    # ---- giving back

    def _restore(self, details: dict[str, Any]) -> dict[str, Any]:
        """Take in a part of a snapshot; with the `last` one, give the session its variables: all of them, or none."""
        pickling = self._ready(details["library"])
        if pickling is None:
            return {"needs": "cloudpickle"}
        if self._given is None or details["start"] == 0:
            self._given = BoundedFile(sys.maxsize)
        self._given.write(details["data"])
        if details["last"]:
            file, self._given = self._given, None
            self._attended(lambda: self._give(pickling, file))
        return {}

    def _give(self, pickling: Pickling, file: Any) -> None:
        names, files = _about(file)
        self._steps.expect(files)
        giver = pickling.giver(file)
        values: dict[str, Any] = {}
        for name in names:
            try:
                values[name] = giver.load()[1]
            except TimeUp:
                raise TimeoutError(f"it took too long, the variable {name!r} at last") from None
            except BaseException as error:
                raise ValueError(f"the variable {name!r} cannot be built: {_words(error)}") from None
        self._steps.accept()
        self._guest.names.update({name: value for name, value in values.items() if name not in self._guest.tools})


def _cloudpickle(source: str | None) -> Any:
    """The module that is installed here, or else that of the source; None without either."""
    from importlib import import_module
    from types import ModuleType

    try:
        return import_module("cloudpickle.cloudpickle")
    except Exception:
        if source is None:
            return None
    package, module = ModuleType("cloudpickle"), ModuleType("cloudpickle.cloudpickle")
    sys.modules[module.__name__] = module
    exec(compile(source, "cloudpickle.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    sys.modules[package.__name__] = package
    package.__dict__["cloudpickle"] = module
    return module


class BoundedFile(io.BytesIO):
    """A file in memory that takes no more than so many bytes."""

    def __init__(self, bound: int) -> None:
        super().__init__()
        self.bound = bound

    def write(self, data: Any, /) -> int:
        if self.tell() + memoryview(data).nbytes > self.bound:
            raise MemoryError
        return super().write(data)


def _try(pickling: Pickling, value: Any, bound: int) -> None:
    """Build a copy of a value: a class of the user's may refuse that.

    Raises:
        LeftOutError: It does.
    """
    file = BoundedFile(bound)
    try:
        pickling.taker(file).dump(value)
        file.seek(0)
        pickling.giver(file).load()
    except MemoryError:
        pass  # there is no room to try
    except Exception as error:
        raise LeftOutError(f"it could not be built again: {_words(error)}") from None


def _about(file: Any) -> tuple[list[str], dict[str, str]]:
    """Names and lines of programs, from the end of a snapshot; the file is left at its beginning."""
    size = len(file.getbuffer())
    try:
        file.seek(max(0, size - _TRAILER.size))
        version, length = _TRAILER.unpack(file.read())
        if version != _FORMAT:
            raise ValueError(f"it is of version {version}, and here it would be {_FORMAT}")
        file.seek(max(0, size - _TRAILER.size - length))
        about = json.loads(file.read(length))
        return list(about["names"]), dict(about["files"])
    except (struct.error, UnicodeDecodeError, json.JSONDecodeError, LookupError, TypeError):
        raise ValueError("it is damaged") from None
    finally:
        file.seek(0)


def _reason(error: BaseException, value: Any) -> str:
    """Why a variable was left out, in words that follow its name."""
    if isinstance(error, TimeUp):
        return "it took too long"
    if isinstance(error, LeftOutError):
        return str(error)
    if isinstance(error, MemoryError):
        return "it does not fit into the snapshot or the memory"
    words = _words(error)  # the message itself may be a program's, and of any length
    found = _CANNOT.search(words) if type(error) is TypeError else None
    if found is None:
        return f"it cannot be taken: {words}"
    kind = found[1]
    own = kind.rpartition(".")[2] == type(value).__name__
    return f"a {kind} cannot be taken" if own else f"it holds a {kind}, which cannot be taken"


def _words(error: BaseException) -> str:
    try:
        text = str(error) or safe_repr(error)
    except Exception:
        text = "it has no readable message"
    return shortened(f"{type(error).__name__}: {text}", 300)
