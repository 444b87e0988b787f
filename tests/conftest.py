"""How the tests share the machine's processors."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each file is one process's work, each molecule scenario too; the long stories come first."""
    for item in items:
        own = item.nodeid if item.path.name == "test_scenarios.py" else item.path.name
        item.add_marker(pytest.mark.xdist_group(own))
    items.sort(key=lambda item: "unit" in item.path.parts)
