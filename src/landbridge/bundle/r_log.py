"""What a compile log says went wrong."""

from __future__ import annotations

import re

# Of compilers, linkers, make, shells and R itself.
_FAULT = re.compile(
    r"\b(fatal )?error\b|^ERROR|undefined reference|cannot find -l|command not found"
    r"|No such file or directory|no such file|not (available|found)\b",
    re.IGNORECASE,
)
# `-Werror`, `error.c`, names of functions: no fault by themselves.
_CALL = re.compile(r"^\s*(gcc|g\+\+|cc|c\+\+|gfortran|make)\b.*\s-\w")
_LINES = 8


def faults(log: str) -> list[str]:
    """The lines of a log that tell what is wrong, the first ones; else its last ones.

    Args:
        log: all that `R CMD INSTALL` said.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    found = dict.fromkeys(line for line in lines if _FAULT.search(line) and not _CALL.match(line))
    return list(found)[:_LINES] or lines[-_LINES:]
