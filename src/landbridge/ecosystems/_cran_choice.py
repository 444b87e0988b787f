"""Which version of each R package to take: the closure of what is wanted, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from landbridge.ecosystems._cran_index import RECOMMENDED, Need, needs
from landbridge.errors import InputError, SourceError

# Fields of DESCRIPTION or PACKAGES, and under `stanza` the text that is for our index.
Fields = dict[str, str]


class Choice(NamedTuple):
    """A library that is whole.

    Attributes:
        packages: by name what is taken.
        needed_by: by the same names the packages that need it.
    """

    packages: Mapping[str, Fields]
    needed_by: Mapping[str, set[str]]


def closure(
    wanted: Iterable[str], stanzas: Mapping[str, Fields], where: str, key: str = "r"
) -> dict[str, set[str]]:
    """All packages to carry, each with the packages that need it.

    A recommended package is carried only where the source has it: R brings its own.

    Args:
        wanted: names.
        stanzas: every package that can be had, by name.
        where: the source, for messages.
        key: of the stack, or a file: who wants it, for messages.

    Raises:
        InputError: the stack asks for a package that the source does not have.
        SourceError: a package needs one that the source does not have.
    """
    unknown = [name for name in wanted if name not in stanzas]
    if unknown:
        raise InputError(
            f"{key}: {where} has no package {', '.join(unknown)}", "correct the names in the stack"
        )
    needed_by: dict[str, set[str]] = {name: set() for name in wanted}
    queue = list(needed_by)
    while queue:
        name = queue.pop()
        for need in needs(stanzas[name]):
            if need.name not in stanzas:
                if need.name in RECOMMENDED:
                    continue
                raise SourceError(
                    f"{key}: {name} needs {need}, which {where} does not have",
                    "complete the mirror",
                )
            if need.name not in needed_by:
                needed_by[need.name] = set()
                queue.append(need.name)
            needed_by[need.name].add(name)
    return needed_by


def least_change(
    wanted: Iterable[str],
    newest: Mapping[str, Fields],
    locked: Mapping[str, Fields],
    pinned: Mapping[str, Fields],
    where: str,
) -> Choice:
    """What is locked stays until a need is not met, and what is pinned stays whatever happens.

    The needed package moves to its newest version then, or where that is so already, the one
    that needs it.

    Args:
        wanted: names.
        newest: what the source's index has.
        locked: what an older lock has.
        pinned: the versions that the stack names.
        where: the source, for messages.

    Raises:
        InputError: what the stack pins does not fit together with the rest.
        SourceError: the source's own packages do not meet each other's needs.
    """
    staying = {name: fields for name, fields in locked.items() if name not in pinned}
    while True:
        chosen = {**newest, **staying, **pinned}
        needed_by = closure(wanted, chosen, where)
        unmet = _unmet(chosen, needed_by)
        if not unmet:
            return Choice(chosen, needed_by)
        moving: set[str] = set()
        stuck = []
        for name, need in unmet:
            movable = [n for n in (need.name, name) if n in staying and n in newest]
            moving.update(movable[:1])
            if not movable:
                stuck.append((name, need))
        _refuse(stuck, chosen, pinned, f"r: {where}")
        staying = {name: fields for name, fields in staying.items() if name not in moving}


def project(
    file: str, pinned: Mapping[str, Fields], others: Mapping[str, Fields], where: str
) -> Choice:
    """A project's library: what it pins, and what these need that it forgot.

    Args:
        file: its renv.lock, for messages.
        pinned: the versions in it.
        others: whatever else can be had.
        where: the source, for messages.

    Raises:
        InputError: what it pins does not fit together.
        SourceError: a package needs one that the source does not have.
    """
    chosen = {**others, **pinned}
    needed_by = closure(sorted(pinned), chosen, where, file)
    _refuse(_unmet(chosen, needed_by), chosen, pinned, file)
    return Choice(chosen, needed_by)


def _unmet(chosen: Mapping[str, Fields], names: Iterable[str]) -> list[tuple[str, Need]]:
    there = set(names)
    return [
        (name, need)
        for name in sorted(there)
        for need in needs(chosen[name])
        if need.name in there and not need.is_met_by(chosen[need.name]["Version"])
    ]


def _refuse(
    stuck: list[tuple[str, Need]],
    chosen: Mapping[str, Fields],
    pinned: Mapping[str, Fields],
    key: str,
) -> None:
    """Nothing if nothing is stuck."""
    if not stuck:
        return
    faults = [f"{n} needs {need}, there is {chosen[need.name]['Version']}" for n, need in stuck]
    text = f"{key}: {'; '.join(faults)}"
    if any(name in pinned or need.name in pinned for name, need in stuck):
        raise InputError(text, "pin versions that fit together (==)")
    raise SourceError(text, "sync or complete the mirror")
