"""Numbers of bytes in words."""

from __future__ import annotations


def in_bytes(size: int) -> str:
    """A size as people read it: `"1 byte"`, `"12.3 KB"` (of 1024 bytes)."""
    if size < 1024:
        return f"{size} bytes" if size != 1 else "1 byte"
    amount = float(size)
    for unit in ("KB", "MB", "GB"):
        amount /= 1024
        if amount < 1000:
            return f"{amount:.3g} {unit}"
    return f"{amount / 1024:.3g} TB"
