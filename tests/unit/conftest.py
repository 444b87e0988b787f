"""What unit tests share."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def forget_checks() -> Iterator[None]:
    """Forget check files that pytest, run by a test, has imported: their names come again."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.rpartition(".")[2].startswith(("test_", "conftest")):
            del sys.modules[name]
