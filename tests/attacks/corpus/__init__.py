"""The corpus of attacks, by family."""

from __future__ import annotations

from tests.attacks.corpus import (
    bombs,
    crashes,
    escapes,
    files,
    network,
    processes,
    protocol,
    surface,
    values,
    ways_out,
    workspaces,
)

FAMILIES = [
    family
    for module in (
        *(escapes, files, workspaces, network, ways_out, processes, surface, bombs, crashes, values, protocol),
    )
    for family in module.FAMILIES
]

ATTACKS = [attack for family in FAMILIES for attack in family.attacks]
