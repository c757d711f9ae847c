"""The part of a session that is written in Monty's own Python: how values cross, and how tools are called.

Everything crosses as JSON text in the form of the guest's codec (`guest.encode`, `guest.decode`), so that both ends see
the values that a guest would give. Monty's own conversion is never used: the host would build whatever a program
sends, such as a dict of a million keys that all collide, before anything could be checked.

Text goes out as lines of standard error that begin with the session's own mark; then `__actloop_call()`, which nothing
defines, gives the turn to the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actloop.guest import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actloop.executors.session import RemoteTool

CALL = "__actloop_call"
"""The function by which a program gives the turn to the host."""

LAST = "__actloop_last"
"""The function that is told the value of a program's last expression."""

WAITS = "__actloop_waits"
"""True while a program runs that awaits: asynchronous tools then give something to be awaited."""

MOST_SHARED = 1000
"""Pairs of variables with an object in common that are told."""

_BUILTINS = (
    "BaseException bool bytes complex dict float frozenset getattr hasattr hex id int isinstance len list max min print"
    " range repr set setattr str sum tuple type AttributeError Exception IndexError KeyError RecursionError ValueError"
)

_SOURCE = """
class __actloop_Kept:
    def __init__(self, data, text):
        self.data = data
        self.text = text

    def __repr__(self):
        return self.text


class __actloop_Record:
    def __init__(self, name, fields, setattr=setattr, tuple=tuple):
        for key in fields:
            setattr(self, key, fields[key])
        setattr(self, "\\0", (name, tuple(fields)))

    def __getitem__(self, key, getattr=getattr, isinstance=isinstance, str=str, list=list, KeyError=KeyError):
        names = getattr(self, "\\0")[1]
        if isinstance(key, str):
            if key not in names:
                raise KeyError(key)
            return getattr(self, key)
        return [getattr(self, name) for name in names][key]

    def __iter__(self, getattr=getattr, iter=iter):
        return iter([getattr(self, name) for name in getattr(self, "\\0")[1]])

    def __eq__(self, other, getattr=getattr, type=type):
        if type(other) is not type(self) or getattr(self, "\\0") != getattr(other, "\\0"):
            return False
        return all([getattr(self, name) == getattr(other, name) for name in getattr(self, "\\0")[1]])

    def __repr__(self, getattr=getattr, repr=repr):
        name, names = getattr(self, "\\0")
        return name + "(" + ", ".join([key + "=" + repr(getattr(self, key)) for key in names]) + ")"


def __actloop_make(Kept=__actloop_Kept, Record=__actloop_Record, BUILTINS):
    import base64, datetime, decimal, json, pathlib, sys

    dumps, loads, channel = json.dumps, json.loads, sys.stderr
    moment, clock, day, span, zone = (
        datetime.datetime, datetime.time, datetime.date, datetime.timedelta, datetime.timezone
    )
    wide = 1 << 1600
    plain = {
        str, int, float, bool, complex, bytes, type(None), moment, clock, day, span, zone, decimal.Decimal, pathlib.Path
    }
    factories = (None, int, float, str, bool, list, dict, set, tuple)
    classes = {}
    settings = {"mark": "", "limit": 1 << 16}

    def fill(left, size):
        left[0] -= size
        if left[0] < 0:
            most = f"{settings['limit']:,}"
            raise ValueError("the value is too large to be sent: at most " + most + " bytes may cross at once")

    def number(value, left):
        digits = len(hex(value))
        fill(left, digits)
        size = digits // 2 + 1
        text = hex(value if value >= 0 else value + (1 << 8 * size))[2:]
        data = bytes.fromhex("0" * (2 * size - len(text)) + text)
        return {"$": "int", "b": base64.b64encode(data).decode()}

    def out(value, left, depth):
        kind = type(value)
        if kind is str:
            fill(left, len(value))
            return value
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if -wide < value < wide else number(value, left)
        if kind is float:
            return value if value - value == 0.0 else {"$": "float", "v": repr(value)}
        fill(left, 8)
        if depth > DEPTH:
            raise ValueError("the value contains itself, or is nested too deeply to be sent: at most DEPTH levels")
        if kind is list:
            return items(value, left, depth)
        if kind is dict:
            return table(value, left, depth)
        if kind is tuple:
            return {"$": "tuple", "v": items(value, left, depth)}
        if kind is set:
            return {"$": "set", "v": items(value, left, depth)}
        if kind is frozenset:
            return {"$": "frozenset", "v": items(value, left, depth)}
        if kind is bytes:
            fill(left, len(value))
            return {"$": "bytes", "b": base64.b64encode(value).decode()}
        if kind is Kept:
            return value.data
        if kind is Record:
            name, names = getattr(value, "\\0")
            return record(name, {key: getattr(value, key) for key in names}, left, depth)
        if kind is complex:
            return {"$": "complex", "v": [out(value.real, left, depth), out(value.imag, left, depth)]}
        if kind is moment or kind is clock:
            plain = value.replace(tzinfo=None).isoformat()
            return {"$": "datetime" if kind is moment else "time", "v": plain, "fold": 0, "zone": place(value)}
        if kind is day:
            return {"$": "date", "v": value.isoformat()}
        if kind is span:
            return {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]}
        if kind is zone:
            return {"$": "timezone", "v": place(clock(0, tzinfo=value))}
        if kind is decimal.Decimal:
            return {"$": "decimal", "v": str(value)}
        if kind is pathlib.Path:
            return {"$": "path", "v": str(value), "flavour": "posix", "concrete": True}
        return strange(value, type(value).__name__, left, depth)

    def place(value):
        offset = value.utcoffset()
        if offset is None:
            return None
        name = value.tzname()
        if name == zone(offset).tzname(None):
            name = None
        micros = (offset.days * 86400 + offset.seconds) * 1000000 + offset.microseconds
        return {"key": None, "offset": micros, "name": name}

    def items(values, left, depth):
        fill(left, 4 * len(values))
        kinds = {type(value) for value in values}
        if kinds == {int} and -wide < min(values) and max(values) < wide:
            return list(values)
        if kinds == {str}:
            fill(left, sum([len(value) for value in values]))
            return list(values)
        return [out(value, left, depth + 1) for value in values]

    def table(values, left, depth):
        fill(left, 4 * len(values))
        if {type(key) for key in values} <= {str} and "$" not in values:
            fill(left, sum([len(key) for key in values]))
            return {key: out(value, left, depth + 1) for key, value in values.items()}
        pairs = [[out(key, left, depth + 1), out(value, left, depth + 1)] for key, value in values.items()]
        return {"$": "dict", "v": pairs}

    def record(name, fields, left, depth):
        return {"$": "record", "n": name[:512], "f": table(fields, left, depth)}

    def strange(value, name, left, depth):
        prefix = ""
        if name == "range":
            parts = [int(part) for part in repr(value)[6:-1].split(", ")]
            return {"$": "range", "v": [out(part, left, depth) for part in (parts + [1])[:3]]}
        if settings.get("exactly"):
            if name == "deque":
                return record("collections.deque", {"items": list(value), "maxlen": value.maxlen}, left, depth)
            if name == "Counter":
                return record("collections.Counter", {"items": dict(value.items())}, left, depth)
            if name == "defaultdict" and value.default_factory in factories:
                made = getattr(value.default_factory, "__name__", None)
                fields = {"items": dict(value.items()), "factory": made}
                return record("collections.defaultdict", fields, left, depth)
            if name.startswith("dict_") or isinstance(value, dict):
                return opaque(value, left)
            prefix = "object "
        if name in ("dict_keys", "dict_values", "dict_items", "deque"):
            return items(list(value), left, depth)
        if isinstance(value, dict):
            return table(dict(value.items()), left, depth)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return record(prefix + name, {key: getattr(value, key) for key in value._fields}, left, depth)
        if isinstance(value, BaseException):
            return record(prefix + name, {"message": str(value), "args": value.args}, left, depth)
        names = classes.get(name)
        if names is not None:
            fields = {key: getattr(value, key) for key in names if hasattr(value, key)}
            return record(prefix + name, fields, left, depth)
        return opaque(value, left)

    def opaque(value, left):
        name = type(value).__name__
        try:
            text = repr(value)
        except Exception:
            text = "<" + name + ">"
        text = text if len(text) <= 2000 else text[:2000] + "..."
        fill(left, len(text))
        return {"$": "opaque", "v": text, "n": name[:512]}

    def say(data):
        text = dumps(data, ensure_ascii=False, separators=(",", ":"))
        if len(text) > settings["limit"]:
            fill([0], 1)
        print(settings["mark"] + text, file=channel)

    def last(value):
        try:
            say({"value": out(value, [settings["limit"]], 0)})
        except (ValueError, RecursionError):
            say({"value": opaque(value, [settings["limit"]])})

    def send(name, args, kwargs, later):
        left = [settings["limit"]]
        try:
            say({"name": name, "later": later, "args": items(args, left, 0), "kwargs": table(kwargs, left, 0)})
        except (ValueError, RecursionError) as error:
            raise ValueError(name + "() cannot be called with these arguments: " + str(error))

    def use(name, args, kwargs):
        send(name, args, kwargs, False)
        return take(__actloop_call())

    async def use_later(name, args, kwargs):
        send(name, args, kwargs, True)
        return take(await __actloop_call())

    def use_either(name, args, kwargs):
        if __actloop_waits:
            return use_later(name, args, kwargs)
        return use(name, args, kwargs)

    def take(text):
        data = loads(text)
        return into(data) if '"$"' in text else data

    def into(data):
        kind = type(data)
        if kind is list:
            return [into(item) for item in data]
        if kind is not dict:
            return data
        if "$" not in data:
            return {key: into(item) for key, item in data.items()}
        return tagged(data["$"], data)

    def tagged(tag, data):
        if tag == "tuple":
            return tuple([into(item) for item in data["v"]])
        if tag == "set":
            return set([into(item) for item in data["v"]])
        if tag == "frozenset":
            return frozenset([into(item) for item in data["v"]])
        if tag == "dict":
            return {into(key): into(item) for key, item in data["v"]}
        if tag == "record":
            return Record(data["n"], into(data["f"]))
        if tag == "float":
            return float(data["v"])
        if tag == "bytes":
            return base64.b64decode(data["b"])
        if tag == "int":
            raw = base64.b64decode(data["b"])
            value = int(raw.hex(), 16)
            return value if raw[0] < 128 else value - (1 << 8 * len(raw))
        if tag == "complex":
            return complex(into(data["v"][0]), into(data["v"][1]))
        if tag == "range":
            parts = [into(part) for part in data["v"]]
            if -(1 << 63) < min(parts) and max(parts) < 1 << 63:
                return range(parts[0], parts[1], parts[2])
            return Kept(data, "range(" + str(parts)[1:-1] + ")")
        if tag == "date":
            return day.fromisoformat(data["v"])
        if tag == "timedelta":
            return span(days=data["v"][0], seconds=data["v"][1], microseconds=data["v"][2])
        if tag == "decimal":
            return decimal.Decimal(data["v"])
        if tag == "path" and data["concrete"] and data["flavour"] == "posix":
            return pathlib.Path(data["v"])
        if tag in ("datetime", "time", "timezone"):
            return timely(tag, data)
        if tag == "opaque":
            return Kept(data, data["v"])
        if tag == "fraction":
            return Kept(data, "Fraction(" + str(into(data["v"][0])) + ", " + str(into(data["v"][1])) + ")")
        text = data.get("v")
        return Kept(data, "<" + tag + (" " + text if type(text) is str else "") + ">")

    def timely(tag, data):
        if tag == "timezone":
            found = data["v"]
        else:
            found = data["zone"]
        known = found is None or found["offset"] is not None and (found["key"] is None or tag == "datetime")
        if not known or data.get("fold"):
            return Kept(data, "<" + tag + " " + str(data["v"]) + ">")
        where = None
        if found is not None:
            offset = span(microseconds=found["offset"])
            name = found["key"] or found.get("name")
            where = zone(offset, name) if name else zone(offset) if found["offset"] else zone.utc
        if tag == "timezone":
            return where
        value = (moment if tag == "datetime" else clock).fromisoformat(data["v"])
        return value if where is None else value.replace(tzinfo=where)

    def read(names, values, left):
        found = {}
        for name in names:
            try:
                found[name] = out(values[name], left, 0)
            except (ValueError, RecursionError):
                found[name] = opaque(values[name], [1 << 20])
        say({"value": found})

    def variables(values, hidden):
        own = [name for name in values if not name.startswith("__") and name not in hidden]
        return [name for name in own if type(values[name]).__name__ != "module"]

    def parts(value):
        kind = type(value)
        if kind is dict:
            return [*value.keys(), *value.values()]
        if kind in (list, tuple, set, frozenset):
            return list(value)
        if kind is Record:
            return [getattr(value, key) for key in getattr(value, "\\0")[1]]
        if isinstance(value, dict):
            return [*value.keys(), *value.values()]
        if kind.__name__ in ("deque", "dict_keys", "dict_values", "dict_items") or isinstance(value, tuple):
            return list(value)
        return [getattr(value, key) for key in classes.get(kind.__name__, ()) if hasattr(value, key)]

    def share(values, hidden):
        seen, common, left = {}, {}, 100000
        for name in variables(values, hidden):
            waiting = [values[name]]
            while waiting:
                value = waiting.pop()
                kind = type(value)
                if kind in plain or kind.__name__ in ("range", "function", "builtin_function_or_method", "type"):
                    continue
                if kind is not tuple and kind is not frozenset:
                    known = seen.get(id(value))
                    if known is not None:
                        common.setdefault((known, name), None)
                        continue
                    seen[id(value)] = name
                inner = parts(value)
                left -= len(inner)
                if left < 0 or len(common) >= MOST_SHARED:
                    common[("", "")] = None
                    say({"value": [[first, other] for first, other in common]})
                    return
                if inner and not {type(item) for item in inner} <= plain:
                    waiting.extend(inner)
        say({"value": [[first, other] for first, other in common]})

    def tell(values, hidden, all_of_it, exactly):
        names = variables(values, hidden)
        if all_of_it:
            settings["exactly"] = exactly
            read(names, values, [settings["limit"] // 2])
            settings["exactly"] = False
        else:
            say({"value": names})

    return last, use, use_either, take, tell, share, settings, classes


(
    __actloop_last, __actloop_use, __actloop_use_either, __actloop_take, __actloop_tell, __actloop_share,
    __actloop_settings, __actloop_classes,
) = __actloop_make()
__actloop_waits = False
"""

