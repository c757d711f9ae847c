"""Names under which tools and their arguments can be written in Python, whatever they are called."""

from __future__ import annotations

import keyword
import re
import unicodedata


def is_python_name(name: str) -> bool:
    """Whether `name` can stand as it is in Python: an identifier that is no keyword."""
    return name.isidentifier() and not keyword.iskeyword(name)


def python_name(name: str) -> str:
    """The safe alias of any name: itself where Python allows it.

    Other characters become underscores (`image-generator` is `image_generator`), a keyword gets one at its end
    (`from_`), a leading digit one before it. Two names may share an alias: see `python_names`.
    """
    if is_python_name(name):
        return name
    alias = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name))
    if not alias or alias[0].isdigit():
        alias = f"_{alias}"
    if keyword.iskeyword(alias):
        alias = f"{alias}_"
    return alias if alias.isidentifier() else re.sub(r"[^0-9A-Za-z_]", "_", f"_{alias}")


def python_names(names: list[str]) -> dict[str, str]:
    """The alias of each name, every alias given once: a second one that is the same is numbered (`a_b_2`)."""
    aliases = {name: name for name in names if is_python_name(name)}
    taken = set(aliases)
    for name in names:
        if name in aliases:
            continue
        alias = base = python_name(name)
        number = 2
        while alias in taken:
            alias, number = f"{base}_{number}", number + 1
        aliases[name] = alias
        taken.add(alias)
    return {name: aliases[name] for name in names}
