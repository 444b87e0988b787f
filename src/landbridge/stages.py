"""Stages of a long command: timed, and told of in one line each when they are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Takes one line of progress.
Say = Callable[[str], None]
# Takes bytes that came since it was last called, and bytes that are wanted in all; the first
# number is negative when bytes turn out to be wrong.
Tell = Callable[[int, int], None]


@contextmanager
def stage(
    name: str, say: Say, seconds: dict[str, float] | None = None
) -> Iterator[Callable[[str], None]]:
    """Time a stage and say one line when it is done; the body adds what it did.

    Args:
        name: of the stage.
        say: takes the line.
        seconds: where the duration is noted under the stage's name.
    """
    notes: list[str] = []
    start = time.monotonic()
    yield notes.append
    took = round(time.monotonic() - start, 2)
    if seconds is not None:
        seconds[name] = took
    say(f"{name:<16} {took:6.1f} s  {''.join(notes)}".rstrip())


def megabytes(size: int) -> str:
    """A number of bytes as people read it."""
    return f"{size / 1e6:.1f} MB"
