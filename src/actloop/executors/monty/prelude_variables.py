"""What a session's variables are, in Monty's own Python: a part of the prelude."""

from __future__ import annotations

VARIABLES = """
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
"""
"""`tell` and `share`: values or names of variables, and those that have an object in common."""
