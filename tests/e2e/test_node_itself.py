"""A node that holds nothing but the bundle sets itself up, from any directory, without SSH."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import LabNode
from tests.lab import nodes


@pytest.fixture(scope="module")
def node(boot: Callable[..., LabNode], bundle: Path) -> LabNode:
    """An EL10-like node after its bootstrap."""
    node = boot("itself", "el10", bundle)
    ended = node.bootstrap()
    assert ended.code == 0, ended.output
    return node


def counts(output: str) -> dict[str, int]:
    """The recap of a run, printed as JSON on its last lines."""
    (found,) = json.loads(output[output.index("{") :])["hosts"].values()
    return found


def test_apply_from_any_directory_then_verify(node: LabNode) -> None:
    first = node.run("cd /tmp && landbridge apply --json 2>/dev/null")
    assert first.code == 0, first.output
    assert counts(first.output)["changed"] > 0
    verified = node.run("cd /var && landbridge verify --json --junit /root/junit.xml 2>/dev/null")
    result = json.loads(verified.output)
    assert [c for c in result["checks"] if c["outcome"] != "passed"] == []
    assert {"conda", "jupyterhub", "network", "node", "podman", "r", "repositories"} == {
        check["area"] for check in result["checks"]
    }
    assert verified.code == 0
    assert "<testsuite" in node.run("cat /root/junit.xml").output


def test_a_second_run_changes_nothing(node: LabNode) -> None:
    again = node.run("cd / && landbridge apply --json 2>/dev/null")
    assert again.code == 0, again.output
    assert counts(again.output)["changed"] == 0


def test_no_packet_went_outside(node: LabNode) -> None:
    assert nodes.packets(node.name) == 0
