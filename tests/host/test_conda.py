"""Conda environments against their locks."""

from pathlib import Path
from typing import Any

from landbridge.facts.node import Node

IMPORTER = Path(__file__).parent / "on_node" / "import_packages.py"


def lock_of(node: Node, environment: dict[str, Any]) -> dict[str, str]:
    subdir = node.content["targets"][node.target]["conda_subdir"]
    return node.facts.depot.locks[environment["name"]][subdir]


def test_holds_the_locks_packages_and_no_other(node: Node, environment: dict[str, Any]) -> None:
    installed = node.facts.environments[environment["name"]].packages
    assert installed == lock_of(node, environment)


def test_current_leads_to_the_locked_one(node: Node, environment: dict[str, Any]) -> None:
    current = Path(node.facts.environments[environment["name"]].current)
    assert current.parent == Path("/opt/landbridge/envs") / environment["name"]
    lock = environment["lock"][node.content["targets"][node.target]["conda_subdir"]]
    digest = node.output("sha256sum", f"{node.facts.depot.path}/{lock}").split()[0]
    assert digest.startswith(current.name)


def test_imports_its_packages(node: Node, python_environment: dict[str, Any], user: str) -> None:
    prefix = node.facts.environments[python_environment["name"]].current
    specs = node.stack["conda"]["environments"][python_environment["name"]]["packages"]
    names = [spec.split()[0] for spec in specs]
    done = node.script(IMPORTER, names, python=f"{prefix}/bin/python", user=user)
    assert done["failed"] == {}
    assert done["imported"], "none of the wanted packages is a Python distribution"
