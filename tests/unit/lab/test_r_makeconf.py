"""The lab's R compiles without what costs time."""

from __future__ import annotations

import pytest

from landbridge.errors import SourceError
from tests.lab import r_makeconf

HARDENED = "-fstack-protector-strong -Wformat -Wdate-time"


def test_nothing_is_optimised_and_all_else_stays() -> None:
    debian = f"CC = gcc\nCFLAGS = -g -O2 {HARDENED} -D_FORTIFY_SOURCE=2 $(LTO)\nFFLAGS = -g -O2\n"
    expected = f"CC = gcc\nCFLAGS = -O0 {HARDENED} $(LTO)\nFFLAGS = -O0\n"
    assert r_makeconf.fast(debian) == expected


def test_flags_that_are_not_known_are_an_error() -> None:
    with pytest.raises(SourceError, match="Makeconf"):
        r_makeconf.fast("CFLAGS = -O3\n")
