"""How the tests share the machine's processors, and which of them take long."""

import os

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.lab import quick

LONGEST = ("test_docker_switch.py", "test_scenarios.py", "test_team_notebook.py")
SLOW_SECONDS = 60


class Stories(LoadScopeScheduling):
    """Each file is one process's work; each molecule scenario is a story of its own."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file.endswith("/test_scenarios.py") else file


class Told:
    """Says at once what failed, and how long it was what took long, for a log that breaks off."""

    def __init__(self, config: pytest.Config) -> None:
        self.plugins = config.pluginmanager

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print it, set-up and tear-down by themselves."""
        terminal = self.plugins.get_plugin("terminalreporter")
        if terminal and (report.failed or report.duration >= SLOW_SECONDS):
            what = f"{report.nodeid} ({report.when} {report.outcome})"
            terminal.write_line(f" {report.duration:.0f} s: {what}")


def pytest_configure(config: pytest.Config) -> None:
    """Every Ansible is a quick one; the process that divides the work tells what is to be told."""
    os.environ |= quick.environment("linear_lab")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Told(config))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Stories:
    """What divides the tests among the processes of --numprocesses."""
    return Stories(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest stories come first: what is begun last keeps one process, and no other, busy."""
    items.sort(key=lambda item: ("unit" in item.path.parts, item.path.name not in LONGEST))
