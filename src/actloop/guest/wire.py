"""What both ends of the wire agree on: the version of the protocol, sizes, and names of kinds."""

from __future__ import annotations

import re

PROTOCOL = 2
"""Version of the protocol; a guest says it when it is ready."""

MAX_VALUE = 32 * 1024 * 1024
"""Bytes that one message may take on the wire unless told otherwise."""

MAX_DEPTH = 100
"""Containers within containers that a value may hold."""

MAX_OPEN_CALLS = 256
"""Tool calls that may wait for an answer at once."""

JSON_DEPTH = 3 * MAX_DEPTH + 20
MAX_BLOBS = 65_536
SHORT = 512  # characters; a longer string travels as a blob
MAX_DIGITS = 600  # a longer integer travels as a blob; below the least limit that sys.set_int_max_str_digits takes
MAX_RATIO = 4096  # bytes of a fraction's numerator or denominator: reducing a fraction takes quadratic time
MAX_SAMPLE_RATE = 1_000_000  # a second
PIXELS = 2  # of all images of a message, for each byte that it may take
TAG = "$"
AS_SENT = "_actloop_as_sent"
"""Attribute of an image that came over the wire: the bytes of it, as long as its pixels were not decoded."""
PANDAS_DTYPES = {"object", "str", "string", "boolean", "Float32", "Float64"} | {
    f"{sign}nt{size}" for sign in ("I", "UI") for size in (8, 16, 32, 64)
}
DTYPE = re.compile(
    r"[<>|=](?:b1|[iu][1248]|f[248]|c(?:8|16)|[SU][1-9]\d{0,4}|[mM]8\[(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])"
)

OUTPUT_NOTICE = "\n... output cut: more than LIMIT characters were printed; print less, such as a count or a slice\n"
"""What ends the output of a snippet that printed too much, with its limit for LIMIT."""
