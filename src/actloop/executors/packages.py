"""What pip installs for the modules that programs may import, and the other way round."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PACKAGES = {
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "pptx": "python-pptx",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""What to install for a module of another name."""


_MODULES = {package: module for module, package in _PACKAGES.items()}


def packages_of(imports: Iterable[str], standard: Iterable[str]) -> list[tuple[str, str]]:
    """What has to be there for some imports: pairs of a module and what pip installs for it.

    Args:
        imports: Modules, or requirements as pip understands them, such as "numpy==2.4.0".
        standard: Modules that every Python has.

    Raises:
        ValueError: One would be taken for an option of pip.
    """
    known = frozenset(standard)
    found: dict[str, tuple[str, str]] = {}
    for name in imports:
        if name.startswith("-") or "\n" in name:
            raise ValueError(f"additional_imports: {name!r} is neither a module nor a requirement")
        if re.fullmatch(r"\w+(\.\w+)*(\.\*)?", name):
            module = name.partition(".")[0]
            if module not in known:
                found[module] = (module, _PACKAGES.get(module, module))
        elif name != "*":
            found[name] = ("", name)
    return list(found.values())


def module_of(name: str) -> str:
    """The module that a requirement such as "numpy==2.4.0" most likely brings; of a module, its name."""
    match = re.match(r"[\w.-]+", name)
    if match is None:
        return name
    package = match.group().removesuffix(".")
    return _MODULES.get(package.lower(), package.replace("-", "_"))
