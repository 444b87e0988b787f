"""How the lab's R compiles packages: fast, for nobody waits for what the tests compute with them.

Debian's flags make gcc optimise and write debug information that is stripped afterwards; a third
of CI's minutes went into compiling R packages.
"""

from __future__ import annotations

from landbridge.errors import SourceError

_SLOW = "-g -O2"
# glibc's checked functions take an optimising compiler; without one it warns in every file.
_OPTIMISED_ONLY = " -D_FORTIFY_SOURCE=2"


def fast(makeconf: str) -> str:
    """The content of R's `etc/Makeconf`, with neither optimisation nor debug information.

    Raises:
        SourceError: Debian's flags are no longer those that we know.
    """
    if _SLOW not in makeconf:
        raise SourceError(f"Debian's Makeconf of R does not say {_SLOW}")
    return makeconf.replace(_SLOW, "-O0").replace(_OPTIMISED_ONLY, "")
