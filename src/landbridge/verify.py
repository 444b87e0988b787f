"""Verification: the host checks of `tests/host/`, run by pytest, as typed results."""

from __future__ import annotations

import multiprocessing
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path

from landbridge import checking
from landbridge.checking import Check, Share
from landbridge.errors import InputError, NodeError
from landbridge.facts.node import Nodes
from landbridge.files import scratch, write_file

# Processes; a check waits for its node most of the time.
_AT_ONCE = 10

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
    """Run the host checks, of several nodes at the same time.

    Args:
        content: the content root.
        inventory: the nodes; one without SSH is this very machine.
        environment: variables for Ansible's inventory and connections.
        pattern: only this host or group of the inventory.
        only: names of areas; all if none is given.
        junit: where to write the results as JUnit XML.
        seen: called after each check with it and the number of all.

    Returns:
        The results by node, those of each in the order of the checks.

    Raises:
        InputError: an area or the inventory does not exist.
        NodeError: no host matches, or pytest itself failed.
    """
    files = _files(content, list(only))
    if not inventory.exists():
        raise InputError(f"inventory {inventory} does not exist", "give an inventory's path")
    # pytest's options for developers are none of these checks' business.
    with _variables({**environment, "PYTEST_ADDOPTS": ""}), scratch() as folder:
        nodes = Nodes.of(inventory)
        names = nodes.names(pattern)
        reports = [folder / f"{number}.xml" for number in range(min(len(names), _AT_ONCE))]
        shares = [
            Share(nodes, tuple(names[number :: len(reports)]), tuple(files), report)
            for number, report in enumerate(reports)
        ]
        checks = _run(shares, seen)
        if junit is not None:
            write_file(junit, _merged(reports))
    return sorted(checks, key=lambda check: check.host)


def _run(shares: Sequence[Share], seen: Seen) -> list[Check]:
    """Check every share in a process of its own."""
    context = multiprocessing.get_context("spawn")
    totals: dict[Connection, int] = {}
    checks: list[Check] = []
    wrong: list[str] = []
    shown, left = 0, set[Connection]()
    for share in shares:
        here, there = context.Pipe(duplex=False)
        context.Process(target=checking.run, args=(share, there)).start()
        there.close()
        left.add(here)
    try:
        while left:
            for connection in left.intersection(wait(list(left))):
                try:
                    message: checking.Message = connection.recv()
                except EOFError:
                    left.remove(connection)
                    totals.setdefault(connection, 0)
                    continue
                if isinstance(message, int):
                    totals[connection] = message
                elif isinstance(message, Check):
                    checks.append(message)
                else:
                    wrong.append(message)
            # The number of all is known when every process has counted its own.
            if len(totals) == len(shares):
                for check in checks[shown:]:
                    seen(check, sum(totals.values()))
                shown = len(checks)
    finally:
        # After an error here: with nobody who listens, they clear up and end.
        for connection in left:
            connection.close()
    if wrong or not all(totals.values()) or len(checks) < sum(totals.values()):
        said = "\n".join(dict.fromkeys(wrong))
        raise NodeError(said or "a process that checks nodes has ended before its time")
    return checks


def _merged(reports: Sequence[Path]) -> bytes:
    """One JUnit report of all."""
    root = ET.Element("testsuites")
    for report in reports:
        root.extend(ET.parse(report).getroot())  # noqa: S314 - pytest has written it here
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


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
