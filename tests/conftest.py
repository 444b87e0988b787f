"""How the tests share the machine's processors."""

import pytest
from xdist.scheduler import LoadScopeScheduling

LONGEST = ("test_docker_switch.py", "test_scenarios.py", "test_team_notebook.py")


class Stories(LoadScopeScheduling):
    """Each file is one process's work; each molecule scenario is a story of its own."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file.endswith("/test_scenarios.py") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Stories:
    """What divides the tests among the processes of --numprocesses."""
    return Stories(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest stories come first: what is begun last keeps one process, and no other, busy."""
    items.sort(key=lambda item: ("unit" in item.path.parts, item.path.name not in LONGEST))
