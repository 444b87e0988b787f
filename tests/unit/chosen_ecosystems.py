"""Fewer ecosystems, for tests of what concerns only some of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from landbridge.locking import ECOSYSTEMS


@contextmanager
def only_ecosystems(*names: str) -> Iterator[None]:
    """Leave out all other ecosystems; afterwards all are back, in the order that matters."""
    before = dict(ECOSYSTEMS)
    for name in before.keys() - set(names):
        del ECOSYSTEMS[name]
    try:
        yield
    finally:
        ECOSYSTEMS.clear()
        ECOSYSTEMS.update(before)
