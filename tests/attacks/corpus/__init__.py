"""The corpus of attacks, by family."""

from __future__ import annotations

from tests.attacks.corpus import (
    crashes,
    escapes,
    files,
    floods,
    memory_bombs,
    monty,
    network,
    processes,
    protocol,
    surface,
    time_bombs,
    values,
    wasm,
    ways_out,
    workspaces,
)

FAMILIES = [
    family
    for module in (
        *(escapes, files, workspaces, network, ways_out, processes, surface),
        *(memory_bombs, time_bombs, floods, crashes, values, protocol),
    )
    for family in module.FAMILIES
]

ATTACKS = [attack for family in FAMILIES for attack in family.attacks]
"""Those for any executor."""

OWN = [family for module in (monty, wasm) for family in module.FAMILIES]
"""Families in the language of one platform; their names are those of the others where they are of that kind."""
