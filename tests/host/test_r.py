"""R, its site library and its repository."""

import json

import pytest

from landbridge.facts.node import Node

pytestmark = pytest.mark.usefixtures("library")

ROUND_TRIP = "cat(jsonlite::toJSON(jsonlite::fromJSON('{\"a\":[1,2]}')))"
AVAILABLE = 'cat(rownames(available.packages()), sep="\\n")'


def test_library_has_the_bundles_versions(node: Node) -> None:
    wanted = {p["name"]: p["version"] for p in node.content["r"]["packages"]}
    found = {name: node.facts.r_packages.get(name, "missing") for name in wanted}
    assert wanted
    assert found == wanted


def test_a_user_loads_and_uses_a_package(node: Node, user: str) -> None:
    said = node.output("Rscript", "-e", ROUND_TRIP, user=user)
    assert json.loads(said) == {"a": [1, 2]}


def test_repository_lists_the_bundles_packages(node: Node, user: str) -> None:
    listed = node.output("Rscript", "-e", AVAILABLE, user=user).split()
    assert {p["name"] for p in node.content["r"]["packages"]} <= set(listed)
