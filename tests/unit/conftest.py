"""What unit tests share."""

import sys
from collections.abc import Iterator

import pytest

from tests.unit.bundle_maker import Maker
from tests.unit.bundle_maker import maker as new_maker


@pytest.fixture(scope="session")
def maker() -> Iterator[Maker]:
    with new_maker() as made:
        yield made


@pytest.fixture
def forget_checks() -> Iterator[None]:
    """Lay aside imported test files while a test runs pytest itself: the names come again."""
    before = {name: sys.modules.pop(name) for name in imported_tests()}
    yield
    for name in imported_tests():
        del sys.modules[name]
    sys.modules.update(before)


def imported_tests() -> list[str]:
    """Names of imported test files and conftests."""
    return [n for n in sys.modules if n.rpartition(".")[2].startswith(("test_", "conftest"))]
