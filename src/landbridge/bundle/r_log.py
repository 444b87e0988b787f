"""What a compile log says went wrong."""

from __future__ import annotations

import re

# Of compilers, linkers, make, shells, configure scripts and R itself.
_FAULT = re.compile(
    r"\berror:|^ERROR\b|^Error\b|undefined reference|cannot find -l|command not found"
    r"|\*\*\* |failed because|was not found"
)
# What make echoes before it runs it.
_CALL = re.compile(r"^(gcc|g\+\+|cc|c\+\+|gfortran)\b.*\s-\w")
_LINES = 8
# Shells and configure scripts say it in words of their own, before somebody calls it an error.
_BEFORE = 2


def faults(log: str) -> list[str]:
    """The lines of a log that tell what is wrong, the first ones; else its last ones.

    Args:
        log: all that `R CMD INSTALL` said.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    lines = [line for line in lines if not _CALL.match(line)]
    places = [number for number, line in enumerate(lines) if _FAULT.search(line)]
    if not places:
        return lines[-_LINES:]
    first = places[0]
    told = [*lines[max(0, first - _BEFORE) : first], *(lines[place] for place in places)]
    return list(dict.fromkeys(told))[:_LINES]
