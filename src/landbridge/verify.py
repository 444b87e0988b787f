"""Verification: the host checks of `tests/host/`, run by pytest, as typed results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from landbridge.errors import InputError, NodeError
from landbridge.facts.node import Node, nodes_of
from landbridge.files import scratch, write_file

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


Seen = Callable[[Check, int], None]


def areas(content: Path) -> list[str]:
    """Names of the areas that can be checked."""
    return sorted(p.stem.removeprefix("test_") for p in (content / "tests/host").glob("test_*.py"))


def verify(
    content: Path,
    inventory: Path,
    *,
    environment: Mapping[str, str],
    pattern: str = "all",
    only: Iterable[str] = (),
    junit: Path | None = None,
    seen: Seen = lambda _check, _total: None,
) -> list[Check]:
    """Run the host checks.

    Args:
        content: the content root.
        inventory: the nodes; one without SSH is this very machine.
        environment: variables for Ansible's inventory and connections.
        pattern: only this host or group of the inventory.
        only: names of areas; all if none is given.
        junit: where to write the results as JUnit XML.
        seen: called after each check with it and the number of all.

    Returns:
        The results, in the order of the checks.

    Raises:
        InputError: an area or the inventory does not exist.
        NodeError: no host matches, or pytest itself failed.
    """
    files = _files(content, list(only))
    if not inventory.exists():
        raise InputError(f"inventory {inventory} does not exist", "give an inventory's path")
    # pytest's options for developers are none of these checks' business.
    with _variables({**environment, "PYTEST_ADDOPTS": ""}), scratch() as folder:
        nodes = list(nodes_of(inventory, pattern))
        _take_snapshots(nodes)
        collector = _Collector(nodes, seen)
        report = folder / "junit.xml"
        options = ["-p", "no:terminal", "--import-mode=importlib", f"--junitxml={report}"]
        status = pytest.main([*options, *files], plugins=[collector])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or collector.broken:
            raise NodeError("\n".join(collector.broken) or f"pytest ended with {status!r}")
        if junit is not None:
            write_file(junit, report.read_bytes())
    return collector.checks


# Without eq, because pytest wants to hash its plugins.
@dataclass(eq=False)
class _Collector:
    """A pytest plugin: reports of set-up, call and tear-down become one `Check`."""

    nodes: list[Node]
    seen: Seen
    checks: list[Check] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    total: int = 0
    reports: list[pytest.TestReport] = field(default_factory=list)

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[NODES] = self.nodes

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(f"{report.nodeid}: {report.longreprtext}")

    def pytest_internalerror(self, excrepr: object) -> None:
        self.broken.append(str(excrepr))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.total = len(session.items)
        for item in session.items:
            item.user_properties += _properties(item)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reports.append(report)
        if report.when == "teardown":
            check = _check(self.reports)
            self.reports = []
            self.checks.append(check)
            self.seen(check, self.total)


def _properties(item: pytest.Item) -> list[tuple[str, object]]:
    """Host, area and name of a check; JUnit XML carries them too."""
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params if callspec else {}
    node = str(parameters.get("node") or parameters.get("any_node") or "-")
    name = item.name.removeprefix("test_").replace(f"[{node}]", "").replace(f"[{node}-", "[")
    area = item.path.stem.removeprefix("test_")
    return [("host", node), ("area", area), ("check", name.replace("_", " "))]


def _check(reports: list[pytest.TestReport]) -> Check:
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


def _take_snapshots(nodes: list[Node]) -> None:
    """Gather from all nodes at once; a failure is reported by the checks of area `node`."""

    def take(node: Node) -> None:
        with suppress(NodeError):
            _ = node.facts

    with ThreadPoolExecutor(max_workers=10) as pool:
        list(pool.map(take, nodes))


def _files(content: Path, only: list[str]) -> list[str]:
    known = areas(content)
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise InputError(f"no such area: {', '.join(unknown)}", f"areas: {', '.join(known)}")
    chosen = [str(content / "tests/host" / f"test_{area}.py") for area in only or known]
    # A node that does not answer has no checks of any area; this one names it.
    answers = f"{content / 'tests/host/test_node.py'}::test_answers"
    return chosen if "node" in (only or known) else [answers, *chosen]


@contextmanager
def _variables(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
