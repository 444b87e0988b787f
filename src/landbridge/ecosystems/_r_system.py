"""Which RPMs an R package needs besides R, found out from its free text `SystemRequirements`.

The text ("Writing R Extensions", the DESCRIPTION file) is for people. It is cut into pieces at
commas and the like, and each piece must hold something that is known; what nobody knows is an
error, never a package that fails on a node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from landbridge.ecosystems._r_system_table import BY_NAME, BY_TEXT, NOISE
from landbridge.errors import InputError
from landbridge.stack import RSystemRequirement
from landbridge.targets import PLATFORMS

_KNOWN = [
    (re.compile(pattern, re.IGNORECASE), run.split(), build.split())
    for pattern, run, build in BY_TEXT
]
_ASIDE = re.compile(r"\([^()]*\)|<[^<>]*>|https?://\S+")
# Sentences end with a full stop and a space: `zlib.h` and `1.2` do not.
_CUT = re.compile(r"[,;]|\.(?:\s|$)|\b(?:and|or|and/or|alternatively)\b|&", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+")


class Rpms(NamedTuple):
    """RPMs of one R package on one target, sorted.

    Attributes:
        run: what it needs on a node.
        build: what compiling it takes besides.
    """

    run: list[str]
    build: list[str]


def rpms(
    package: str,
    text: str,
    targets: Iterable[str],
    corrected: Mapping[str, RSystemRequirement],
) -> dict[str, Rpms]:
    """The RPMs of an R package for each target.

    Args:
        package: its name; some are known by it, whatever they say of themselves.
        text: its `SystemRequirements`, empty if it has none.
        targets: kinds of node.
        corrected: what the stack says, by package, in place of everything else.

    Raises:
        InputError: a piece of the text is not known.
    """
    if package in corrected:
        names = corrected[package].run, corrected[package].build
    elif package in BY_NAME:
        run, build = BY_NAME[package]
        names = run.split(), build.split()
    else:
        names = _known(package, text)
    return {
        target: Rpms(*(_of_major(PLATFORMS[target].major, side) for side in names))
        for target in targets
    }


def _known(package: str, text: str) -> tuple[list[str], list[str]]:
    run: list[str] = []
    build: list[str] = []
    for piece in _CUT.split(_without_asides(text)):
        found = [rule for rule in _KNOWN if rule[0].search(piece)]
        names = [(run_names, build_names) for _, run_names, build_names in found]
        if not any(map(any, names)) and _says_more(piece, [pattern for pattern, *_ in found]):
            raise InputError(
                f"r: {package} needs of the system {' '.join(text.split())!r}: it is not known "
                f"which RPMs {' '.join(piece.split())!r} comes to",
                f"name them in the stack: r: {{system_requirements: {{{package}: "
                "{run: [...], build: [...]}}}",
            )
        for run_names, build_names in names:
            run += run_names
            build += build_names
    return run, build


def _says_more(piece: str, nothing: Iterable[re.Pattern[str]]) -> bool:
    """Whether there is something in the piece besides what is known to be nothing."""
    for pattern in nothing:
        piece = pattern.sub(" ", piece)
    return any(word.lower() not in NOISE for word in _WORD.findall(piece))


def _without_asides(text: str) -> str:
    """The text without what stands in parentheses, these inside each other too."""
    while (shorter := _ASIDE.sub(" ", text)) != text:
        text = shorter
    return text


def _of_major(major: int, names: Iterable[str]) -> list[str]:
    """The names for one major release; `name@9` is for that one alone."""
    cut = (name.partition("@") for name in names)
    return sorted({name for name, _, only in cut if not only or only == str(major)})
