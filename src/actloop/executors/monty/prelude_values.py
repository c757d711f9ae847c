"""How values cross, in Monty's own Python: parts of the prelude."""

from __future__ import annotations

CLASSES = """
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
"""
"""What a program sees of values that Monty has no type for, and of records."""

SENDING = """
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
"""
"""`out`: a value as data of the guest's codec."""

TAKING = """
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
"""
"""`take`: a value of JSON text in the form of the guest's codec."""
