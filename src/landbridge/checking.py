"""One process of `landbridge verify`: pytest runs the host checks of some nodes.

pytest runs one check at a time and once in a process, so nodes are checked at the same time by
processes of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import pytest

from landbridge.errors import NodeError
from landbridge.facts.node import Node, Nodes

# How `tests/host/conftest.py` gets the nodes to check.
NODES = pytest.StashKey[list[Node]]()

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One check of one node; `message` is empty unless it failed."""

    host: str
    area: str
    name: str
    outcome: Outcome
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class Share:
    """What one process checks.

    Attributes:
        nodes: the whole inventory.
        names: the nodes of this process.
        files: the files of the checks.
        junit: where to write the results as JUnit XML.
    """

    nodes: Nodes
    names: tuple[str, ...]
    files: tuple[str, ...]
    junit: Path


# How many checks there are, each of them, and why they could not be run.
Message = int | Check | str


def run(share: Share, told: Connection) -> None:
    """Check the nodes of a share; what is sent through `told` is a `Message`."""
    # Who reads has gone: nobody wants to know.
    with told, contextlib.suppress(BrokenPipeError):
        nodes = [share.nodes.node(name) for name in share.names]
        for node in nodes:
            # A failure is reported by the checks of area `node`.
            with contextlib.suppress(NodeError):
                _ = node.facts
        collector = _Collector(nodes, told)
        options = ["-p", "no:terminal", "--import-mode=importlib", f"--junitxml={share.junit}"]
        status = pytest.main([*options, *share.files], plugins=[collector])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or collector.broken:
            told.send("\n".join(collector.broken) or f"pytest ended with {status!r}")


# Without eq, because pytest wants to hash its plugins.
@dataclass(eq=False)
class _Collector:
    """A pytest plugin: reports of set-up, call and tear-down become one `Check`."""

    nodes: list[Node]
    told: Connection
    broken: list[str] = field(default_factory=list)
    reports: list[pytest.TestReport] = field(default_factory=list)

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[NODES] = self.nodes

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(f"{report.nodeid}: {report.longreprtext}")

    def pytest_internalerror(self, excrepr: object) -> None:
        self.broken.append(str(excrepr))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            item.user_properties += _properties(item)
        self.told.send(len(session.items))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reports.append(report)
        if report.when == "teardown":
            self.told.send(_check(self.reports))
            self.reports = []


def _properties(item: pytest.Item) -> list[tuple[str, object]]:
    """Host, area and name of a check; JUnit XML carries them too."""
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params if callspec else {}
    node = str(parameters.get("node") or parameters.get("any_node") or "-")
    name = item.name.removeprefix("test_").replace(f"[{node}]", "").replace(f"[{node}-", "[")
    area = item.path.stem.removeprefix("test_")
    return [("host", node), ("area", area), ("check", name.replace("_", " "))]


def _check(reports: Sequence[pytest.TestReport]) -> Check:
    properties = dict(reports[0].user_properties)
    failed = [report for report in reports if report.failed]
    skipped = any(report.skipped for report in reports)
    return Check(
        host=str(properties["host"]),
        area=str(properties["area"]),
        name=str(properties["check"]),
        outcome="failed" if failed else "skipped" if skipped else "passed",
        seconds=round(sum(report.duration for report in reports), 2),
        message="\n".join(_words(report) for report in failed),
    )


def _words(report: pytest.TestReport) -> str:
    """What an assertion said, without the traceback."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message) if crash else report.longreprtext
    return text.removeprefix("landbridge.errors.NodeError: ").removeprefix("AssertionError: ")