SOURCE = (
    _SOURCE.replace("BUILTINS", ", ".join(f"{name}={name}" for name in _BUILTINS.split()))
    .replace("DEPTH", str(MAX_DEPTH))
    .replace("MOST_SHARED", str(MOST_SHARED))
    .lstrip()
)
"""What is fed to a session before anything else."""


def setting(mark: str, limit: int) -> str:
    """A program that tells the prelude the session's mark and the bytes that may cross at once."""
    return f'__actloop_settings["mark"] = {mark!r}\n__actloop_settings["limit"] = {limit}\nNone'


def wrappers(tools: Iterable[RemoteTool]) -> str:
    """A program that defines tools."""
    lines = [
        f"def {tool.name}(*args, **kwargs):\n"
        f"    return __actloop_{'use_either' if tool.is_async else 'use'}({tool.name!r}, args, kwargs)\n"
        for tool in tools
    ]
    return "".join(lines) + "None"


def binding(name: str) -> str:
    """A program that binds the value `__actloop_given`, as JSON text, to a name."""
    return f"{name} = __actloop_take(__actloop_given)\n__actloop_given = None"


def telling(hidden: Iterable[str], *, values: bool, exactly: bool = False) -> str:
    """A program that tells the session's variables, or their names only; those of tools are hidden.

    Told exactly, collections that would arrive as lists and dictionaries are records, of the names that they have in
    `collections`, and objects of programs' own classes are records of the name `object CLASS`.
    """
    return f"__actloop_tell(locals(), {sorted(hidden)!r}, {values}, {exactly})\nNone"


def sharing(hidden: Iterable[str]) -> str:
    """A program that tells pairs of the session's variables that have an object in common which may change.

    A variable is paired with itself if parts of it are one object, and no name with itself if not all was looked at.
    """
    return f"__actloop_share(locals(), {sorted(hidden)!r})\nNone"


def knowing(classes: Mapping[str, Iterable[str]]) -> str:
    """A program that tells the prelude the attributes of objects of the user's classes, which Monty does not list."""
    return "".join(f"__actloop_classes[{name!r}] = {list(names)!r}\n" for name, names in classes.items()) + "None"
